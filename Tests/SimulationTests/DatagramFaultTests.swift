// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

@Suite
struct DatagramFaultTests {
    /// Sends 0 to 99 from one host to another.
    private func arrivals(_ faults: FaultRates, seed: UInt64 = 5) throws -> [Int] {
        let world = SimulatedWorld(seed: seed, faults: faults)
        let box = Box()
        try world.host("server").run { reactor in
            try reactor.listenForDatagrams(on: .ipv4(.any, port: 53), box)
        }
        let address = SocketAddress.ipv4(world.host("server").address, port: 53)
        try world.host("client").run { reactor in
            let port = try reactor.listenForDatagrams(on: .ipv4(.any, port: 0), Box())
            for number in 0..<100 { try port.write("\(number)", to: address) }
        }
        try world.run(for: .seconds(2))
        try world.finish()
        return box.texts.compactMap { Int($0) }
    }

    @Test func `without faults all arrive in order`() throws {
        #expect(try arrivals(.none) == Array(0..<100))
        #expect(try arrivals(.gentle) == Array(0..<100))
    }

    @Test func `some are lost, and the others keep their order`() throws {
        let found = try arrivals([.lose: 3_000])
        #expect((40...90).contains(found.count))
        #expect(found == found.sorted())
    }

    @Test func `some arrive twice`() throws {
        let found = try arrivals([.duplicate: 3_000])
        #expect(found.count > 110 && Set(found) == Set(0..<100))
    }

    @Test func `some arrive after later ones`() throws {
        let found = try arrivals([.reorder: 3_000])
        #expect(found != found.sorted() && found.sorted() == Array(0..<100))
    }

    @Test func `the same seed loses the same ones`() throws {
        let faults: FaultRates = [.lose: 2_000, .duplicate: 1_000, .reorder: 1_000]
        #expect(try arrivals(faults) == arrivals(faults))
        #expect(try arrivals(faults) != arrivals(faults, seed: 6))
    }
}
