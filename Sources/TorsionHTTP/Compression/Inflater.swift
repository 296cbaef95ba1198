// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What stands around the blocks of DEFLATE: RFC 1951.
package enum DeflateForm: Int32 {
    /// Nothing.
    case bare = -15
    /// A checksum: RFC 1950.
    case zlib = 15
    /// A checksum and a length: RFC 1952.
    case gzip = 31
}

/// What one step of inflating or deflating has done.
package struct DeflateProgress {
    package enum State {
        /// The input is used up, or the room.
        case more
        /// The input is used up, and ends on a byte between two blocks.
        case boundary
        /// The stream has ended; what is left of the input is behind it.
        case end
        case malformed
        case noMemory
    }

    package var usedByteCount = 0
    package var writtenByteCount = 0
    package var state = State.more
}

#if Zlib

internal import CTorsionZlib

/// Takes compression off the bytes of one stream after the other, by zlib.
@safe
package final class Inflater {
    private let state: OpaquePointer

    /// Fails if there is no memory.
    ///
    /// - Parameter form: Of the stream.
    package init?(_ form: DeflateForm) {
        guard let made = torsion_inflater_new(form.rawValue) else { return nil }
        unsafe state = made
    }

    deinit { unsafe torsion_inflater_free(state) }

    /// Begins a stream, whose bytes refer to nothing before.
    package func reset() { unsafe torsion_inflater_reset(state) }

    /// Takes as many bytes as there is room for what they become.
    ///
    /// - Parameters:
    ///   - input: Borrowed for the call; empty to go on with what was taken before.
    ///   - room: Not empty.
    /// - Returns: How far it has come.
    package func add(
        _ input: RawSpan, into room: UnsafeMutableRawBufferPointer
    ) -> DeflateProgress {
        unsafe withAddresses(input, room) { source, count, target in
            unsafe torsion_inflater_add(state, source, count, target, room.count)
        }
    }
}

/// Compresses the bytes of one stream after the other, by zlib; takes 270 KiB for a window of 15 bits.
@safe
package final class Deflater {
    private let state: OpaquePointer

    /// How much room a call of ``add(_:into:)`` must have, so that the end is not written twice.
    package static let leastRoom = 64

    /// Fails if there is no memory.
    ///
    /// - Parameter windowBits: How far back it refers: 8 to 15, as a power of two.
    package init?(windowBits: Int) {
        guard let made = torsion_deflater_new(Int32(windowBits)) else { return nil }
        unsafe state = made
    }

    deinit { unsafe torsion_deflater_free(state) }

    /// Begins a stream, whose bytes refer to nothing before.
    package func reset() { unsafe torsion_deflater_reset(state) }

    /// Compresses all of the input, up to a block's end: 00 00 ff ff.
    ///
    /// To be called with what is left of the input until a call leaves room.
    ///
    /// - Parameters:
    ///   - input: Borrowed for the call.
    ///   - room: At least ``leastRoom``.
    /// - Returns: How far it has come.
    package func add(
        _ input: RawSpan, into room: UnsafeMutableRawBufferPointer
    ) -> DeflateProgress {
        unsafe withAddresses(input, room) { source, count, target in
            unsafe torsion_deflater_add(state, source, count, target, room.count)
        }
    }
}

private func withAddresses(
    _ input: RawSpan, _ room: UnsafeMutableRawBufferPointer,
    _ body: (UnsafePointer<UInt8>, Int, UnsafeMutablePointer<UInt8>) -> torsion_zlib_progress
) -> DeflateProgress {
    // The room is not empty, hence has an address; that of an empty input is not looked at.
    let target = unsafe room.baseAddress!.assumingMemoryBound(to: UInt8.self)
    let progress = unsafe input.withUnsafeBytes { bytes in
        let source = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        return unsafe body(source ?? UnsafePointer(target), bytes.count, target)
    }
    let state: DeflateProgress.State =
        switch progress.result {
        case TORSION_ZLIB_OK.rawValue: .more
        case TORSION_ZLIB_BOUNDARY.rawValue: .boundary
        case TORSION_ZLIB_END.rawValue: .end
        case TORSION_ZLIB_MEMORY.rawValue: .noMemory
        default: .malformed
        }
    return DeflateProgress(
        usedByteCount: progress.used, writtenByteCount: progress.written, state: state)
}

#else

// Without the trait `Zlib` nothing asks for these: the options that do are unavailable.

package final class Inflater {
    package init?(_ form: DeflateForm) { return nil }
    package func reset() {}
    package func add(
        _ input: RawSpan, into room: UnsafeMutableRawBufferPointer
    ) -> DeflateProgress { DeflateProgress(state: .noMemory) }
}

package final class Deflater {
    package static let leastRoom = 64
    package init?(windowBits: Int) { return nil }
    package func reset() {}
    package func add(
        _ input: RawSpan, into room: UnsafeMutableRawBufferPointer
    ) -> DeflateProgress { DeflateProgress(state: .noMemory) }
}

#endif
