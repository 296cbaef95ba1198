// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@testable import TorsionServices

@Suite struct BlockingCallTests {
    /// Runs a reactor, `call` on another thread, and stops when that returns; gives its text.
    private func answer(
        _ host: String, _ call: @escaping @Sendable (Remote<Reactor>) throws -> String
    ) throws -> String {
        let text = Lock("")
        var thread: NativeThread?
        try run(host) { reactor in
            let handle = reactor.remote
            thread = try NativeThread.start {
                do {
                    let answer = try call(handle)
                    text.withLock { $0 = answer }
                } catch {
                    text.withLock { $0 = "\(error)" }
                }
                handle.callFromThread { $0.stop() }
            }
        }
        thread?.join()
        return text.withLock { $0 }
    }

    @Test(arguments: hosts)
    func `a value, and an error, come back to the thread that waits`(host: String) throws {
        let value = try answer(host) { handle in
            try handle.blockingCallFromThread { "running: \($0.isRunning)" }
        }
        #expect(value == "running: true")
        let failure = try answer(host) { handle in
            try handle.blockingCallFromThread { _ throws -> String in throw Mishap(number: 2) }
        }
        #expect(failure == "Mishap(number: 2)")
    }

    @Test(arguments: hosts)
    func `the Deferred that is returned is waited for`(host: String) throws {
        let value = try answer(host) { handle in
            try handle.blockingCallFromThread { reactor in
                reactor.deferLater(.milliseconds(2)) { "later" }
            }
        }
        #expect(value == "later")
        let failure = try answer(host) { handle in
            try handle.blockingCallFromThread { reactor in
                reactor.deferLater(.milliseconds(2)) { () throws -> String in
                    throw Mishap(number: 3)
                }
            }
        }
        #expect(failure == "Mishap(number: 3)")
    }

    @Test func `a Deferred that nobody will fire is told, not waited for`() throws {
        let failure = try answer("libuv") { handle in
            try handle.blockingCallFromThread { Deferred<String>(on: $0) }
        }
        #expect(failure == "\(ReactorStopped())")
    }

    @Test func `the end of the reactor's run ends the waiting, and later calls are refused`() throws
    {
        let texts = Lock<[String]>([])
        // Outlives the run, so that its chain does not end the waiting.
        var unfired: Deferred<Int>?
        var thread: NativeThread?
        try run("epoll") { reactor in
            let handle = reactor.remote
            let source = Deferred<Int>(on: reactor)
            unfired = source
            let sourceHandle = reactor.remote(to: source)
            thread = try NativeThread.start {
                for _ in 0..<2 {
                    do {
                        _ = try sourceHandle.blockingCallFromThread { deferred in
                            deferred.reactor.stop()
                            return deferred
                        }
                    } catch {
                        texts.withLock { $0.append("\(error)") }
                    }
                }
                #expect(!handle.callFromThread { _ in })
            }
        }
        thread?.join()
        #expect(texts.withLock { $0 } == Array(repeating: "\(ReactorStopped())", count: 2))
        #expect(unfired?.isPending == true)
        unfired?.succeed(1)
    }

    @Test(arguments: hosts)
    func `on the reactor's own thread it is refused, with a sentence`(host: String) throws {
        var errors: [any Error] = []
        try run(host) { reactor in
            let handle = reactor.remote
            reactor.callLater(.zero) {
                do { _ = try handle.blockingCallFromThread { $0.isRunning } } catch {
                    errors.append(error)
                }
                reactor.stop()
            }
        }
        #expect(errors.first is BlockedReactor)
        #expect("\(BlockedReactor())".contains("would wait for itself"))
    }

    @Test func `a reactor that is turned by hand refuses its driver, too`() throws {
        let reactor = try makeReactor("libuv")
        let handle = reactor.remote
        reactor.turn(until: reactor.now)
        #expect(throws: BlockedReactor.self) { try handle.blockingCallFromThread { $0.isRunning } }
        reactor.shutDown()
    }
}
