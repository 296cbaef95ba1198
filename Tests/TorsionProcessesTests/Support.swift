// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestedBackends
import Testing
import Torsion
import TorsionProcesses

let backendNames = BackendChoice.tested.map(\.name)

extension Reactor {
    /// A reactor that a test turns by hand, without names and signals.
    static func turned(by name: String) throws -> Reactor {
        Reactor(backend: try .named(name, among: BackendChoice.tested), services: nil)
    }

    /// Turns until the condition holds.
    ///
    /// - Returns: Whether it came to hold within the limit.
    func turn(within limit: Duration = .seconds(20), until condition: () -> Bool) -> Bool {
        let end = now.advanced(by: limit)
        while !condition() {
            guard now < end else { return false }
            turn(until: end)
        }
        return true
    }

    /// What a Deferred comes to, within the limit.
    func wait<Value>(for deferred: Deferred<Value>) throws -> Value {
        var outcome: Result<Value, any Error>?
        _ = deferred.addBoth { outcome = $0 }
        try #require(turn { outcome != nil })
        return try outcome!.get()
    }

    /// Whether no child and no stream is left.
    var isIdle: Bool { statistics.watches == 0 && statistics.openConnections == 0 }

    /// Ends it, and expects that nothing is left.
    func finish() {
        #expect(statistics.watches == 0)
        #expect(statistics.openConnections == 0)
        checkInvariants()
        shutDown()
    }
}

/// Notes what happens to a child.
final class Witness: ProcessProtocol {
    private(set) var events: [String] = []
    private(set) var texts: [Int32: String] = [:]
    private(set) var status: ProcessStatus?
    private(set) var ended = false
    private(set) var child: pid_t?
    var whenStarted: ((ChildProcess) throws -> Void)?
    var whenExited: ((ChildProcess) -> Void)?
    var whenReceived: ((ChildProcess) -> Void)?
    var make: ((Int32) throws -> (any StreamProtocol)?)?

    var output: String { texts[1] ?? "" }

    func makeProtocol(
        for descriptor: Int32, of child: ChildProcess
    ) throws -> (any StreamProtocol)? { try make?(descriptor) }

    func processStarted(_ child: ChildProcess) throws {
        events.append("started")
        self.child = child.processID
        try whenStarted?(child)
    }

    func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) {
        if events.last != "data" { events.append("data") }
        texts[descriptor, default: ""] += String(decoding: bytes)
        whenReceived?(child)
    }

    func processExited(_ status: ProcessStatus, _ child: ChildProcess) {
        events.append("exited")
        self.status = status
        whenExited?(child)
    }

    func processEnded(_ status: ProcessStatus, _ child: ChildProcess) {
        events.append("ended")
        #expect(child.isOver && self.status == status)
        ended = true
    }
}

/// Notes what happens to a connection.
final class Peer: HalfCloseableProtocol {
    private(set) var text = ""
    private(set) var hasEnded = false
    private(set) var loss: ConnectionLoss?
    private(set) var transport: (any StreamTransport)?
    let keepsHalfOpen: Bool

    init(keepsHalfOpen: Bool = false) { self.keepsHalfOpen = keepsHalfOpen }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
    }

    func readConnectionLost(from transport: any StreamTransport) { hasEnded = true }

    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}

/// How many descriptors this process has open.
func openDescriptorCount() -> Int {
    (0..<4_096).count { fcntl(Int32($0), F_GETFD) >= 0 }
}

/// Whether this process has no more descriptors open than it had, but for a few: what runs the tests
/// has threads that open some, so what is to show a leak does so several times.
func hasNoMoreDescriptors(than count: Int) -> Bool { openDescriptorCount() <= count + 4 }

/// How many threads this process has; what runs the tests may start one.
func threadCount() -> Int {
    guard let folder = opendir("/proc/self/task") else { return 0 }
    defer { closedir(folder) }
    var count = 0
    while readdir(folder) != nil { count += 1 }
    return count - 2
}

/// Whether there is a child of this process, a zombie or not.
func hasChildren() -> Bool { waitpid(-1, nil, WNOHANG) >= 0 }
