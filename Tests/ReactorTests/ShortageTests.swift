// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestedBackends
import Testing
import Torsion

/// Descriptors running out: FAULTS section 3, SEMANTICS S15.
///
/// In a process of its own, since the
/// limit is one of the process.
@Suite struct ShortageTests {
    @Test(arguments: BackendChoice.tested.indices)
    func `a server out of descriptors neither spins nor freezes, and recovers`(index: Int) async {
        // An exit test captures nothing, so that each backend has its own.
        switch index {
        case 0: await #expect(processExitsWith: .success) { try survive(.tested[0]) }
        case 1: await #expect(processExitsWith: .success) { try survive(.tested[1]) }
        default: await #expect(processExitsWith: .success) { try survive(.tested[2]) }
        }
    }
}

private final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

private final class Client: StreamProtocol {
    var answers = 0
    var transport: (any StreamTransport)?
    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) { answers += 1 }
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
    }
}

private func setLimit(_ count: rlim_t) {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = count
    precondition(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
}

private func cpuMilliseconds() -> Int {
    var usage = rusage()
    getrusage(RUSAGE_SELF.rawValue, &usage)
    let times = [usage.ru_utime, usage.ru_stime]
    return times.reduce(0) { $0 + Int($1.tv_sec) * 1_000 + Int($1.tv_usec) / 1_000 }
}

private func survive(_ backend: BackendChoice) throws {
    let reactor = Reactor(backend: backend)
    var reports = 0
    reactor.unhandledError = { _ in reports += 1 }
    try reactor.start()
    // Before the port is there: a ring takes the limit that held when it was asked to accept.
    let numbers = (0..<8).map { _ in open("/dev/null", O_RDONLY) }
    setLimit(rlim_t(numbers.max()! + 1))
    for number in numbers { close(number) }
    let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Echo() }
    let first = Client()
    let endpoint = ClientEndpoint.address(port.localAddress)
    func run(_ limit: Duration, until condition: () -> Bool) {
        let end = reactor.now.advanced(by: limit)
        while !condition() {
            precondition(reactor.now < end, "not in time")
            reactor.turn(until: end)
        }
    }
    endpoint.connect(on: reactor) { first }.whenFailed { _ in }
    run(.seconds(5)) { reactor.statistics.openConnections == 2 }

    // All that are left, however many: another thread of the test program may have taken or closed
    // one since the limit was set.
    var waiting: [Int32] = []
    while true {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { break }
        waiting.append(descriptor)
    }
    precondition(waiting.count >= 3, "\(waiting.count) descriptors are too few")
    for descriptor in waiting {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.localAddress.port!.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, size)
            }
        }
        precondition(code == 0, "connect: \(errno)")
    }
    let before = cpuMilliseconds()
    // Timers are on time, the old connection is served, and nothing spins.
    var ticks = 0
    func tick() {
        reactor.callLater(.milliseconds(50)) {
            ticks += 1
            first.transport?.write("x")
            if ticks < 12 { tick() }
        }
    }
    tick()
    run(.seconds(3)) { ticks == 12 && first.answers > 5 }
    precondition(cpuMilliseconds() - before < 300, "it spins")
    precondition(reports == 1, "\(reports) reports")
    // Another thread of the test program may close a descriptor meanwhile: then one gets in.
    let figures = reactor.statistics
    precondition(
        Int(figures.connectionsShed) + figures.openConnections - 2 == waiting.count, "\(figures)")
    precondition(Int(figures.connectionsShed) >= waiting.count - 2, "\(figures)")

    // Recovery within two seconds.
    setLimit(256)
    let late = Client()
    endpoint.connect(on: reactor) { late }.whenFailed { _ in }
    run(.seconds(2)) { reactor.statistics.openConnections == figures.openConnections + 2 }
    for descriptor in waiting { close(descriptor) }
    port.stopListening()
    reactor.shutDown()
    exit(0)
}
