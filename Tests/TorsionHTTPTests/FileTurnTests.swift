// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionHTTP

/// Takes all that it is offered of a file, and notes how much that is.
private final class Sink: Consumer, FileSendingConsumer {
    private(set) var byteCounts: [Int] = []
    private let reactor: Reactor
    private var source: (any FileSource)?

    init(on reactor: Reactor) { self.reactor = reactor }

    func sendFile(_ descriptor: Int32, at offset: Int64, byteCount: Int) -> SendFileResult {
        byteCounts.append(byteCount)
        return .sent(byteCount)
    }

    func awaitRoom() { reactor.callLater(.zero) { [self] in source?.roomAppeared() } }

    func write(_ bytes: RawSpan) { Issue.record("\(bytes.byteCount) bytes were read") }
    func write(_ bytes: Bytes) { write(bytes.span) }
    func registerProducer(_ producer: any PushProducer) { source = producer as? any FileSource }
    func registerProducer(_ producer: any PullProducer) {}
    func unregisterProducer() { source = nil }
    func finishConsuming() {}
    func abandonConsuming(because error: any Error) { Issue.record("\(error)") }
}

@Suite struct FileTurnTests {
    @Test func `a large file leaves in pieces between which others are served`() throws {
        let folder = TemporaryFolder()
        let count = 3_000_000
        let path = folder.file("a", String(repeating: "x", count: count))
        var byteCounts: [Int] = []
        try Reactor.run(signals: .ignore) { reactor in
            let sink = Sink(on: reactor)
            FileProducer(path: path, on: reactor).pipe(to: sink)
                .addBoth { outcome in
                    #expect((try? outcome.get()) == count)
                    byteCounts = sink.byteCounts
                    reactor.stop()
                }
                .whenFailed { Issue.record("\($0)") }
        }
        #expect(byteCounts.reduce(0, +) == count)
        #expect(byteCounts.allSatisfy { $0 <= 256 * 1024 }, "\(byteCounts)")
    }
}
