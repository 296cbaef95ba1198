// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import Torsion

// snippet: send
/// Sends a file to each client, and closes.
final class SentFile: StreamProtocol {
    private let path: String

    init(_ path: String) { self.path = path }

    func connectionMade(_ transport: any StreamTransport) {
        FileProducer(path: path, on: transport.reactor).pipe(to: transport)
            .addCallback { count in print("sent \(count) bytes") }
            .whenFailed { error in print("\(transport.peerAddress): \(error)") }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
// snippet end

// snippet: part
/// A part of a file, with a report while it is on its way.
func part(of path: String, on reactor: Reactor) -> FileProducer {
    FileProducer(path: path, offset: 2, byteCount: 5, on: reactor) { sent, whole in
        print("\(sent) of \(whole)")
    }
}
// snippet end

// snippet: copy
/// Copies a file to another, and says how many bytes the copy has.
func copy(_ path: String, to copy: String, on reactor: Reactor) -> Deferred<Int> {
    let destination = FileConsumer(path: copy, on: reactor)
    FileProducer(path: path, on: reactor).pipe(to: destination)
        .whenFailed { _ in }  // `written` fails with the same error.
    return destination.written
}
// snippet end

// snippet: proxy
func forward(to place: String, on reactor: Reactor) throws -> ListeningPort {
    let target = try ClientEndpoint(parsing: place)
    return try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1").listen(on: reactor) {
        StreamProxy(to: target) { result in print("\(result)") }
    }
}
// snippet end

/// A file with ten bytes, which is removed at the end.
private final class TenBytes {
    let path: String

    init() throws {
        var template = Array("/tmp/torsion-files-page-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        #expect(write(descriptor, "0123456789", 10) == 10)
        close(descriptor)
    }

    deinit { for name in [path, path + ".copy"] { unlink(name) } }
}

private final class FileReader: StreamProtocol {
    let text: Deferred<String>
    private var received = ""

    init(on reactor: Reactor) { text = Deferred(on: reactor) }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        received += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        text.succeed(received)
    }
}

/// Sends the part.
private final class SentPart: StreamProtocol {
    private let path: String
    init(_ path: String) { self.path = path }
    func connectionMade(_ transport: any StreamTransport) {
        part(of: path, on: transport.reactor).pipe(to: transport).whenFailed { _ in }
    }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

// snippet: watch
/// Reads the configuration now, and again whenever it has changed.
final class Configuration {
    private(set) var text = Bytes()

    func follow(_ path: String, on reactor: Reactor) throws {
        try read(path, on: reactor)
        try FileWatch(of: path, on: reactor) { [weak self] _ in
            try self?.read(path, on: reactor)
        }
    }

    private func read(_ path: String, on reactor: Reactor) throws {
        text = try reactor.files.open(path, for: .reading).read(at: 0, limit: 65_536)
    }
}
// snippet end

@Suite struct FilesPage {
    @Test(arguments: [false, true])
    func `a file, or a part of it, arrives, also through a proxy`(isWhole: Bool) throws {
        let file = try TenBytes(), path = file.path
        var text = ""
        try Reactor.run(signals: .ignore) { reactor in
            let port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
                .listen(on: reactor) {
                    isWhole ? SentFile(path) as any StreamProtocol : SentPart(path)
                }
            let proxy = try forward(to: "tcp:\(port.localAddress)", on: reactor)
            ClientEndpoint.address(proxy.localAddress)
                .connect(on: reactor) { FileReader(on: reactor) }
                .addCallback { $0.text }
                .addCallback { text = $0 }
                .addErrback { Issue.record("\($0)") }
                .addBoth { _ in _ = reactor.stop() }
        }
        #expect(text == (isWhole ? "0123456789" : "23456"))
    }

    @Test
    func `a copy has every byte, or the reason why not`() throws {
        let file = try TenBytes(), path = file.path
        var count: Int?, failure: (any Error)?
        try Reactor.run(signals: .ignore) { reactor in
            copy(path, to: path + ".copy", on: reactor)
                .addCallback { count = $0 }
                .addErrback { Issue.record("\($0)") }
                .addCallback { copy("/nonexistent", to: path + ".copy", on: reactor) }
                .addErrback { error -> Int in
                    failure = error
                    return 0
                }
                .addBoth { _ in _ = reactor.stop() }
        }
        #expect(count == 10)
        #expect((failure as? IOError)?.code == .noSuchFile, "\(String(describing: failure))")
    }

    @Test
    func `a configuration is read again when it is replaced`() throws {
        let file = try TenBytes(), configuration = Configuration()
        try Reactor.run(signals: .ignore) { reactor in
            try configuration.follow(file.path, on: reactor)
            #expect(configuration.text == Bytes("0123456789"))
            // Other bytes, in one step.
            let next = file.path + ".next", written = fopen(next, "w")!
            fputs("01234567890123456789", written)
            fclose(written)
            #expect(rename(next, file.path) == 0)
            LoopingCall(on: reactor) {
                if configuration.text.count == 20 { reactor.stop() }
            }.start(every: .milliseconds(5)).whenFailed { error in Issue.record(error) }
        }
        #expect(configuration.text.count == 20)
    }
}
