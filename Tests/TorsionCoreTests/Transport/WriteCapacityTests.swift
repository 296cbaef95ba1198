// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Writes in its own event, and outside of every event.
private final class Writer: StreamProtocol {
    var whenRead: (any StreamTransport) -> Void = { _ in }
    var loss: ConnectionLoss?

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        whenRead(transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }

    /// The text that `body` writes in both ways; they must be the same.
    static func text(_ body: @escaping (any StreamTransport) -> Void) -> String {
        let inside = Writer(), outside = Writer()
        let first = MemoryTransport(inside), second = MemoryTransport(outside)
        inside.whenRead = body
        first.receive("x")
        body(second.transport)
        second.clock.turn()
        let text = first.takeText()
        #expect(second.takeText() == text)
        return text
    }

    /// Ends the process, if `body` is a mistake, in the event of a connection or outside of it.
    static func run(isInside: Bool, _ body: @escaping (any StreamTransport) -> Void) {
        let writer = Writer()
        let peer = MemoryTransport(writer)
        writer.whenRead = body
        if isInside { peer.receive("x") } else { body(peer.transport) }
    }
}

private func sentence(_ result: ExitTest.Result?) -> String {
    String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
}

@Suite struct WriteCapacityTests {
    @Test func `what is appended leaves between what was written before and behind`() {
        let text = Writer.text { transport in
            transport.write("a,")
            transport.write(capacity: 3) { output in
                output.append(repeating: 98, count: 2, as: UInt8.self)
            }
            transport.write(capacity: 3) { _ in }
            transport.write(capacity: 0) { output in #expect(output.freeCapacity == 0) }
            transport.write(",c")
        }
        #expect(text == "a,bb,c")
    }

    @Test func `a capacity may be larger than what is coalesced`() {
        let text = Writer.text { transport in
            transport.write("a")
            transport.write(capacity: 100_000) { output in
                output.append(repeating: 98, count: 50_000, as: UInt8.self)
            }
            transport.write("c")
        }
        #expect(text == "a" + String(repeating: "b", count: 50_000) + "c")
    }

    @Test func `behind a close nothing is written`() {
        var hasRun = false
        let text = Writer.text { transport in
            transport.write("a")
            transport.loseConnection()
            transport.write(capacity: 3) { output in
                output.append(repeating: 98, count: 3, as: UInt8.self)
                hasRun = true
            }
        }
        #expect(text == "a" && hasRun)
    }

    @Test(arguments: [false, true])
    func `a negative capacity is a mistake that is named`(isInside: Bool) async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) { [isInside] in
            Writer.run(isInside: isInside) { $0.write(capacity: -1) { _ in } }
        }
        #expect(sentence(result).contains("write(capacity:) needs 0 bytes or more, got -1"))
    }

    @Test(arguments: [false, true], 0..<7)
    func `a call of the transport inside is a mistake that is named`(
        isInside: Bool, call: Int
    ) async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) { [isInside, call] in
            Writer.run(isInside: isInside) { transport in
                transport.write(capacity: 100) { output in
                    output.append(repeating: 98, count: 50, as: UInt8.self)
                    switch call {
                    case 0: transport.write("x")
                    case 1: transport.write([UInt8](repeating: 1, count: 10_000))
                    case 2:
                        transport.write(capacity: 5) {
                            $0.append(repeating: 99, count: 5, as: UInt8.self)
                        }
                    case 3: transport.loseConnection()
                    case 4: transport.loseWriteConnection()
                    case 5: transport.abortConnection()
                    default: transport.startFilter(StreamFilter())
                    }
                }
            }
        }
        #expect(sentence(result).contains("called inside write(capacity:); return first"))
    }
}
