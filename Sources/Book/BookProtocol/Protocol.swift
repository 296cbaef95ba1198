// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import BookSockets
import Glibc

/// Waits for descriptors, and calls what was registered for them.
final class Reactor {
    var watches: [Int32: (events: Int32, call: () -> Void)] = [:]
    func run() -> Never {
        while true {
            var waits = watches.map {
                pollfd(fd: $0.key, events: Int16($0.value.events), revents: 0)
            }
            _ = poll(&waits, nfds_t(waits.count), -1)
            for wait in waits where wait.revents != 0 { watches[wait.fd]?.call() }
        }
    }
}
/// What a program does with its connections: bytes in, bytes out, without any descriptor.
protocol StreamProtocol: AnyObject {
    func connectionMade(_ transport: Transport)
    func dataReceived(_ bytes: [UInt8], from transport: Transport)
    func connectionLost(_ transport: Transport)
}
/// One connection: owns the descriptor, and what the kernel has not taken yet.
final class Transport {
    private let descriptor: Int32, reactor: Reactor, user: any StreamProtocol
    private var unsent: [UInt8] = []
    init(_ descriptor: Int32, on reactor: Reactor, _ user: any StreamProtocol) {
        (self.descriptor, self.reactor, self.user) = (descriptor, reactor, user)
        watch()
        user.connectionMade(self)
    }
    /// Returns at once: what the kernel cannot take now is sent when it can.
    func write(_ text: String) {
        unsent += text.utf8
        watch()
    }
    private func watch() {
        let events = unsent.isEmpty ? POLLIN : POLLIN | POLLOUT
        reactor.watches[descriptor] = (events, { [self] in ready() })
    }
    private func ready() {
        if !unsent.isEmpty {
            let count = unsent.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { unsent.removeFirst(count) }
            watch()
        }
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = read(descriptor, &buffer, buffer.count)
        if count > 0 { return user.dataReceived(Array(buffer[..<count]), from: self) }
        if count < 0, errno == EAGAIN { return }
        reactor.watches[descriptor] = nil
        close(descriptor)
        user.connectionLost(self)
    }
}
/// Sends what one member says to all others.
final class Chat: StreamProtocol {
    private var members: [ObjectIdentifier: Transport] = [:]
    func connectionMade(_ transport: Transport) {
        members[ObjectIdentifier(transport)] = transport
        transport.write("welcome, you are one of \(members.count)\n")
    }
    func dataReceived(_ bytes: [UInt8], from transport: Transport) {
        let text = String(decoding: bytes, as: UTF8.self)
        for member in members.values where member !== transport { member.write(text) }
    }
    func connectionLost(_ transport: Transport) { members[ObjectIdentifier(transport)] = nil }
}
func serve(on reactor: Reactor, _ listener: Int32, _ user: any StreamProtocol) {
    let addClient = {
        if let client = acceptClient(from: listener) { _ = Transport(client, on: reactor, user) }
    }
    reactor.watches[listener] = (POLLIN, addClient)
}
let reactor = Reactor()
serve(on: reactor, listen(onPort: portFromArguments), Chat())
reactor.run()
