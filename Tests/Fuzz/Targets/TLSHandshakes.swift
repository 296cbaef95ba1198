// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTLS
import TorsionTesting

/// Bytes to either side of a handshake: instead of the peer's, or over them by exclusive or.
///
/// OpenSSL itself is not instrumented; what is found here is what our side makes of its answers.
@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    let isServer = input.choice & 1 == 0
    if input.choice & 2 == 0 {
        feed(input, isServer: isServer)
    } else {
        disturb(input, isServer: isServer)
    }
    return 0
}

private struct Contexts {
    let server: TLSServerContext
    /// Stops at the client's hello, and goes on with the other.
    let choosing: TLSServerContext
    let client: TLSClientContext

    init() throws {
        let own = try SelfSignedIdentity(names: ["a.test"], now: nil, isEd25519: true)
        var server = TLSServer(own.identity)
        server.applicationProtocols = ["a", "b"]
        server.clientCertificates = .wanted(try .pem(own.certificate))
        let plain = try TLSServerContext(server)
        self.server = plain
        server.choose = { hello, reactor in
            .succeeded(hello.serverName == nil ? nil : plain, on: reactor)
        }
        choosing = try TLSServerContext(server)
        var client = TLSClient()
        client.roots = try .pem(own.certificate)
        client.applicationProtocols = ["b"]
        client.identity = own.identity
        self.client = try TLSClientContext(client)
    }

    static let made: Contexts = {
        do { return try Contexts() } catch { fatalError("\(error)") }
    }()
}

/// Notes what a connection delivered, and that it ended once.
private final class Witness: StreamProtocol {
    var text = ""
    var isMade = false
    var lossCount = 0

    func connectionMade(_ transport: any StreamTransport) {
        expect(!isMade && lossCount == 0, "made twice")
        isMade = true
        transport.write("from here")
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        expect(lossCount == 0, "data behind the end")
        text += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        lossCount += 1
        expect(lossCount == 1, "lost twice")
    }
}

private func end(
    _ witness: Witness, isServer: Bool, chooses: Bool, _ clock: ManualClock
) -> MemoryTransport {
    let contexts = Contexts.made
    clock.reactor.unhandledError = { _ in }
    return MemoryTransport(
        witness, clock: clock,
        layers: StreamLayers().filtered {
            if isServer { return TLSFilter(chooses ? contexts.choosing : contexts.server) }
            // It is a valid name.
            return try! TLSFilter(contexts.client, serverName: "a.test")
        })
}

private func finish(_ ends: [MemoryTransport], _ clock: ManualClock) {
    for end in ends where end.isOpen { end.peerCloses() }
    clock.turn()
    clock.reactor.checkInvariants()
    for end in ends where end.isOpen { end.peerResets() }
    // The deadlines of those that were closed behind an alert.
    clock.advance(by: .seconds(30))
    let figures = clock.reactor.statistics
    expect(figures.queuedBytes == 0, "\(figures.queuedBytes) bytes are left")
    clock.reactor.shutDown()
    expect(clock.reactor.statistics.openConnections == 0, "a connection is left")
}

/// Only the fuzzer's bytes.
private func feed(_ input: FuzzInput, isServer: Bool) {
    let witness = Witness(), clock = ManualClock()
    let end = end(witness, isServer: isServer, chooses: input.choice & 4 != 0, clock)
    for piece in input.pieces where end.isOpen {
        end.receive(Bytes(Array(piece)))
        clock.turn()
        clock.reactor.checkInvariants()
        expect(end.takeBytes().count < 1 << 17, "much is sent to a stranger")
    }
    // Without keys nobody can finish a handshake.
    expect(!witness.isMade && witness.text.isEmpty, "a stranger is connected")
    finish([end], clock)
}

/// A handshake of both sides, with the fuzzer's bytes over those that one of them is sent.
private func disturb(_ input: FuzzInput, isServer: Bool) {
    let far = Witness(), near = Witness(), clock = ManualClock()
    let victim = end(near, isServer: isServer, chooses: input.choice & 4 != 0, clock)
    let peer = end(far, isServer: !isServer, chooses: false, clock)
    var at = 0, isDisturbed = false
    for _ in 0..<8 {
        var sent = [UInt8](peer.takeBytes())
        for index in sent.indices where at + index < input.stream.count {
            let mask = input.stream[at + index]
            sent[index] ^= mask
            if mask != 0 { isDisturbed = true }
        }
        at += sent.count
        if !sent.isEmpty, victim.isOpen { victim.receive(Bytes(sent)) }
        clock.turn()
        let answer = victim.takeBytes()
        if !answer.isEmpty, peer.isOpen { peer.receive(answer) }
        clock.turn()
        clock.reactor.checkInvariants()
    }
    expect("from here".hasPrefix(near.text), "wrong bytes: \(near.text)")
    expect("from here".hasPrefix(far.text), "wrong bytes: \(far.text)")
    if !isDisturbed { expect(near.text == "from here" && far.text == near.text, "not all came") }
    finish([victim, peer], clock)
}
