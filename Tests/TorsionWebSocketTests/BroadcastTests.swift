// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting
@testable import TorsionWebSocket

@Suite struct BroadcastTests {
    private final class Producer: PushProducer {
        var log: [String] = []
        func pauseProducing() { log.append("pause") }
        func resumeProducing() { log.append("resume") }
        func stopProducing() { log.append("stop") }
    }

    private func members(_ rooms: [Int], _ clock: ManualClock) -> [(Recorder, Client)] {
        rooms.map { room in
            let recorder = Recorder()
            return (recorder, Client(recorder, roomBytes: room, clock: clock))
        }
    }

    private func finish(_ members: [(Recorder, Client)]) {
        for (_, client) in members where client.memory.isOpen { client.memory.peerResets() }
        for (_, client) in members { client.finish() }
    }

    @Test func `H-74: a broadcast is encoded once, and all that wait share its bytes`() {
        let message = EncodedMessage(Bytes(repeating: 7, count: 50_000).span, .binary)
        #expect(message.byteCount == 50_004)
        let address = message.frame(for: nil).withUnsafeBytes { $0.baseAddress }
        // What a socket queues is the frame itself: a slice of it lies where it does.
        let slice = message.frame(for: nil)[4...]
        #expect(slice.withUnsafeBytes { $0.baseAddress } == address.map { $0 + 4 })
        let clock = ManualClock()
        let members = members([.max, 1_000, 1_000], clock)
        let room = WebSocketBroadcast()
        for (recorder, _) in members { recorder.socket.map(room.add) }
        #expect(room.count == 3)
        room.send(message)
        clock.advance(by: .zero)
        #expect(members[0].1.frames() == ["binary \(Bytes(repeating: 7, count: 50_000))"])
        for (_, client) in members.dropFirst() {
            client.memory.drain()
            clock.advance(by: .zero)
            #expect(client.frames().count == 1)
        }
        finish(members)
        #expect(room.count == 0)
        room.checkInvariants()
    }

    @Test func `H-74: a slow reader pauses the producer, until it has room or goes`() {
        let clock = ManualClock()
        let members = members([.max, 1_000, 1_000], clock)
        let room = WebSocketBroadcast(slowReaders: .pauseProducer)
        let producer = Producer()
        room.registerProducer(producer)
        for (recorder, _) in members { recorder.socket.map(room.add) }
        let message = EncodedMessage(Bytes(repeating: 7, count: 70_000).span, .binary)
        room.send(message, except: members[2].0.socket)
        clock.advance(by: .zero)
        #expect(producer.log == ["pause"] && room.isFull)
        members[1].1.memory.drain()
        clock.advance(by: .zero)
        #expect(producer.log == ["pause", "resume"] && !room.isFull)
        room.send(message)
        clock.advance(by: .zero)
        #expect(producer.log == ["pause", "resume", "pause"])
        members[2].1.memory.peerResets()
        #expect(producer.log == ["pause", "resume", "pause", "resume"] && room.count == 2)
        room.checkInvariants()
        // One that leaves is waited for no more either.
        members[1].0.socket.map(room.remove)
        #expect(room.count == 1)
        finish(members)
        #expect(room.count == 0 && !room.isFull)
    }

    @Test func `H-74: by option, a slow reader is dropped past a limit, and nobody waits`() {
        let clock = ManualClock()
        let members = members([.max, 1_000], clock)
        let room = WebSocketBroadcast(slowReaders: .drop(aboveBytes: 100_000))
        let producer = Producer()
        room.registerProducer(producer)
        for (recorder, _) in members { recorder.socket.map(room.add) }
        var most = 0
        for _ in 0..<5 {
            room.send(EncodedMessage(Bytes(repeating: 7, count: 70_000).span, .binary))
            clock.advance(by: .zero)
            most = max(most, members[1].0.socket?.pendingByteCount ?? 0)
        }
        #expect(members[0].1.frames().count == 5)
        #expect(members[1].0.losses.count == 1 && room.count == 1)
        #expect(most < 180_000 && producer.log == [])
        guard case .protocolFailed(let error)? = members[1].0.losses.first?.cause,
            error as? ReaderTooSlow == ReaderTooSlow(limitBytes: 100_000)
        else {
            Issue.record("\(members[1].0.losses)")
            return
        }
        finish(members)
    }
}
