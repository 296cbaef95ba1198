// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import Torsion

private func monotonicTime() -> Duration {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}

/// Reads what the test sends, and has it send more each time, so that there is always more to read.
private final class Glutton: StreamProtocol {
    var refill: () -> Void = {}
    private(set) var readCount = 0

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        readCount += 1
        refill()
    }
}

/// When things happen, and how long others wait for it.
@Suite struct PaceTests {
    // R5, R6: a reactor that counted from the time before its wait would run it too early.
    @Test(arguments: backendNames)
    func `a delayed call counts from the end of the wait that led to it`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let (output, input) = (ends[0], ends[1])
        defer {
            close(output)
            close(input)
        }
        let writer = try NativeThreadOfTest {
            // So long the reactor waits, without a timer of its own.
            poll(nil, 0, 40)
            write(input, "x", 1)
        }
        // A turn that has a timer asks for the time before it waits.
        let distant = reactor.callLater(.seconds(60)) {}
        var delay: Duration?
        var watch: DescriptorWatch?
        watch = try reactor.watch(descriptor: output, for: .readable) { _ in
            watch?.cancel()
            let start = monotonicTime()
            reactor.callLater(.milliseconds(30)) { delay = monotonicTime() - start }
        }
        while delay == nil { reactor.turn(until: nil) }
        #expect(try #require(delay) >= .milliseconds(30))
        watch = nil
        distant.cancel()
        writer.join()
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `one that always has more to read lets the others have their turn`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let glutton = Glutton()
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { close(ends[0]) }
        let piece = [UInt8](repeating: 7, count: 64 * 1_024)
        var refills = 0
        glutton.refill = {
            refills += 1
            guard refills < 2_000 else { return }
            send(ends[0], piece, piece.count, Int32(MSG_DONTWAIT))
        }
        // Adopting makes a duplicate.
        let port = try ServerEndpoint(parsing: "fd:\(ends[1])").listen(on: reactor) { glutton }
        close(ends[1])
        glutton.refill()
        #expect(reactor.turn { glutton.readCount > 0 })
        var most = 0
        for _ in 0..<20 {
            let before = glutton.readCount
            reactor.turn(until: reactor.now)
            most = max(most, glutton.readCount - before)
        }
        #expect(most > 0 && most <= 64, "\(most) reads in one turn")
        glutton.refill = {}
        port.stopListening()
        reactor.shutDown()
    }
}
