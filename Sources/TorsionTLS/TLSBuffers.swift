// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
internal import TorsionCore

/// Buffers that the connections of a reactor use one after the other.
///
/// Sending may lead to another filter of the reactor, in memory: what is needed while it is taken is made
/// anew.
struct TLSScratch {
    /// A record holds 16 KiB at most.
    static let plainCapacity = 17 * 1024
    /// Beyond it a buffer goes back to the allocator.
    private static let outputCapacity = 128 * 1024

    private var plain: UnsafeMutablePointer<UInt8>?
    /// What OpenSSL has to say is appended here; nobody else is called meanwhile.
    var output = torsion_tls_output()

    mutating func takePlain() -> UnsafeMutablePointer<UInt8> {
        guard let taken = plain else { return .allocate(capacity: Self.plainCapacity) }
        plain = nil
        return taken
    }

    mutating func givePlain(_ buffer: UnsafeMutablePointer<UInt8>) {
        if plain == nil { plain = buffer } else { buffer.deallocate() }
    }

    mutating func takeOutput() -> torsion_tls_output {
        let taken = output
        output = torsion_tls_output()
        return taken
    }

    mutating func giveOutput(_ buffer: torsion_tls_output) {
        if output.base == nil, buffer.capacity <= Self.outputCapacity {
            output = torsion_tls_output(base: buffer.base, count: 0, capacity: buffer.capacity)
        } else {
            torsion_tls_free_bytes(buffer.base, 0)
        }
    }

    func free() {
        plain?.deallocate()
        torsion_tls_free_bytes(output.base, 0)
    }
}

/// What the connections of a reactor share.
final class TLSBuffers: ReactorCompanion {
    /// How many connections keep OpenSSL's own two buffers, 33 KiB: the latest that had something to do.
    private static let holderLimit = 64

    let scratch: UnsafeMutablePointer<TLSScratch>
    /// Whose memory a place names is taken out before it goes.
    private var holders: [Unmanaged<TLSFilter>?]
    private var nextHolder = 0

    init(on reactor: Reactor) {
        scratch = .allocate(capacity: 1)
        scratch.initialize(to: TLSScratch())
        holders = Array(repeating: nil, count: Self.holderLimit)
    }

    deinit {
        scratch.pointee.free()
        scratch.deinitialize(count: 1)
        scratch.deallocate()
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
}

#endif
