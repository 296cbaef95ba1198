// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc

/// The headers of a batch, each of which leads to one run of bytes, or more, and to one address.
final class MessageBlock {
    static let addressByteCount = socklen_t(MemoryLayout<sockaddr_storage>.size)

    let messages: UnsafeMutablePointer<torsion_message>
    let vectors: UnsafeMutablePointer<iovec>
    private let addresses: UnsafeMutablePointer<sockaddr_storage>

    init(capacity: Int) {
        messages = .allocate(capacity: capacity)
        vectors = .allocate(capacity: capacity)
        addresses = .allocate(capacity: capacity)
        messages.initialize(repeating: torsion_message(), count: capacity)
        vectors.initialize(repeating: iovec(), count: capacity)
        addresses.initialize(repeating: sockaddr_storage(), count: capacity)
        for index in 0..<capacity {
            messages[index].header.msg_iov = vectors + index
            messages[index].header.msg_iovlen = 1
        }
    }

    deinit {
        messages.deallocate()
        vectors.deallocate()
        addresses.deallocate()
    }

    /// A whole `sockaddr_storage`.
    func address(_ index: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: addresses + index, count: Int(Self.addressByteCount))
    }

    func useAddress(of index: Int) {
        messages[index].header.msg_name = UnsafeMutableRawPointer(addresses + index)
        messages[index].header.msg_namelen = Self.addressByteCount
    }
}
