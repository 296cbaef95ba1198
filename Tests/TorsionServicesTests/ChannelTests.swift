// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionCore

@testable import TorsionServices

/// Values on their way between reactors.
@Suite struct ChannelTests {
    private struct Value: Sendable, Equatable {
        let sender: Int
        let number: Int
    }

    /// What several threads look at.
    private final class Shared: Sendable {
        let role = Lock(0)
        let received = Lock<[Value]>([])
        let most = Lock(0)

        func takeRole() -> Int {
            role.withLock { role in
                defer { role += 1 }
                return role
            }
        }
    }

    private static func sendAll(
        _ sender: ChannelSender<Value>, _ number: Int, from index: Int, to count: Int,
        _ done: @escaping () -> Void
    ) {
        var index = index
        // What there is room for, and then with the next room.
        while index < count, sender.trySend(Value(sender: number, number: index)) { index += 1 }
        guard index < count else { return done() }
        sender.send(Value(sender: number, number: index)).addCallback {
            sendAll(sender, number, from: index + 1, to: count, done)
        }.whenFailed { Issue.record("\($0)") }
    }

    @Test(arguments: BackendChoice.tested, [1, 16])
    func `each value arrives once, in its sender's order, and no more wait than the limit`(
        backend: BackendChoice, limit: Int
    ) throws {
        let count = 2_000
        let channel = ReactorChannel<Value>(limit: limit)
        let shared = Shared()
        try ReactorGroup.run(count: 3, backend: backend, signals: .ignore) { reactor in
            let role = shared.takeRole()
            if role == 0 {
                channel.receive(on: reactor) {
                    reactor.stop()
                } _: { value in
                    let waiting = channel.count
                    shared.most.withLock { $0 = max($0, waiting) }
                    shared.received.withLock { $0.append(value) }
                }
            } else {
                let sender = channel.sender(on: reactor)
                // Both are there before the first has ended.
                let end = channel.sender(on: reactor)
                reactor.callLater(.zero) {
                    Self.sendAll(sender, role, from: 0, to: count) {
                        sender.close()
                        reactor.callLater(.milliseconds(5)) { end.close() }
                    }
                }
            }
        }
        let received = shared.received.withLock { $0 }
        #expect(received.count == 2 * count)
        for sender in 1...2 {
            let numbers = received.filter { $0.sender == sender }.map(\.number)
            #expect(numbers == Array(0..<count))
        }
        #expect(shared.most.withLock { $0 } <= limit)
        #expect(channel.count == 0)
    }

    @Test(arguments: BackendChoice.tested)
    func `a receiver that pauses fills the channel, and then its sender waits`(
        backend: BackendChoice
    ) throws {
        var events: [String] = []
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.unhandledError = { events.append("\($0.error)") }
            let channel = ReactorChannel<Int>(limit: 2)
            let sender = channel.sender(on: reactor)
            var receiver: ChannelReceiver<Int>!
            receiver = channel.receive(on: reactor) {
                events.append("end")
                reactor.stop()
            } _: { value in
                events.append("\(value)")
                if value == 0 { receiver.pause() }
                if value == 4 { throw ChannelClosed() }
            }
            #expect(sender.trySend(0))
            reactor.callLater(.milliseconds(2)) {
                #expect(sender.trySend(1) && sender.trySend(2) && !sender.trySend(9))
                let taken = sender.send(3)
                let back = sender.send(8)
                sender.send(4).addCallback {
                    events.append("taken")
                    sender.close()
                }.whenFailed { Issue.record("\($0)") }
                back.cancel()
                back.whenFailed { events.append("\($0 is CancellationError)") }
                reactor.callLater(.milliseconds(2)) {
                    #expect(taken.isPending && channel.count == 2)
                    receiver.resume()
                }
            }
        }
        let sent = events.filter { $0 != "taken" }
        #expect(sent == ["0", "true", "1", "2", "3", "4", "\(ChannelClosed())", "end"])
        #expect(events.contains("taken"))
    }

    @Test(arguments: BackendChoice.tested)
    func `a receiver that pauses with the last value tells of its room when it goes on`(
        backend: BackendChoice
    ) throws {
        var received: [Int] = []
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.callLater(.seconds(20)) { reactor.stop() }
            let channel = ReactorChannel<Int>(limit: 2)
            let sender = channel.sender(on: reactor)
            var receiver: ChannelReceiver<Int>!
            receiver = channel.receive(on: reactor) {
                reactor.stop()
            } _: { value in
                received.append(value)
                guard value == 1 else { return }
                receiver.pause()
                reactor.callLater(.milliseconds(1)) { receiver.resume() }
            }
            #expect(sender.trySend(0) && sender.trySend(1) && !sender.trySend(2))
            sender.send(2).addCallback { sender.close() }.whenFailed { Issue.record("\($0)") }
        }
        #expect(received == [0, 1, 2])
    }

    @Test(arguments: BackendChoice.tested)
    func `what waits for room fails at the end of its sender's run, or with its sender`(
        backend: BackendChoice
    ) throws {
        var failures: [String] = []
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            // Nobody receives.
            let channel = ReactorChannel<Int>(limit: 1)
            let sender = channel.sender(on: reactor)
            var released: ChannelSender<Int>? = channel.sender(on: reactor)
            #expect(sender.trySend(0))
            released?.send(1).whenFailed { failures.append("released: \($0)") }
            released = nil
            sender.send(2).whenFailed { failures.append("stopped: \($0)") }
            reactor.addTrigger(.after, .shutdown) { withExtendedLifetime(sender) {} }
            reactor.callLater(.milliseconds(1)) { reactor.stop() }
        }
        #expect(failures == ["released: \(ChannelClosed())", "stopped: \(ChannelClosed())"])
    }

    @Test(arguments: BackendChoice.tested)
    func `a receiver whose reactor stops is told to who waits for room`(
        backend: BackendChoice
    ) throws {
        let channel = ReactorChannel<Int>(limit: 1)
        let ready = NativeSemaphore()
        let goOn = NativeSemaphore()
        let thread = try NativeThread.start {
            do {
                try Reactor.run(backend: backend, signals: .ignore) { reactor in
                    let receiver = channel.receive(on: reactor) { _ in Issue.record("received") }
                    receiver.pause()
                    reactor.addTrigger(.after, .startup) {
                        ready.signal()
                        goOn.wait()
                        reactor.stop()
                    }
                }
            } catch { Issue.record("\(error)") }
        }
        ready.wait()
        var errors: [String] = []
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            let sender = channel.sender(on: reactor)
            #expect(sender.trySend(1))
            sender.send(2).whenFailed {
                errors.append("\($0)")
                #expect(!sender.trySend(3))
                sender.send(4).whenFailed {
                    errors.append("\($0)")
                    reactor.stop()
                }
            }
            goOn.signal()
        }
        thread.join()
        #expect(errors == ["\(ChannelClosed())", "\(ChannelClosed())"])
    }

    @Test func `a sender that is released is closed, and nothing of the channel is left`() throws {
        final class Token: Sendable {}
        weak var left: Token?
        var hasEnded = false
        let reactor = Reactor(backend: .epoll)
        try reactor.run(signals: .ignore) { reactor in
            let channel = ReactorChannel<Token>(limit: 1)
            var sender: ChannelSender<Token>? = channel.sender(on: reactor)
            let token = Token()
            left = token
            #expect(sender?.trySend(token) == true)
            channel.receive(on: reactor) {
                hasEnded = true
                reactor.stop()
            } _: { _ in
                sender = nil
            }
        }
        #expect(hasEnded && left == nil)
        #expect(reactor.statistics.openHandles == 0)
    }
}

/// The reactors of a group know each other.
@Suite struct SiblingTests {
    @Test(arguments: BackendChoice.tested)
    func `each reactor of a group has the doors of all, in the same order`(
        backend: BackendChoice
    ) throws {
        let orders = Lock<[[UInt32]]>([])
        try ReactorGroup.run(count: 3, backend: backend, signals: .ignore) { reactor in
            let siblings = reactor.siblings
            #expect(siblings.count == 3)
            reactor.spawn {
                var order: [UInt32] = []
                for sibling in siblings { order.append(try await sibling.run { $0.number }) }
                let isDone = orders.withLock { [order] orders in
                    orders.append(order)
                    return orders.count == 3
                }
                if isDone { reactor.stop() }
            }
        }
        let found = orders.withLock { $0 }
        #expect(found.count == 3 && Set(found).count == 1 && Set(found[0]).count == 3)
    }

    @Test func `a reactor alone is its only sibling`() throws {
        try Reactor.run(backend: .epoll, signals: .ignore) { reactor in
            let siblings = reactor.siblings
            #expect(siblings.count == 1)
            siblings[0].callFromThread { $0.stop() }
        }
    }
}
