// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) internal import TorsionCore

// Datagrams of one size that follow each other to one peer leave as one message, which the kernel
// or the network card cuts: `UDP_SEGMENT`, udp(7). They go through the kernel's routing and queues
// once instead of each for itself, which halves what sixteen of 64 bytes cost. The peer sees no
// difference. Whether a path can do it is known only when it is tried; see
// `SocketDatagramPort.trySend`.

/// What is being sent by one `sendmmsg(2)`.
final class OutgoingDatagrams {
    /// Datagrams that one call sends, and so the most that are segments of one: `UDP_MAX_SEGMENTS`
    /// of the kernels that have the fewest.
    static let limit = 64
    /// What an IPv4 packet has room for besides its headers.
    private static let longestRunByteCount = 65_507

    private let block = MessageBlock(capacity: limit)
    private let controls: UnsafeMutablePointer<torsion_segment_control>
    /// How many datagrams each message is.
    private let counts: UnsafeMutablePointer<Int>

    init() {
        controls = .allocate(capacity: Self.limit)
        controls.initialize(repeating: torsion_segment_control(), count: Self.limit)
        counts = .allocate(capacity: Self.limit)
        counts.initialize(repeating: 0, count: Self.limit)
    }

    deinit {
        controls.deallocate()
        counts.deallocate()
    }

    /// Whether the first message of the latest send was to be cut, which its error may be about.
    var hadSegments: Bool { counts[0] > 1 }

    /// `sendmmsg(2)`, up to the next address that the kernel cannot be given.
    ///
    /// Datagrams of more than `longestSegment` bytes are no segments; with 0 none is.
    ///
    /// - Precondition: The kernel can be given the first address, unless the socket is connected.
    /// - Returns: How many were taken, -1 with `errno` set.
    func send(
        _ datagrams: UnsafeBufferPointer<BorrowedDatagram>, on descriptor: Int32,
        isConnected: Bool, longestSegment: Int
    ) -> Int {
        let all = UnsafeBufferPointer(rebasing: datagrams.prefix(Self.limit))
        var messageCount = 0
        var next = 0
        while next < all.count, isConnected || all[next].address.refusal == nil {
            let rest = UnsafeBufferPointer(rebasing: all[next...])
            let count = Self.runLength(
                of: rest, isConnected: isConnected, longestSegment: longestSegment)
            for index in next..<(next + count) {
                block.vectors[index] = iovec(all[index].bytes)
            }
            describe(messageCount, first: next, count: count, all[next], isConnected: isConnected)
            next += count
            messageCount += 1
        }
        let taken = Int(torsion_send_messages(descriptor, block.messages, UInt32(messageCount)))
        guard taken > 0 else { return taken }
        return (0..<taken).reduce(0) { $0 + counts[$1] }
    }

    private func describe(
        _ message: Int, first: Int, count: Int, _ datagram: BorrowedDatagram, isConnected: Bool
    ) {
        counts[message] = count
        let header = block.messages + message
        header.pointee.header.msg_iov = block.vectors + first
        header.pointee.header.msg_iovlen = count
        if isConnected {
            header.pointee.header.msg_name = nil
            header.pointee.header.msg_namelen = 0
        } else {
            block.useAddress(of: message)
            let size = datagram.address.write(
                into: UnsafeMutableRawBufferPointer(mutating: block.address(message)))
            header.pointee.header.msg_namelen = socklen_t(size)
        }
        if count > 1 {
            torsion_segment(header, controls + message, UInt16(datagram.bytes.count))
        } else {
            header.pointee.header.msg_control = nil
            header.pointee.header.msg_controllen = 0
        }
    }

    /// How many datagrams, from the first on, can be segments of one message: all have the size of
    /// the first, but that the last may be shorter.
    static func runLength(
        of datagrams: UnsafeBufferPointer<BorrowedDatagram>, isConnected: Bool, longestSegment: Int
    ) -> Int {
        let size = datagrams[0].bytes.count
        guard size > 0, size <= longestSegment else { return 1 }
        var byteCount = size
        var count = 1
        while count < datagrams.count {
            let next = datagrams[count]
            byteCount += next.bytes.count
            guard 1...size ~= next.bytes.count, byteCount <= longestRunByteCount,
                isConnected || next.address == datagrams[0].address
            else { break }
            count += 1
            if next.bytes.count < size { break }
        }
        return count
    }
}
