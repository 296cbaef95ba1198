// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore

// The model of a random user's connection: what was accepted must arrive, in order, once, and no
// end may look clean that is not. It knows only what the documentation promises, never what the
// engine holds.

/// The bytes that one end sends to the other.
///
/// Each byte follows from its position, so that one that is lost, doubled or in another's place is
/// noticed when it is read.
final class Flow {
    private let seed: UInt64
    /// Bytes that were written while the transport took writes.
    private(set) var acceptedCount = 0
    /// Of those, what has to be there when the end arrives; nil for all.
    ///
    /// Behind the receiver's own end the sender may have stopped without a word to its program.
    private(set) var certainCount: Int?
    /// Bytes that have arrived and were used.
    private(set) var usedCount = 0

    init(seed: UInt64) { self.seed = seed }

    /// The bytes at these positions.
    private func bytes(_ positions: Range<Int>) -> [UInt8] {
        // By pointer, since a debug build makes a hundred million of them.
        unsafe [UInt8](unsafeUninitializedCapacity: positions.count) { room, count in
            var mixed = (UInt64(positions.lowerBound) &+ seed) &* 0x9e37_79b9_7f4a_7c15
            while count < positions.count {
                unsafe room[count] = UInt8(truncatingIfNeeded: mixed >> 40)
                mixed &+= 0x9e37_79b9_7f4a_7c15
                count &+= 1
            }
        }
    }

    /// The next bytes to write, which count as accepted.
    func accept(_ count: Int) -> [UInt8] {
        defer { acceptedCount += count }
        return bytes(acceptedCount..<(acceptedCount + count))
    }

    /// Uses what arrived, and says what is wrong with it.
    func use(_ bytes: RawSpan) -> String? {
        let expected = self.bytes(usedCount..<(usedCount + bytes.byteCount))
        if bytes != expected {
            let wrong = expected.indices.first { bytes[$0] != expected[$0] } ?? 0
            return "byte \(usedCount + wrong) is not the one that was written there"
        }
        usedCount += bytes.byteCount
        if usedCount > acceptedCount { return "\(usedCount) bytes arrived of \(acceptedCount)" }
        return nil
    }

    /// Takes back what was used last, to be read again.
    func takeBack(_ count: Int) -> [UInt8] {
        usedCount -= count
        return bytes(usedCount..<(usedCount + count))
    }

    /// From here on the sender may be stopped.
    func receiverEnded() { certainCount = certainCount ?? acceptedCount }

    /// What is wrong with an end that has arrived here.
    func end() -> String? {
        let least = certainCount ?? acceptedCount
        return usedCount < least ? "an end after \(usedCount) bytes of \(least)" : nil
    }
}

/// One connection.
final class Link {
    let number: Int
    let client: Side
    let server: Side
    /// Something happened that a right program may lose this connection by.
    var mayBreak = false

    init(number: Int, seed: UInt64) {
        self.number = number
        let there = Flow(seed: seed)
        let back = Flow(seed: ~seed)
        client = Side("client \(number)", sends: there, receives: back)
        server = Side("server \(number)", sends: back, receives: there)
        client.link = self
        server.link = self
        client.other = server
        server.other = client
    }

    var sides: [Side] { [client, server] }
}

/// One end of a connection, whichever protocols stand above it.
final class Side {
    enum Life { case unmade, open, lost }

    let name: String
    let sends: Flow
    let receives: Flow
    unowned var link: Link!
    unowned var other: Side!

    var life = Life.unmade
    /// The program's reference, which it may drop.
    var transport: (any StreamTransport)?
    /// What the engine still has.
    weak var keeper: (any StreamTransport)?
    /// The protocol that is called now.
    weak var current: Actor?
    /// The highest high watermark that was set.
    var highestMark = 0
    /// What was registered last and has neither been stopped nor unregistered.
    var producer: AnyObject?
    var hasLostWriting = false
    var isClosing = false
    var hasAborted = false
    var isPaused = false
    /// A successor waits for the present callback to return.
    var awaitsSwitch = false
    var hasReadEnded = false
    /// Bytes were given back and have not been delivered again: what is given back then would stand
    /// behind them.
    var hasGivenBack = false
    /// Whether each protocol that stood here stays half open.
    var keepsHalfOpen = true

    init(_ name: String, sends: Flow, receives: Flow) {
        self.name = name
        self.sends = sends
        self.receives = receives
    }

    /// Whether a write is taken, for all that its program can know.
    var acceptsWrites: Bool {
        guard life == .open, !hasAborted else { return false }
        return !isClosing && !hasLostWriting || producer != nil
    }

    /// Whether more may arrive.
    var reads: Bool { life == .open && !isClosing && !hasAborted }

    /// Whether bytes that were used may be given back: what is given back to a transport that has
    /// ended is dropped.
    var mayTakeBack: Bool { reads && !other.hasEnded && !hasGivenBack }

    private var hasEnded: Bool { isClosing || hasLostWriting || hasAborted || life == .lost }

    /// Bytes for a write: the next of the flow if it is accepted, else ones that must not arrive.
    func bytesToWrite(_ count: Int) -> [UInt8] {
        acceptsWrites ? sends.accept(count) : [UInt8](repeating: 0xee, count: count)
    }

    /// Its program ends a direction, or both.
    func endsWriting(whole: Bool) {
        if whole { isClosing = true } else { hasLostWriting = true }
        // A peer that goes on to send long after a close is answered by a reset.
        if whole { link.mayBreak = true }
        if !other.keepsHalfOpen || whole { other.sends.receiverEnded() }
    }

    /// A protocol stands here, or will, for which the peer's end is the end.
    func mayBeClosedByPeer(isHalfCloseable: Bool) {
        if !isHalfCloseable { keepsHalfOpen = false }
        if !keepsHalfOpen, other.hasEnded { sends.receiverEnded() }
    }

    /// Its producer was stopped: what is written after that may be dropped.
    func mayBeStopped() { sends.receiverEnded() }

    func willAbort() {
        hasAborted = true
        link.mayBreak = true
    }

    func willThrow() { willAbort() }
}
