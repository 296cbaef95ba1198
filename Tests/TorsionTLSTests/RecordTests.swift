// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import CTestCertificates
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

private let versions: [TLSVersion] = [.v12, .v13]

/// All that arrived at one end, cut as the wire cut it.
private final class Tape {
    var bytes = Bytes()

    func record(_ piece: Bytes) -> [Bytes] {
        bytes = bytes + piece
        return [piece]
    }
}

/// Two ends that have shaken hands, and a tape of what the client sends from now on.
private func connected(
    client: Note = Note(), server: Note = Note(), _ version: TLSVersion = .v13
) throws -> (wire: Wire, tape: Tape) {
    let wire = try Wire(client: client, server: server, version)
    wire.carry()
    #expect(client.transport != nil && server.transport != nil)
    let tape = Tape()
    wire.toServer = tape.record
    return (wire, tape)
}

@Suite struct RecordTests {
    @Test(arguments: versions)
    func `TLS-5: what one event writes is one record`(version: TLSVersion) throws {
        let (wire, tape) = try connected(version)
        let transport = try #require(wire.client.transport)
        wire.clock.reactor.callLater(.zero) {
            for _ in 0..<16 { transport.write(String(repeating: "x", count: 64)) }
        }
        wire.carry()
        #expect(records(tape.bytes).map(\.type) == [23])
        #expect(wire.server.byteCount == 1024)
    }

    @Test(arguments: versions)
    func `TLS-6: no record holds more than 16 KiB`(version: TLSVersion) throws {
        let (wire, tape) = try connected(version)
        wire.server.recordsText = false
        var bytes = [UInt8].pattern(count: 100_000)
        wire.client.transport?.write(Bytes(bytes))
        wire.carry()
        let found = records(tape.bytes)
        #expect(found.allSatisfy { $0.type == 23 && $0.byteCount <= 16_384 + 256 })
        #expect(wire.server.byteCount == 100_000)
        // The first 64 KiB fit segments: 48 records of 1,369 bytes at most. Then 16 KiB each.
        let small = found.prefix { $0.byteCount <= 1_369 + 24 }.count
        #expect(small == 48 && found.count == 48 + 3)
        // Behind a second's rest it begins again.
        tape.bytes = Bytes()
        wire.clock.advance(by: .seconds(1))
        wire.client.transport?.write(Bytes(bytes[..<20_000]))
        wire.carry()
        #expect(records(tape.bytes).count == 15 && wire.server.byteCount == 120_000)
        bytes += bytes[..<20_000]
        var hash = StreamHash()
        hash.add(bytes.span.bytes)
        #expect(wire.server.hash == hash)
    }

    @Test(arguments: versions)
    func `TLS-7: a close sends its bytes, close_notify, and the end`(version: TLSVersion) throws {
        let (wire, tape) = try connected(version)
        wire.client.transport?.write("last words")
        wire.client.transport?.loseConnection()
        wire.carry()
        // In TLS 1.3 an alert looks like data.
        #expect(records(tape.bytes).map(\.type) == (version == .v13 ? [23, 23] : [23, 21]))
        #expect(wire.server.events == ["made", "<last words", "lost"])
        #expect(wire.server.loss == .closedByPeer && wire.client.loss == .closedLocally)
        #expect(wire.serverEnd.hasEnded && !wire.serverEnd.wasReset)
    }

    @Test(arguments: versions)
    func `TLS-8: close_notify ends the connection also if no FIN follows`(
        version: TLSVersion
    ) throws {
        let (wire, tape) = try connected(version)
        wire.client.transport?.loseConnection()
        // Outside of `carry`, so that no end is carried.
        let bytes = wire.clientEnd.takeBytes()
        #expect(!bytes.isEmpty && tape.bytes.isEmpty)
        wire.serverEnd.receive(bytes)
        wire.clock.turn()
        #expect(wire.server.loss == .closedByPeer)
        #expect(wire.serverEnd.hasEnded)
    }

    @Test(arguments: versions)
    func `TLS-9: an end without close_notify is a loss behind the data`(
        version: TLSVersion
    ) throws {
        let (wire, _) = try connected(version)
        wire.client.transport?.write("data")
        wire.carry()
        wire.serverEnd.peerCloses()
        wire.clock.turn()
        #expect(wire.server.events == ["made", "<data", "lost"])
        #expect(wire.server.loss == .truncated)
        #expect(wire.server.loss?.isClean == false)
    }

    @Test func `TLS-9: a paused reader has the data first`() throws {
        let (wire, _) = try connected()
        wire.server.transport?.pauseProducing()
        wire.client.transport?.write("data")
        let bytes = wire.clientEnd.takeBytes()
        wire.serverEnd.receive(bytes)
        wire.serverEnd.peerCloses()
        wire.clock.turn()
        #expect(wire.server.events == ["made"])
        wire.server.transport?.resumeProducing()
        wire.clock.turn()
        wire.clock.turn()
        #expect(wire.server.events == ["made", "<data", "lost"])
        #expect(wire.server.loss == .truncated)
    }

    @Test func `TLS-9: a configuration may take such an end for one`() throws {
        var server = try serverConfiguration()
        server.truncation = .isEnd
        let context = try TLSServerContext(server)
        let peer = try #require(test_peer_new(0x0304))
        defer { test_peer_free(peer) }
        let note = Note()
        let end = MemoryTransport(
            note, layers: StreamLayers().filtered { TLSFilter(context) })
        exchange(peer, end)
        end.peerCloses()
        end.clock.turn()
        #expect(note.loss == .closedByPeer)
    }

    @Test func `TLS-10: bytes behind close_notify are dropped`() throws {
        let (wire, _) = try connected(server: HalfNote())
        wire.client.transport?.write("bye")
        wire.client.transport?.loseConnection()
        let last = wire.clientEnd.takeBytes()
        // Without the FIN, which `carry` would bring.
        wire.serverEnd.receive(last + Bytes(Array(repeating: 0x17, count: 64)))
        wire.serverEnd.receive(Bytes(Array(repeating: 0x17, count: 64)))
        wire.clock.turn()
        #expect(wire.server.events == ["made", "<bye", "end"])
        wire.server.transport?.write("still here")
        wire.clock.turn()
        #expect(!wire.serverEnd.takeBytes().isEmpty)
    }

    @Test(arguments: versions)
    func `TLS-11: one direction is ended, the other goes on`(version: TLSVersion) throws {
        let (wire, _) = try connected(client: HalfNote(), server: HalfNote(), version)
        wire.client.transport?.write("question")
        wire.client.transport?.loseWriteConnection()
        wire.carry()
        #expect(wire.server.events == ["made", "<question", "end"])
        wire.server.transport?.write("answer")
        wire.carry()
        wire.server.transport?.write(", all of it")
        wire.server.transport?.loseConnection()
        wire.carry()
        #expect(wire.client.text == "answer, all of it")
        #expect(wire.client.loss?.isClean == true && wire.server.loss?.isClean == true)
    }

    @Test func `TLS-13: what comes behind a pause comes in order when the reader goes on`() throws {
        let (wire, _) = try connected()
        wire.server.whenRead = { _, transport in transport.pauseProducing() }
        // Three records in one read.
        for word in ["one", "two", "three"] {
            wire.client.transport?.write(word)
            wire.clock.turn()
        }
        wire.carry()
        #expect(wire.server.text == "one")
        // What is not opened is held as it came, and counts.
        let held = wire.clock.reactor.statistics.queuedBytes
        #expect(held == Int64(3 + 5 + 2 * 22))
        for expected in ["onetwo", "onetwothree"] {
            wire.server.transport?.resumeProducing()
            wire.carry()
            if wire.server.text == "onetwothree" { break }
            #expect(wire.server.text == expected)
        }
        #expect(wire.server.text == "onetwothree")
    }

    @Test func `a connection that is aborted inside of a delivery delivers nothing more`() throws {
        let (wire, _) = try connected()
        wire.server.whenRead = { _, transport in transport.abortConnection() }
        for word in ["one", "two"] {
            wire.client.transport?.write(word)
            wire.clock.turn()
        }
        wire.carry()
        #expect(wire.server.events == ["made", "<one", "lost"])
        #expect(wire.server.loss == .aborted)
    }

    @Test func `a connection that is aborted as it is made is over`() throws {
        let wire = try Wire()
        wire.client.whenMade = { $0.write("early") }
        wire.server.whenMade = { $0.abortConnection() }
        wire.carry()
        #expect(wire.server.events == ["made", "lost"])
    }
}

/// Carries bytes between a stranger and a connection in memory until nothing moves.
///
/// Returns what the connection sent.
@discardableResult
private func exchange(_ peer: OpaquePointer, _ end: MemoryTransport) -> Bytes {
    var sent = Bytes()
    var buffer = [UInt8](repeating: 0, count: 65_536)
    for _ in 0..<8 {
        let count = test_peer_take(peer, &buffer, buffer.count)
        if count > 0 { end.receive(Bytes(Array(buffer[..<count]))) }
        end.clock.turn()
        let answer = end.takeBytes()
        sent = sent + answer
        _ = answer.withUnsafeBytes { test_peer_receive(peer, $0.baseAddress, $0.count) }
    }
    return sent
}

@Suite struct StrangerTests {
    private func server(
        _ note: Note, _ version: Int32
    ) throws -> (peer: OpaquePointer, end: MemoryTransport) {
        let context = try TLSServerContext(serverConfiguration())
        let peer = try #require(test_peer_new(version))
        let end = MemoryTransport(note, layers: StreamLayers().filtered { TLSFilter(context) })
        exchange(peer, end)
        #expect(test_peer_is_connected(peer) == 1 && note.transport != nil)
        return (peer, end)
    }

    @Test func `TLS-15: new keys that are asked for come without a write of the program`() throws {
        let note = Note()
        let (peer, end) = try server(note, 0x0304)
        defer { test_peer_free(peer) }
        #expect(test_peer_update_keys(peer, 1) == 1)
        exchange(peer, end)
        #expect(test_peer_seen_key_updates(peer) == 1)
        _ = test_peer_write(peer, "behind new keys")
        exchange(peer, end)
        #expect(note.text == "behind new keys")
        note.transport?.abortConnection()
        end.clock.turn()
    }

    @Test(arguments: [0, 1] as [Int32])
    func `TLS-16: a flood of new keys ends the connection`(asks: Int32) throws {
        let note = Note()
        let (peer, end) = try server(note, 0x0304)
        defer { test_peer_free(peer) }
        var count = 0
        while note.loss == nil, count < 1_000 {
            _ = test_peer_update_keys(peer, asks)
            exchange(peer, end)
            count += 1
        }
        #expect(count == 101)
        guard case .protocolFailed(let error)? = note.loss else {
            Issue.record("\(note.loss as Any)")
            return
        }
        #expect((error as? TLSError)?.cause == .tooManyMessages)
    }

    @Test func `TLS-16: a hundred new keys a second are fine`() throws {
        let note = Note()
        let (peer, end) = try server(note, 0x0304)
        defer { test_peer_free(peer) }
        for _ in 0..<5 {
            for _ in 0..<100 { _ = test_peer_update_keys(peer, 0) }
            exchange(peer, end)
            end.clock.advance(by: .seconds(2))
        }
        _ = test_peer_write(peer, "fine")
        exchange(peer, end)
        #expect(note.text == "fine" && note.loss == nil)
        note.transport?.abortConnection()
        end.clock.turn()
    }

    @Test func `TLS-17: a second handshake is refused, and the connection is not disturbed`() throws
    {
        let note = Note()
        let (peer, end) = try server(note, 0x0303)
        defer { test_peer_free(peer) }
        #expect(test_peer_renegotiate(peer) == 1)
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = test_peer_take(peer, &buffer, buffer.count)
        // The answer is kept from the peer, which would end the connection itself.
        end.receive(Bytes(Array(buffer[..<count])))
        end.clock.turn()
        let answer = end.takeBytes()
        // A warning, and no handshake message.
        #expect(records(answer).allSatisfy { $0.type == 21 } && !answer.isEmpty)
        #expect(note.events == ["made"])
        note.transport?.abortConnection()
        end.clock.turn()
    }
}

@Suite struct DamageTests {
    /// Every place, or each seventh.
    private func places(_ count: Int) -> StrideTo<Int> {
        stride(from: 0, to: count, by: TestScope.isWhole ? 1 : 7)
    }

    /// A whole connection: a handshake, data both ways, a close.
    private func run(
        _ version: TLSVersion, toServer: @escaping (Bytes) -> [Bytes] = { [$0] },
        toClient: @escaping (Bytes) -> [Bytes] = { [$0] }
    ) throws -> Wire {
        let wire = try Wire(version)
        wire.toServer = toServer
        wire.toClient = toClient
        wire.clock.reactor.unhandledError = { Issue.record("\($0)") }
        wire.client.whenMade = { $0.write("question") }
        wire.server.whenRead = { piece, transport in
            transport.write("answer")
            transport.loseConnection()
        }
        wire.carry()
        return wire
    }

    private func sizes(_ version: TLSVersion) throws -> (toServer: Int, toClient: Int) {
        var up = 0, down = 0
        let wire = try run(
            version,
            toServer: {
                up += $0.count
                return [$0]
            },
            toClient: {
                down += $0.count
                return [$0]
            })
        #expect(wire.server.text == "question" && wire.client.text == "answer")
        #expect(wire.client.loss == .closedByPeer && wire.server.loss == .closedLocally)
        return (up, down)
    }

    @Test(arguments: versions)
    func `single bytes are enough`(version: TLSVersion) throws {
        let cut: (Bytes) -> [Bytes] = { bytes in bytes.map { Bytes([$0]) } }
        let wire = try run(version, toServer: cut, toClient: cut)
        #expect(wire.server.text == "question" && wire.client.text == "answer")
        #expect(wire.client.loss == .closedByPeer && wire.server.loss == .closedLocally)
    }

    /// What is left of the connection after damage is less than the whole, and never something else.
    private func expectNothingWrong(_ wire: Wire, _ what: String) {
        #expect("question".hasPrefix(wire.server.text), "\(what)")
        #expect("answer".hasPrefix(wire.client.text), "\(what)")
        let isWhole = wire.server.text == "question" && wire.client.text == "answer"
        let isClean = wire.client.loss == .closedByPeer && wire.server.loss == .closedLocally
        #expect(isWhole || !isClean, "\(what)")
    }

    @Test(arguments: versions)
    func `TLS-20: a byte that is changed on its way is an error, and never data`(
        version: TLSVersion
    ) throws {
        let (up, down) = try sizes(version)
        for isUp in [true, false] {
            for at in places(isUp ? up : down) {
                var seen = 0
                let flip: (Bytes) -> [Bytes] = { bytes in
                    defer { seen += bytes.count }
                    guard (seen..<(seen + bytes.count)).contains(at) else { return [bytes] }
                    var changed = [UInt8](bytes)
                    changed[at - seen] ^= 1 << (at % 8)
                    return [Bytes(changed)]
                }
                let wire =
                    isUp ? try run(version, toServer: flip) : try run(version, toClient: flip)
                expectNothingWrong(wire, "\(version) up \(isUp) at \(at)")
            }
        }
    }

    @Test(arguments: versions)
    func `a connection that breaks off anywhere is no clean end`(version: TLSVersion) throws {
        let (up, down) = try sizes(version)
        for isUp in [true, false] {
            for length in places(isUp ? up : down) {
                var seen = 0
                let cut: (Bytes) -> [Bytes] = { bytes in
                    defer { seen += bytes.count }
                    return [bytes[..<max(0, min(bytes.count, length - seen))]]
                }
                let wire = isUp ? try run(version, toServer: cut) : try run(version, toClient: cut)
                wire.serverEnd.peerCloses()
                wire.clientEnd.peerCloses()
                wire.clock.turn()
                let what = "\(version) up \(isUp) at \(length)"
                #expect("question".hasPrefix(wire.server.text), "\(what)")
                #expect(
                    wire.client.loss != .closedByPeer || wire.client.text == "answer", "\(what)")
            }
        }
    }

    @Test(arguments: versions)
    func `garbage instead of any part is an error`(version: TLSVersion) throws {
        let (up, down) = try sizes(version)
        var dice = SeededGenerator(seed: 18)
        for isUp in [true, false] {
            for at in places(isUp ? up : down) {
                var seen = 0
                let garble: (Bytes) -> [Bytes] = { bytes in
                    defer { seen += bytes.count }
                    let changed = bytes.enumerated().map { index, byte in
                        seen + index < at ? byte : UInt8(truncatingIfNeeded: dice.next())
                    }
                    return [Bytes(changed)]
                }
                let wire =
                    isUp ? try run(version, toServer: garble) : try run(version, toClient: garble)
                expectNothingWrong(wire, "\(version) up \(isUp) at \(at)")
            }
        }
    }
}

#endif
