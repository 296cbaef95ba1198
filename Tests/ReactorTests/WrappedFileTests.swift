// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestedBackends
import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionTesting

/// Writes what it is given in chunks, as HTTP/1.1 does (RFC 9112 §7.1): a file's bytes go past it.
///
/// It is the transport's producer in the place of its own.
private final class Chunks: Consumer, FileSendingConsumer, FileSource {
    private let inner: any StreamTransport
    private var producer: (any PushProducer)?
    /// What is still to come of the chunk whose size was written.
    private var rest = 0
    private(set) var fileByteCount = 0

    init(to inner: any StreamTransport) { self.inner = inner }

    private func begin(_ byteCount: Int) {
        rest = byteCount
        inner.write(String(byteCount, radix: 16) + "\r\n")
    }

    private func used(_ byteCount: Int) {
        rest -= byteCount
        if rest == 0 { inner.write("\r\n") }
    }

    func write(_ bytes: RawSpan) { write(Bytes(bytes)) }

    func write(_ bytes: Bytes) {
        var bytes = bytes
        while !bytes.isEmpty {
            if rest == 0 { begin(bytes.count) }
            let piece = bytes.prefix(rest)
            inner.write(piece)
            used(piece.count)
            bytes = bytes.dropFirst(piece.count)
        }
    }

    func sendFile(_ descriptor: Int32, at offset: Int64, byteCount: Int) -> SendFileResult {
        guard let sender = inner as? any FileSendingConsumer else { return .unsupported }
        if rest == 0 { begin(byteCount) }
        let result = sender.sendFile(descriptor, at: offset, byteCount: min(rest, byteCount))
        if case .sent(let count) = result {
            fileByteCount += count
            used(count)
        }
        return result
    }

    func awaitRoom() { (inner as? any FileSendingConsumer)?.awaitRoom() }

    func roomAppeared() { (producer as? any FileSource)?.roomAppeared() }

    func registerProducer(_ producer: any PushProducer) {
        self.producer = producer
        inner.registerProducer(self)
    }

    func registerProducer(_ producer: any PullProducer) { Issue.record("no pull producer comes") }

    func unregisterProducer() {
        producer = nil
        inner.unregisterProducer()
    }

    func finishConsuming() {
        inner.write("0\r\n\r\n")
        inner.loseConnection()
    }

    func abandonConsuming(because error: any Error) { inner.abortConnection(because: error) }

    func pauseProducing() { producer?.pauseProducing() }
    func resumeProducing() { producer?.resumeProducing() }
    func stopProducing() { producer?.stopProducing() }
}

/// Inverts each byte on its way out.
private final class Inverting: StreamFilter {
    override func transmit(_ bytes: RawSpan) -> Int {
        send(Bytes([UInt8](bytes).map { ~$0 }))
        return bytes.byteCount
    }
}

private final class Sink: StreamProtocol {
    var bytes: [UInt8] = []
    var loss: ConnectionLoss?
    private let whenLost: () -> Void

    init(_ whenLost: @escaping () -> Void) { self.whenLost = whenLost }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) { self.bytes += bytes }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        whenLost()
    }
}

private final class Server: StreamProtocol {
    private let begin: (any StreamTransport) -> Void

    init(_ begin: @escaping (any StreamTransport) -> Void) { self.begin = begin }

    func connectionMade(_ transport: any StreamTransport) { begin(transport) }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

/// The bytes of a body in chunks; nil if it is none.
private func unchunked(_ body: [UInt8]) -> [UInt8]? {
    var rest = body[...]
    var bytes: [UInt8] = []
    while let end = rest.firstIndex(of: 13) {
        let text = String(decoding: rest[..<end], as: UTF8.self)
        guard let count = Int(text, radix: 16), rest.count >= text.utf8.count + count + 4 else {
            return nil
        }
        rest = rest[(end + 2)...]
        bytes += rest.prefix(count)
        guard rest.dropFirst(count).starts(with: [13, 10]) else { return nil }
        rest = rest.dropFirst(count + 2)
        if count == 0 { return rest.isEmpty ? bytes : nil }
    }
    return nil
}

@Suite struct WrappedFileTests {
    private static let content = (0..<3_000_000).map {
        UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9)
    }

    /// What a client gets that a server sends by `begin`.
    private func received(
        _ backend: BackendChoice,
        _ begin: @escaping (any StreamTransport, FileProducer) -> Void
    ) throws -> [UInt8] {
        var name = Array("/tmp/torsion.XXXXXX".utf8CString)
        let descriptor = mkstemp(&name)
        try #require(descriptor >= 0)
        let path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { unlink(path) }
        let written = unsafe Self.content.withUnsafeBytes {
            unsafe write(descriptor, $0.baseAddress!, $0.count)
        }
        close(descriptor)
        try #require(written == Self.content.count)
        nonisolated(unsafe) var sink: Sink?
        nonisolated(unsafe) let begin = begin
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            let limit = reactor.callLater(.seconds(30)) { reactor.stop(within: .zero) }
            let made = Sink {
                limit.cancel()
                reactor.stop(within: .seconds(1))
            }
            sink = made
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
                Server { begin($0, FileProducer(path: path, on: $0.reactor)) }
            }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { made }
                .whenFailed { Issue.record("\($0)") }
        }
        #expect(sink?.loss == .closedByPeer)
        return sink?.bytes ?? []
    }

    @Test(arguments: BackendChoice.tested)
    func `a file is sent past a consumer that wraps the transport`(backend: BackendChoice) throws {
        nonisolated(unsafe) var chunks: Chunks?
        let body = try received(backend) { transport, file in
            let made = Chunks(to: transport)
            chunks = made
            made.write(Bytes("a first chunk"))
            file.pipe(to: made).whenFailed { Issue.record("\($0)") }
        }
        #expect(unchunked(body) == Array("a first chunk".utf8) + Self.content)
        // io_uring's streams send no files.
        if backend.name != "io_uring" { #expect(chunks?.fileByteCount == Self.content.count) }
    }

    @Test(arguments: BackendChoice.tested)
    func `a file does not pass by a filter that is to come`(backend: BackendChoice) throws {
        let bytes = try received(backend) { transport, file in
            transport.write("clear,")
            transport.startFilter(Inverting()).whenFailed { Issue.record("\($0)") }
            file.pipe(to: transport).addBoth { _ in transport.loseConnection() }
        }
        #expect(bytes == Array("clear,".utf8) + Self.content.map { ~$0 })
    }
}
