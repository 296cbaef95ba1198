// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import BookSockets
import Glibc

/// Waits for descriptors and times, and calls what was registered for them.
final class Reactor {
    private var watches: [Int32: (events: Int32, call: () -> Void)] = [:]
    private var delayed: [(time: Double, call: () -> Void)] = []

    /// Calls `call` each time that a descriptor is ready: POLLIN to read, POLLOUT to write.
    func watch(_ descriptor: Int32, _ events: Int32, _ call: @escaping () -> Void) {
        watches[descriptor] = (events, call)
    }

    func unwatch(_ descriptor: Int32) { watches[descriptor] = nil }

    /// Calls `call` once, when some seconds have passed.
    func callLater(_ seconds: Double, _ call: @escaping () -> Void) {
        delayed.append((now + seconds, call))
        delayed.sort { $0.time < $1.time }
    }

    func run() -> Never { while true { turn() } }

    /// Waits once, and calls back for everything that is due or ready.
    private func turn() {
        var waits = watches.map { pollfd(fd: $0.key, events: Int16($0.value.events), revents: 0) }
        // No longer than until the next delayed call; -1 waits until a descriptor is ready.
        let seconds = delayed.first.map { max(0, $0.time - now) }
        let milliseconds = seconds.map { Int32(($0 * 1_000).rounded(.up)) } ?? -1
        guard poll(&waits, nfds_t(waits.count), milliseconds) >= 0 else { return }
        let time = now
        while let next = delayed.first, next.time <= time {
            delayed.removeFirst()
            next.call()
        }
        for wait in waits where wait.revents != 0 {
            // Looked up again: a callback before this one may have ended the watch.
            watches[wait.fd]?.call()
        }
    }

    private var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// Sends back what clients send, and says every second how many are there.
final class EchoServer {
    private let reactor: Reactor, listener: Int32
    private var clientCount = 0, buffer = [UInt8](repeating: 0, count: 4_096)
    init(on reactor: Reactor, listener: Int32) {
        (self.reactor, self.listener) = (reactor, listener)
        reactor.watch(listener, POLLIN) { [self] in addClient() }
        tick()
    }
    private func tick() {
        say("\(clientCount) connected")
        reactor.callLater(1) { [self] in tick() }
    }
    private func addClient() {
        guard let client = acceptClient(from: listener) else { return }
        clientCount += 1
        reactor.watch(client, POLLIN) { [self] in serve(client) }
    }
    private func serve(_ client: Int32) {
        let count = read(client, &buffer, buffer.count)
        if count > 0, write(client, buffer, count) == count { return }
        reactor.unwatch(client)
        close(client)
        clientCount -= 1
    }
}

let reactor = Reactor()
_ = EchoServer(on: reactor, listener: listen(onPort: portFromArguments))
reactor.run()
