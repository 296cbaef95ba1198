// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

private final class Echo: HalfCloseableProtocol {
    var transport: (any StreamTransport)?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }

    func readConnectionLost(from transport: any StreamTransport) {}
    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
    }
}

@Suite struct TrafficLogTests {
    @Test func `a dump shows offset, bytes and letters`() {
        var lines: [String] = []
        let peer = MemoryTransport(Echo(), layers: .observer(TrafficLog { lines.append($0) }))
        peer.receive("hello\r\n0123456789abc")
        let id = peer.transport.id
        #expect(
            lines[1] == """
                \(id) < 20 bytes
                00000000  68 65 6c 6c 6f 0d 0a 30 31 32 33 34 35 36 37 38  |hello..012345678|
                00000010  39 61 62 63                                      |9abc|
                """)
    }

    @Test func `a dump of every byte, of a full row, and of both ways of writing`() {
        var lines: [String] = []
        let proto = Echo()
        let peer = MemoryTransport(proto, layers: .observer(TrafficLog { lines.append($0) }))
        let id = peer.transport.id
        proto.transport?.write((0...255).map { UInt8($0) })
        proto.transport?.write(Bytes("0123456789abcdef"))
        peer.clock.turn()
        peer.peerCloses()
        proto.transport?.loseConnection()
        peer.clock.turn()
        let rows = lines[1].split(separator: "\n")
        #expect(rows.count == 17 && rows[0] == "\(id) > 256 bytes")
        #expect(
            rows[3]
                == "00000020  20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f  | !\"#$%&'()*+,-./|")
        #expect(
            rows[8]
                == "00000070  70 71 72 73 74 75 76 77 78 79 7a 7b 7c 7d 7e 7f  |pqrstuvwxyz{|}~.|")
        #expect(
            rows[16]
                == "000000f0  f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff  |................|")
        #expect(
            lines[2] == """
                \(id) > 16 bytes
                00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|
                """)
        #expect(lines[0].hasPrefix("\(id) made: 127.0.0.1:80 to 127.0.0.1:40000"))
        #expect(lines[3...] == ["\(id) < end", "\(id) lost: closed here"])
    }
}
