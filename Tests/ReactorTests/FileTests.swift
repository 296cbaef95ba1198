// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionTesting

/// How a file reaches its peer.
enum Way: CustomTestStringConvertible, CaseIterable, Sendable {
    /// By `sendfile`.
    case plain
    /// Through the hooks of a filter, so in pieces.
    case filtered
    /// Through a filter that looks at no byte and under an observer, so by `sendfile`.
    case transparent
    /// By `sendfile` whose calls are cut, refused and late.
    case irregular

    var testDescription: String { "\(self)" }

    func choice(_ name: String) throws -> BackendChoice {
        let backend = try BackendChoice.named(name, among: testedBackends)
        return self == .irregular ? .faulty(backend, .irregular(seed: 3)) : backend
    }
}

/// A file that is gone at the end.
private final class TemporaryFile {
    let path: String

    init(_ bytes: [UInt8] = []) throws {
        var name = Array("/tmp/torsion.XXXXXX".utf8CString)
        let descriptor = mkstemp(&name)
        try #require(descriptor >= 0)
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var written = 0
        while written < bytes.count {
            written += bytes.withUnsafeBytes {
                write(descriptor, $0.baseAddress! + written, $0.count - written)
            }
        }
        close(descriptor)
    }

    deinit { unlink(path) }

    var bytes: [UInt8] {
        let descriptor = open(path, O_RDONLY)
        defer { close(descriptor) }
        let count = Int(lseek(descriptor, 0, SEEK_END))
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let more = pread(
                    descriptor, buffer.baseAddress! + filled, count - filled, off_t(filled))
                if more <= 0 { return }
                filled += more
            }
        }
    }
}

/// Takes what comes, at leisure if it is slow.
private final class Sink: StreamProtocol {
    var hash = StreamHash()
    var loss: ConnectionLoss?
    var onBytes: (Int, any StreamTransport) -> Void = { _, _ in }
    var onLost: () -> Void = {}

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        hash.add(bytes)
        onBytes(hash.byteCount, transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        onLost()
    }
}

/// Sends one file, and notes what came of it.
private final class Sender: StreamProtocol {
    private(set) var outcome = ""
    private(set) var loss: ConnectionLoss?
    var onOutcome: () -> Void = {}
    private let begin: (any StreamTransport) -> Deferred<Int>

    init(_ begin: @escaping (any StreamTransport) -> Deferred<Int>) { self.begin = begin }

    func connectionMade(_ transport: any StreamTransport) {
        transport.write("a header, ")
        let sending = begin(transport)
        // S4: it waits for the file.
        transport.loseConnection()
        sending.addBoth { [self] result in
            switch result {
            case .success(let count): outcome = "\(count) bytes"
            case .failure(let error): outcome = "\(error)"
            }
            onOutcome()
        }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}

extension Way {
    /// The place of a server, reached in this way.
    fileprivate func endpoint(_ address: SocketAddress) -> any StreamClientEndpoint {
        let plain = ClientEndpoint.address(address)
        return switch self {
        case .plain, .irregular: plain
        case .filtered: plain.filtered { PassingFilter.byHooks.make() }
        case .transparent: plain.filtered { PassingFilter.transparent.make() }.logged { _ in }
        }
    }
}

/// Sends a file over a connection of its own.
///
/// - Returns: The outcome in words, and what the peer saw.
private func send(
    _ path: String, offset: Int64 = 0, byteCount: Int64? = nil, _ way: Way, _ backend: String,
    progress: @escaping (Int64, Int64) -> Void = { _, _ in },
    onBytes: @escaping (Int, any StreamTransport) -> Void = { _, _ in }
) throws -> (outcome: String, sink: Sink) {
    nonisolated(unsafe) let sink = Sink()
    nonisolated(unsafe) var outcome = ""
    nonisolated(unsafe) let progress = progress
    sink.onBytes = onBytes
    try Reactor.run(backend: try way.choice(backend), signals: .ignore) { reactor in
        reactor.unhandledError = { Issue.record("\($0)") }
        let limit = reactor.callLater(.seconds(60)) { reactor.stop(within: .zero) }
        let sender = Sender { transport in
            let file = FileProducer(
                path: path, offset: offset, byteCount: byteCount, on: reactor, progress: progress)
            return file.pipe(to: transport)
        }
        // Each end hears of it in its own time.
        func stopWhenBothKnow() {
            guard sink.loss != nil, !sender.outcome.isEmpty else { return }
            limit.cancel()
            outcome = sender.outcome
            // Each knows the other by this.
            sink.onLost = {}
            sender.onOutcome = {}
            reactor.stop(within: .seconds(5))
        }
        sink.onLost = stopWhenBothKnow
        sender.onOutcome = stopWhenBothKnow
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in sink }
        way.endpoint(port.localAddress).connect(on: reactor) { sender }
            .whenFailed { Issue.record("\($0)") }
    }
    return (outcome, sink)
}

private let backends = testedBackends.map(\.name)

@Suite struct FileTests {
    private static let content = [UInt8].pattern(count: 5_000_001)

    private func hash(_ range: Range<Int>) -> StreamHash {
        StreamHash(Array("a header, ".utf8) + Self.content[range])
    }

    @Test(arguments: backends, Way.allCases)
    func `a file arrives whole behind what was written before`(
        backend: String, way: Way
    ) throws {
        let file = try TemporaryFile(Self.content)
        var steps: [Int64] = []
        let (outcome, sink) = try send(file.path, way, backend) { sent, whole in
            #expect(whole == 5_000_001)
            steps.append(sent)
        }
        #expect(outcome == "5000001 bytes")
        #expect(sink.hash == hash(0..<5_000_001))
        #expect(sink.loss == .closedByPeer)
        #expect(steps == steps.sorted() && steps.last == 5_000_001)
    }

    @Test(arguments: backends, Way.allCases)
    func `a reader that pauses loses no byte of a file`(backend: String, way: Way) throws {
        let file = try TemporaryFile(Self.content)
        var pausedAt = 0
        let (outcome, sink) = try send(file.path, way, backend) { _, _ in
        } onBytes: { count, transport in
            guard count > pausedAt + 500_000 else { return }
            pausedAt = count
            transport.pauseProducing()
            transport.reactor.callLater(.milliseconds(1)) { transport.resumeProducing() }
        }
        #expect(outcome == "5000001 bytes")
        #expect(sink.hash == hash(0..<5_000_001))
    }

    @Test(arguments: [(0, 0), (4_095, 2), (1_234_567, 3_000_000), (5_000_001, 0)], Way.allCases)
    func `a range of a file arrives alone`(range: (offset: Int64, count: Int64), way: Way) throws {
        let file = try TemporaryFile(Self.content)
        let (outcome, sink) = try send(
            file.path, offset: range.offset, byteCount: range.count, way, "epoll")
        #expect(outcome == "\(range.count) bytes")
        #expect(sink.hash == hash(Int(range.offset)..<Int(range.offset + range.count)))
        #expect(sink.loss == .closedByPeer)
    }

    @Test(arguments: [(5_000_002, nil), (0, 5_000_002), (5_000_000, 2), (1, .max)], Way.allCases)
    func `a range beyond the end fails, and the peer is told`(
        range: (offset: Int64, count: Int64?), way: Way
    ) throws {
        let file = try TemporaryFile(Self.content)
        let (outcome, sink) = try send(
            file.path, offset: range.offset, byteCount: range.count, way, "epoll")
        #expect(outcome == "cannot read from \(file.path): end of file (EOF)")
        #expect(sink.loss?.isClean == false)
    }

    @Test(arguments: backends, [Way.plain, .filtered])
    func `a file that shrinks meanwhile is an error, not a wait without end`(
        backend: String, way: Way
    ) throws {
        let file = try TemporaryFile([UInt8].pattern(count: 20_000_000))
        var isCut = false
        let (outcome, sink) = try send(file.path, way, backend) { _, _ in
        } onBytes: { count, _ in
            guard !isCut, count > 1_000_000 else { return }
            isCut = true
            // More than the sockets hold is still to come.
            #expect(truncate(file.path, 10_000_000) == 0)
        }
        #expect(outcome == "cannot read from \(file.path): end of file (EOF)")
        #expect(sink.loss?.isClean == false)
        #expect(sink.hash.byteCount < 20_000_000)
    }

    @Test(arguments: Way.allCases)
    func `a file that cannot be opened fails the pipe and names the path`(way: Way) throws {
        let missing = try send("/nowhere/at all", way, "epoll")
        #expect(
            missing.outcome == "cannot open /nowhere/at all: no such file or directory (ENOENT)")
        #expect(missing.sink.loss?.isClean == false)
        #expect(
            try send("/tmp", way, "epoll").outcome == "cannot open /tmp: is a directory (EISDIR)")
        let device = try send("/dev/zero", way, "epoll").outcome
        #expect(device == "cannot open /dev/zero: operation not supported (EOPNOTSUPP)")
    }

    @Test(arguments: backends, PassingFilter.allCases)
    func `a file is sent by the kernel below a filter that looks at no byte, and no other`(
        backend: String, kind: PassingFilter
    ) throws {
        let file = try TemporaryFile(Array("hello".utf8))
        let descriptor = open(file.path, O_RDONLY)
        defer { close(descriptor) }
        let reactor = try Reactor.turned(by: backend)
        nonisolated(unsafe) var filter: StreamFilter?
        let server = Witness(), client = Witness()
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in server }
        ClientEndpoint.address(port.localAddress)
            .filtered {
                let made = kind.make()
                filter = made
                return made
            }
            .connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { client.transport != nil && server.transport != nil })
        let expected: SendFileResult = kind == .transparent ? .sent(5) : .unsupported
        #expect(filter?.trySendFile(descriptor, at: 0, byteCount: 5) == expected)
        client.transport?.write(" world")
        let text = kind == .transparent ? "hello world" : " world"
        #expect(reactor.turn { server.text == text })
        filter = nil
        reactor.shutDown()
    }

    @Test(arguments: backends)
    func `a peer that goes ends the pipe`(backend: String) throws {
        let file = try TemporaryFile([UInt8].pattern(count: 20_000_000))
        let (outcome, _) = try send(file.path, .plain, backend) { _, _ in
        } onBytes: { _, transport in
            transport.abortConnection()
        }
        #expect(outcome.hasPrefix("the destination of a pipe, 127.0.0.1:"), "\(outcome)")
        #expect(outcome.hasSuffix(": connection reset by peer (ECONNRESET)"), "\(outcome)")
    }

    @Test(arguments: backends)
    func `what arrives is written to a file, whose end waits for the disk`(backend: String) throws {
        let source = try TemporaryFile(Self.content), target = try TemporaryFile()
        nonisolated(unsafe) var results: [String] = []
        let choice = try BackendChoice.named(backend, among: testedBackends)
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            reactor.unhandledError = { Issue.record("\($0)") }
            let limit = reactor.callLater(.seconds(60)) { reactor.stop(within: .zero) }
            let file = FileConsumer(
                path: target.path, watermarks: Watermarks(low: 1, high: 2), on: reactor)
            file.written.addBoth { result in
                if case .success(let count) = result { results.append("written \(count)") }
                if case .failure(let error) = result { results.append("\(error)") }
                limit.cancel()
                reactor.stop(within: .seconds(5))
            }
            // From a file to a file: any source goes with any consumer.
            FileProducer(path: source.path, on: reactor).pipe(to: file)
                .addCallback { count in results.append("carried \(count)") }
                .whenFailed { results.append("\($0)") }
        }
        #expect(results == ["carried 5000001", "written 5000001"])
        #expect(target.bytes == Self.content)
    }

    @Test func `a full disk fails what writes, and stops its source`() throws {
        let source = try TemporaryFile(Self.content)
        nonisolated(unsafe) var results: [String] = []
        try Reactor.run(backend: .epoll, signals: .ignore) { reactor in
            let limit = reactor.callLater(.seconds(60)) { reactor.stop(within: .zero) }
            let file = FileConsumer(path: "/dev/full", on: reactor)
            file.written.addBoth { result in
                if case .failure(let error) = result { results.append("\(error)") }
                limit.cancel()
                reactor.stop(within: .seconds(5))
            }
            FileProducer(path: source.path, on: reactor).pipe(to: file)
                .whenFailed { results.append("\($0 is PipeBroken)") }
        }
        #expect(
            results == ["true", "cannot write to /dev/full: no space left on device (ENOSPC)"])
    }

    @Test func `a file that is there is kept when it is to be made`() throws {
        let target = try TemporaryFile(Array("kept".utf8))
        nonisolated(unsafe) var error = ""
        try Reactor.run(backend: .epoll, signals: .ignore) { reactor in
            FileConsumer(path: target.path, for: .creating, on: reactor).written
                .whenFailed {
                    error = "\($0)"
                    reactor.stop(within: .zero)
                }
        }
        #expect(error == "cannot open \(target.path): file exists (EEXIST)")
        #expect(target.bytes == Array("kept".utf8))
    }
}
