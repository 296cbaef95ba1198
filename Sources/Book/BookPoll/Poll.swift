// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import BookSockets
import Glibc

/// Sends back what its clients send, all of them on one thread.
struct EchoServer {
    let listener: Int32
    /// For each client, what the kernel has not taken yet.
    var unsent: [Int32: [UInt8]] = [:]
    var buffer = [UInt8](repeating: 0, count: 65_536)

    mutating func run() -> Never {
        while true {
            var waits = interests()
            // The only call that waits: until one or more of the descriptors are ready.
            guard poll(&waits, nfds_t(waits.count), -1) > 0 else { continue }
            for wait in waits where wait.revents != 0 {
                if wait.fd == listener { addClient() } else { serve(wait.fd) }
            }
        }
    }

    /// What we wait for: a client to send something, or room for what it has not been sent yet.
    func interests() -> [pollfd] {
        var waits = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
        for (client, bytes) in unsent {
            let events = bytes.isEmpty ? POLLIN : POLLOUT
            waits.append(pollfd(fd: client, events: Int16(events), revents: 0))
        }
        return waits
    }

    mutating func addClient() {
        guard let client = acceptClient(from: listener) else { return }
        unsent[client] = []
        say("\(unsent.count) connected")
    }

    /// Reads from a client, then writes as much as the kernel takes.
    mutating func serve(_ client: Int32) {
        if unsent[client]!.isEmpty {
            let count = read(client, &buffer, buffer.count)
            guard hasMoved(client, count) else { return }
            unsent[client]! += buffer[..<count]
        }
        let count = unsent[client]!.withUnsafeBytes { write(client, $0.baseAddress, $0.count) }
        if hasMoved(client, count) { unsent[client]!.removeFirst(count) }
    }

    /// Whether a call has moved bytes; a client that has ended or failed is forgotten.
    mutating func hasMoved(_ client: Int32, _ count: Int) -> Bool {
        if count > 0 { return true }
        if count < 0, errno == EAGAIN { return false }  // `poll` says when to try again.
        close(client)
        unsent[client] = nil
        say("\(unsent.count) connected")
        return false
    }
}

var server = EchoServer(listener: listen(onPort: portFromArguments))
server.run()
