// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CCallFaults
import Glibc
import Testing
import Torsion

/// Those that call `accept4(2)` themselves; io_uring's completions are in TorsionURingTests.
private let acceptingBackends = BackendChoice.linked.map(\.name)

/// What `accept4(2)` may answer instead of a client: SEMANTICS S15, FAULTS section 3.
@Suite struct AcceptFaultTests {
    /// A port, and clients that come to it.
    private final class Place {
        let reactor: Reactor
        private(set) var reports: [String] = []
        private(set) var servers: [Witness] = []
        private(set) var port: ListeningPort!

        init(_ name: String) throws {
            reactor = try Reactor.turned(by: name)
            reactor.unhandledError = { [unowned self] in reports.append("\($0.error)") }
            port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1").listen(on: reactor) {
                [unowned self] in
                servers.append(Witness())
                return servers.last
            }
        }

        deinit {
            torsion_fail_accepts(0, 0)
            reactor.shutDown()
        }

        func comes() -> Witness {
            let client = Witness()
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .whenFailed { Issue.record("\($0)") }
            return client
        }

        /// Turns for a while, for what must not happen.
        func run(for duration: Duration) {
            var isOver = false
            reactor.callLater(duration) { isOver = true }
            while !isOver { reactor.turn(until: nil) }
        }
    }

    private static let shortages: [(Int32, String)] = [
        (EMFILE, "too many open files (EMFILE)"),
        (ENFILE, "too many open files in system (ENFILE)"),
        (ENOMEM, "cannot allocate memory (ENOMEM)"),
        (ENOBUFS, "no buffer space available (ENOBUFS)"),
    ]

    @Test(arguments: acceptingBackends, shortages)
    func `a shortage is told once, refuses who waits, and passes`(
        name: String, fault: (number: Int32, text: String)
    ) throws {
        let place = try Place(name)
        // The listener's call, the one that would refuse, and the listener's again.
        torsion_fail_accepts(fault.number, 3)
        let refused = place.comes()
        #expect(place.reactor.turn { refused.loss != nil })
        #expect(place.reports == ["cannot accept on \(place.port.localAddress): \(fault.text)"])
        #expect(place.reactor.statistics.connectionsShed == 1 && place.servers.isEmpty)
        let served = place.comes()
        #expect(place.reactor.turn(within: .seconds(2)) { place.servers.count == 1 })
        #expect(served.loss == nil && place.reports.count == 1)
        #expect(torsion_accept_calls() < 10)
    }

    @Test(arguments: acceptingBackends, shortages)
    func `a shortage that stays costs a few calls, ever fewer, and no turn of others`(
        name: String, fault: (number: Int32, text: String)
    ) throws {
        let place = try Place(name)
        torsion_fail_accepts(fault.number, .max)
        let waiting = place.comes()
        let before = place.reactor.statistics.turns
        place.run(for: .milliseconds(200))
        // Rests of 10, 20, 40, 80 and 160 ms, each with a call that accepts and one that refuses.
        #expect(torsion_accept_calls() <= 12, "\(torsion_accept_calls()) calls")
        #expect(place.reactor.statistics.turns - before < 30)
        #expect(place.reports.count == 1)
        torsion_fail_accepts(0, 0)
        #expect(place.reactor.turn(within: .seconds(2)) { place.servers.count == 1 })
        #expect(waiting.loss == nil)
    }

    /// `accept(2)` passes on what is wrong with a client that has gone, and with its network.
    @Test(
        arguments: acceptingBackends,
        [ECONNABORTED, EPROTO, EPERM, EINTR, ENETDOWN, EHOSTUNREACH, ENOPROTOOPT, ETIMEDOUT])
    func `an error of one client is skipped without a word`(name: String, number: Int32) throws {
        let place = try Place(name)
        torsion_fail_accepts(number, 3)
        let client = place.comes()
        #expect(place.reactor.turn { place.servers.count == 1 && client.transport != nil })
        #expect(place.reports.isEmpty && place.reactor.statistics.connectionsShed == 0)
        // Three that failed, the client, and the one that finds nobody else.
        #expect(torsion_accept_calls() == 5)
    }

    @Test(arguments: acceptingBackends, [ECONNABORTED, EPERM])
    func `an error without end is told once, does not spin, and refuses nobody`(
        name: String, number: Int32
    ) throws {
        let place = try Place(name)
        torsion_fail_accepts(number, .max)
        let waiting = place.comes()
        let before = place.reactor.statistics.turns
        place.run(for: .milliseconds(200))
        #expect(place.reactor.statistics.turns - before < 30)
        #expect(place.reports.count == 1)
        torsion_fail_accepts(0, 0)
        #expect(place.reactor.turn(within: .seconds(2)) { place.servers.count == 1 })
        #expect(waiting.loss == nil && place.reactor.statistics.connectionsShed == 0)
    }

    @Test(arguments: acceptingBackends)
    func `a port that closes while it rests stays closed`(name: String) throws {
        let place = try Place(name)
        torsion_fail_accepts(ENFILE, .max)
        _ = place.comes()
        #expect(place.reactor.turn { place.reports.count == 1 })
        place.port.stopListening()
        let calls = torsion_accept_calls()
        place.run(for: .milliseconds(50))
        #expect(torsion_accept_calls() == calls)
        #expect(place.reactor.statistics.listeningPorts == 0)
    }
}
