// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
// `UDPPing udp:9000` answers; `UDPPing 'udp:0:peer=127.0.0.1\:9000'` asks three times.
final class Answerer: DatagramProtocol {
    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws { try transport.write(bytes, to: address) }
}

final class Pinger: DatagramProtocol {
    var sent = 0, answered = 0, timeout: DelayedCall?
    func transportStarted(_ transport: any DatagramTransport) throws { try ping(on: transport) }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        // One that comes too late answers an earlier ping.
        guard bytes == "ping \(sent)", timeout?.cancel() == true else { return }
        answered += 1
        try ping(on: transport)
    }

    func ping(on transport: any DatagramTransport) throws {
        guard sent < 3 else {
            print("\(answered) of 3 answered")
            transport.reactor.stop()
            return
        }
        sent += 1
        try transport.write("ping \(sent)")
        timeout = transport.reactor.callLater(.milliseconds(200)) { try self.ping(on: transport) }
    }
}

Reactor.main { reactor in
    let endpoint = try DatagramEndpoint(parsing: CommandLine.arguments.last!)
    let asks = endpoint.options.peerAddress != nil
    try endpoint.listen(on: reactor) { asks ? Pinger() as any DatagramProtocol : Answerer() }
}
