// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
internal import TorsionCore

/// Buffers that connections of a reactor use one after the other, and who keeps some of its own.
final class TLSBuffers: ReactorCompanion {
    /// A record holds 16 KiB at most.
    static let plainCapacity = 17 * 1024
    /// Beyond it a buffer goes back to the allocator.
    private static let outputCapacity = 64 * 1024

    /// How many connections keep OpenSSL's own two buffers, 33 KiB: the latest that had something to do.
    private static let holderLimit = 64

    /// Whose memory a place names is taken out before it goes.
    private var holders: [Unmanaged<TLSFilter>?] = []
    private var nextHolder = 0
    private var plain: [UnsafeMutablePointer<UInt8>] = []
    private var output: [torsion_tls_output] = []

    init(on reactor: Reactor) {
        holders = Array(repeating: nil, count: Self.holderLimit)
    }

    deinit {
        for buffer in plain { buffer.deallocate() }
        for buffer in output { torsion_tls_free_bytes(buffer.base, 0) }
    }

    /// Takes a connection in whose buffers OpenSSL is about to make, and lets the one go that was taken in
    /// longest ago.
    ///
    /// To free them behind each message would cost two allocations and 1,200 instructions; to keep them
    /// all would cost an idle connection 33 KiB.
    @inline(never)
    func admit(_ filter: TLSFilter) -> Int {
        let place = nextHolder
        nextHolder = (place + 1) % Self.holderLimit
        let former = holders[place]
        holders[place] = .passUnretained(filter)
        former?.takeUnretainedValue().giveUpBuffers()
        return place
    }

    /// A connection's memory goes.
    func dismiss(_ place: Int) { holders[place] = nil }

    func takePlain() -> UnsafeMutablePointer<UInt8> {
        plain.popLast() ?? .allocate(capacity: Self.plainCapacity)
    }

    func givePlain(_ buffer: UnsafeMutablePointer<UInt8>) {
        if plain.count < 2 { plain.append(buffer) } else { buffer.deallocate() }
    }

    func takeOutput() -> torsion_tls_output { output.popLast() ?? torsion_tls_output() }

    func giveOutput(_ buffer: torsion_tls_output) {
        var buffer = buffer
        buffer.count = 0
        if output.count < 2, buffer.capacity <= Self.outputCapacity {
            output.append(buffer)
        } else {
            torsion_tls_free_bytes(buffer.base, 0)
        }
    }
}

#endif
