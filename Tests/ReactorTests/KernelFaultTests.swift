// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CCallFaults
import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
@_spi(Backend) import TorsionCore

/// Those whose waits are our own: libuv aborts by itself when `epoll_wait(2)` fails.
private let waitingBackends = backendNames.filter { $0 != "libuv" }

/// Those that watch by `epoll_ctl(2)`.
private let watchingBackends = BackendChoice.linked.map(\.name)

/// Whether this build has io_uring, and the kernel allows it.
private let canRunRings = testedBackends.contains {
    $0.name == "io_uring" && $0.unavailableReason() == nil
}

/// An `errno` and what the engine calls it.
private typealias Fault = (number: Int32, code: ErrorCode)

private let refusals: [Fault] = [(EPERM, .notPermitted), (ENOSYS, .notImplemented)]
private let shortages: [Fault] = [(ENOMEM, .outOfMemory), (ENOSPC, .noSpace)]

/// What the kernel may answer and seldom does.
///
/// None of it may end the process: it is an error of whom it concerns, or the end of the run.
@Suite struct KernelFaultTests {
    /// The two ends of a connection within one reactor.
    private final class Pair {
        let reactor: Reactor
        private(set) var server = End(), client = End()

        init(_ name: String) throws { reactor = try Reactor.turned(by: name) }

        /// Runs until the end of the run; `body` is called when both are connected.
        func run(_ body: @escaping () -> Void) throws {
            server = End()
            client = End()
            let begin = { [server, client] in
                if server.transport != nil, client.transport != nil { body() }
            }
            server.whenMade = begin
            client.whenMade = begin
            try reactor.run(signals: .ignore) { [server, client] reactor in
                let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in server }
                let endpoint = ClientEndpoint.address(port.localAddress)
                endpoint.connect(on: reactor) { client }.whenFailed { Issue.record("\($0)") }
            }
        }
    }

    private final class End: StreamProtocol {
        private(set) var transport: (any StreamTransport)?
        private(set) var isLost = false
        var whenMade: () -> Void = {}
        var whenReceived: () -> Void = {}

        func connectionMade(_ transport: any StreamTransport) {
            self.transport = transport
            whenMade()
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) { whenReceived() }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            isLost = true
            self.transport = nil
            whenMade = {}
            whenReceived = {}
        }
    }

    // MARK: The wait

    /// Cases P10 and W12.
    @Test(arguments: waitingBackends, refusals)
    func `a wait that the kernel refuses ends the run, which throws that`(
        name: String, fault: (number: Int32, code: ErrorCode)
    ) throws {
        let pair = try Pair(name)
        defer { torsion_fail_waits(0, 0) }
        let error = #expect(throws: IOError.self) {
            try pair.run { torsion_fail_waits(fault.number, .max) }
        }
        #expect(error?.operation == .wait && error?.code == fault.code)
        #expect(pair.server.isLost && pair.client.isLost)
        torsion_fail_waits(0, 0)
        // It may run again.
        try pair.run { pair.reactor.stop(within: .zero) }
        #expect(pair.server.isLost && pair.client.isLost)
    }

    @Test(arguments: waitingBackends, [ENOMEM, EAGAIN])
    func `a wait that fails for want of memory is tried again`(name: String, number: Int32) throws {
        let pair = try Pair(name)
        defer { torsion_fail_waits(0, 0) }
        try pair.run {
            torsion_fail_waits(number, 20)
            pair.client.transport?.write("x")
            pair.server.whenReceived = { pair.reactor.stop(within: .zero) }
        }
        #expect(pair.server.isLost && pair.client.isLost)
    }

    @Test(.tags(.slow), arguments: waitingBackends)
    func `a shortage without end ends the run after a second`(name: String) throws {
        let pair = try Pair(name)
        defer { torsion_fail_waits(0, 0) }
        let error = #expect(throws: IOError.self) {
            try pair.run { torsion_fail_waits(ENOMEM, .max) }
        }
        #expect(error?.description == "cannot wait for events: cannot allocate memory (ENOMEM)")
    }

    @Test(arguments: waitingBackends)
    func `a reactor that is turned by hand reports each turn that fails`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        var reports: [String] = []
        reactor.unhandledError = { reports.append("\($0.error)") }
        try reactor.start()
        torsion_fail_waits(EPERM, .max)
        reactor.turn(until: reactor.now)
        torsion_fail_waits(0, 0)
        #expect(reports == ["cannot wait for events: operation not permitted (EPERM)"])
        reactor.unhandledError = { _ in }
        reactor.shutDown()
    }

    /// Case W12, by the kernel itself.
    @Test(.enabled(if: canRunRings && !isAddressSanitized))
    func `a seccomp filter that is set later ends a ring's run, and leaves nothing open`() async {
        await #expect(processExitsWith: .success) {
            try synchronously {
                let pair = try Pair("io_uring")
                let before = openDescriptors()
                let error = #expect(throws: IOError.self) {
                    try pair.run { precondition(torsion_forbid_ring_calls() == 0) }
                }
                precondition(error?.code == .notPermitted, "\(String(describing: error))")
                precondition(openDescriptors() == before, "\(openDescriptors()) of \(before)")
            }
            exit(0)
        }
    }

    // MARK: Watching

    /// Case P10: `epoll_ctl(2)` fails for want of memory, or of watches of the user.
    @Test(arguments: watchingBackends, shortages)
    func `a datagram port that cannot be watched is told, and can be closed`(
        name: String, fault: (number: Int32, code: ErrorCode)
    ) throws {
        final class Deaf: DatagramProtocol {
            var errors: [ErrorCode] = []
            func datagramReceived(
                _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
            ) {}
            func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {
                errors.append(error.code)
            }
        }
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        let deaf = Deaf()
        torsion_fail_watches(fault.number, 0, 1)
        let port = try DatagramEndpoint(parsing: "udp:0:interface=127.0.0.1")
            .listen(on: reactor) { deaf }
        #expect(torsion_failed_watches() == 1)
        // T3: not inside the call.
        #expect(deaf.errors.isEmpty)
        reactor.turn(until: reactor.now)
        // libuv's own call, for its handle, met it, and says nothing closer.
        #expect([[fault.code], [.outOfMemory]].contains(deaf.errors))
        // What is waited for changes: the second watch is there.
        port.pauseProducing()
        port.resumeProducing()
        port.stopListening()
        reactor.shutDown()
        #expect(torsion_failed_watches() == 1)
    }

    @Test(arguments: watchingBackends, shortages)
    func `a stream that cannot be watched is lost, with the reason`(
        name: String, fault: (number: Int32, code: ErrorCode)
    ) throws {
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let user = Witness()
        torsion_fail_watches(fault.number, 0, 1)
        reactor.adopt(try reactor.backend.open(input: ends[0], output: dup(ends[1])), user)
        #expect(reactor.turn { user.loss != nil })
        guard case .failed(let error) = user.loss else {
            Issue.record("\(String(describing: user.loss))")
            return
        }
        #expect([fault.code, .outOfMemory].contains(error.code) && torsion_failed_watches() == 1)
        close(ends[1])
        reactor.shutDown()
    }

    // MARK: Names of sockets

    /// Case P10: `getsockname(2)`.
    @Test(arguments: backendNames)
    func `a socket whose own address the kernel does not tell is no end`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        defer { torsion_fail_names(0) }
        torsion_fail_names(ENOBUFS)
        let error = #expect(throws: IOError.self) {
            try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Witness() }
        }
        #expect(error?.operation == .listen && error?.code == .noBufferSpace)
        torsion_fail_names(0)
        let server = Witness(), client = Witness()
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in server }
        torsion_fail_names(ENOBUFS)
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil && client.transport != nil })
        #expect(client.transport?.localAddress == .unix(.unnamed))
        torsion_fail_names(0)
        reactor.shutDown()
    }

    // MARK: Ports that are closed by whom they tell

    /// Case P9.
    @Test(arguments: watchingBackends)
    func `a port that is closed by who is told of its shortage touches nobody's client`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        defer { torsion_fail_accepts(0, 0) }
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Witness() }
        let served = Witness()
        var waiting: Socket?
        reactor.unhandledError = { _ in
            port.stopListening()
            // Gets the number that has just become free.
            do {
                let other = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in served }
                waiting = try Socket(port: other.localAddress.port!)
            } catch { Issue.record("\(error)") }
        }
        let refused = try Socket(port: port.localAddress.port!)
        torsion_fail_accepts(EMFILE, 1)
        #expect(reactor.turn { served.transport != nil })
        #expect(reactor.statistics.connectionsShed == 1)
        #expect(refused.readToEnd() == "")
        waiting?.close()
        reactor.shutDown()
    }
}

/// How many sockets and rings this process has open: what else comes and goes is of Swift's own threads.
private func openDescriptors() -> Int {
    (0..<1_024).count { number in
        var target = [UInt8](repeating: 0, count: 64)
        let count = target.withUnsafeMutableBytes {
            let start = $0.baseAddress!.assumingMemoryBound(to: CChar.self)
            return readlink("/proc/self/fd/\(number)", start, $0.count)
        }
        let name = String(decoding: target.prefix(max(0, count)), as: UTF8.self)
        return name.hasPrefix("socket:") || name.hasPrefix("anon_inode:[io_uring]")
    }
}
