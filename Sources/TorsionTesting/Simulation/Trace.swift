// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The events of a simulation, in order.
///
/// Of the same seed it is the same, byte for byte, on every machine.
public struct Trace: Sendable {
    /// One thing that happened.
    public struct Entry: Sendable {
        /// An event.
        public enum Event: Sendable {
            /// Something left on a connection for the other host, and arrives at this time.
            case sent(Segment, arrival: UInt64)
            /// A kernel called its program with an event of a connection.
            case told(Told)
            /// A chance became a fault.
            case struck(Fault)
            /// A word of the program or of the scenario.
            case noted(String)
        }

        /// Nanoseconds since the simulation began.
        public let time: UInt64
        /// The host where it happened, and the one it was meant for; -1 is the network.
        public let host: Int, other: Int
        /// The connection; 0 without one.
        public let connection: Int
        /// The event.
        public let event: Event
    }

    /// A segment between hosts.
    public enum Segment: Sendable {
        /// The wish to connect, and its answers.
        case connect, accept, refuse
        /// So many bytes of the stream.
        case bytes(Int)
        /// The end of one direction, and of both.
        case end, reset
        /// A datagram of so many bytes.
        case datagram(Int)
    }

    /// A call of a program.
    public enum Told: Sendable {
        /// So many bytes were read.
        case read(Int)
        /// So many bytes of a queue were taken.
        case wrote(Int)
        /// The connection was accepted or is connected.
        case connected
        /// The peer's end.
        case end
        /// The connection is broken.
        case failed(String)
    }

    /// The events, oldest first; of a long run the first hundred thousand.
    public private(set) var entries: [Entry] = []
    /// How many there were.
    public private(set) var entryCount = 0
    /// A hash of all of them.
    public private(set) var digest = StreamHash()

    private static let keptCount = 100_000

    mutating func add(
        time: UInt64, host: Int, other: Int = -1, connection: Int = 0, _ event: Entry.Event
    ) {
        entryCount += 1
        let entry = Entry(
            time: time, host: host, other: other, connection: connection, event: event)
        if entries.count < Self.keptCount { entries.append(entry) }
        digest.add(word: entry.time)
        digest.add(word: UInt64(truncatingIfNeeded: host &* 4096 &+ connection))
        digest.add(word: entry.event.word)
    }
}

extension Trace.Entry.Event {
    /// Tells this event from another of the same time and place.
    fileprivate var word: UInt64 {
        switch self {
        case .sent(let segment, let arrival): arrival &* 31 &+ segment.word
        case .told(let told): told.word
        case .struck(let fault):
            UInt64(fault.kind.rawValue) << 40 | UInt64(fault.number) << 20
                | UInt64(fault.ordinal)
        case .noted(let text):
            text.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) }
        }
    }
}

extension Trace.Segment {
    fileprivate var word: UInt64 {
        switch self {
        case .connect: 1
        case .accept: 2
        case .refuse: 3
        case .end: 4
        case .reset: 5
        case .bytes(let count): 16 + UInt64(count)
        case .datagram(let count): 1 << 40 + UInt64(count)
        }
    }

    /// As it stands beside an arrow.
    var label: String {
        switch self {
        case .connect: "connect"
        case .accept: "accept"
        case .refuse: "refuse"
        case .end: "END"
        case .reset: "RESET"
        case .bytes(let count): "\(count) bytes"
        case .datagram(let count): "datagram of \(count)"
        }
    }
}

extension Trace.Told {
    fileprivate var word: UInt64 {
        switch self {
        case .connected: 1 << 32
        case .end: 2 << 32
        case .read(let count): 3 << 32 + UInt64(count)
        case .wrote(let count): 4 << 32 + UInt64(count)
        case .failed(let text): text.utf8.reduce(5 << 32) { $0 &* 31 &+ UInt64($1) }
        }
    }

    /// As it stands in a host's column.
    var label: String {
        switch self {
        case .connected: "connected"
        case .end: "reads the end"
        case .read(let count): "reads \(count)"
        case .wrote(let count): "wrote \(count) of its queue"
        case .failed(let text): "fails: \(text)"
        }
    }
}

extension StreamHash {
    /// Adds eight bytes, the lowest first.
    mutating func add(word: UInt64) {
        unsafe withUnsafeBytes(of: word.littleEndian) { unsafe add($0.bytes) }
    }
}
