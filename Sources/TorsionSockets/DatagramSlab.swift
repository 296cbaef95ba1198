// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) internal import TorsionCore

/// What all ports of a backend receive into and send from: a batch's headers, addresses and bytes.
///
/// Everything is laid out once, so that a batch allocates nothing. A UNIX address with a path of
/// more than 15 bytes, or an abstract one, does: it is a string, or an array.
final class DatagramSlab {
    /// Datagrams that one call receives.
    static let receiveCount = 32
    /// More than a UDP datagram can have; a longer one of a UNIX socket is cut, which is noticed.
    private static let slotByteCount = 64 * 1024
    /// Slots do not begin at the same place of a page, where they would share the same few lines
    /// of the cache.
    private static let slotStride = slotByteCount + 320

    let outgoing = OutgoingDatagrams()
    private let receiving = MessageBlock(capacity: receiveCount)
    private let bytes: UnsafeMutableRawPointer
    private let received: UnsafeMutablePointer<BorrowedDatagram>

    init() {
        // The kernel backs what is touched: for short datagrams a page of each slot.
        bytes = .allocate(byteCount: Self.slotStride * Self.receiveCount, alignment: 64)
        received = .allocate(capacity: Self.receiveCount)
        for index in 0..<Self.receiveCount {
            let slot = UnsafeMutableRawPointer(bytes + index * Self.slotStride)
            receiving.vectors[index] = iovec(iov_base: slot, iov_len: Self.slotByteCount)
            receiving.useAddress(of: index)
            let none = UnsafeRawBufferPointer(start: slot, count: 0)
            (received + index).initialize(
                to: BorrowedDatagram(bytes: none, address: .unix(.unnamed)))
        }
    }

    deinit {
        received.deinitialize(count: Self.receiveCount)
        received.deallocate()
        bytes.deallocate()
    }

    /// `recvmmsg(2)`.
    ///
    /// - Returns: How many datagrams there are now, see ``batch(_:)``; -1 with `errno` set.
    func receive(from descriptor: Int32) -> Int {
        let count = Int(
            torsion_receive_messages(
                descriptor, receiving.messages, UInt32(Self.receiveCount)))
        for index in 0..<max(0, count) {
            let message = receiving.messages + index
            received[index] = BorrowedDatagram(
                bytes: UnsafeRawBufferPointer(
                    start: receiving.vectors[index].iov_base,
                    count: Int(message.pointee.byte_count)),
                address: SocketAddress(
                    receiving.address(index), size: message.pointee.header.msg_namelen))
            // In and out: the kernel has put the sender's there.
            message.pointee.header.msg_namelen = MessageBlock.addressByteCount
        }
        return count
    }

    /// What the latest receive left here.
    func batch(_ range: Range<Int>) -> UnsafeBufferPointer<BorrowedDatagram> {
        UnsafeBufferPointer(start: received + range.lowerBound, count: range.count)
    }

    /// Whether a datagram was longer than its slot.
    func isCut(_ index: Int) -> Bool {
        receiving.messages[index].header.msg_flags & Int32(MSG_TRUNC) != 0
    }
}
