// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Where one field's line lies in a head.
///
/// 8 bytes, so that those of a whole head take 800, once a reactor.
package struct FieldSlot {
    var nameStart: UInt16
    var nameCount: UInt8
    /// The name's number; 0 for one that has none.
    var number: UInt8
    var valueStart: UInt16
    var valueCount: UInt16
}

/// Room for the slots of one head.
final class FieldSlots {
    let base: UnsafeMutablePointer<FieldSlot>

    init(capacity: Int) {
        unsafe base = .allocate(capacity: capacity)
    }

    deinit { unsafe base.deallocate() }
}

/// What the parser has found out on the way; everything else stays in the bytes.
package struct HeadFacts {
    /// Behind an empty line that came before the head.
    package var start: UInt16 = 0
    package var methodCount: UInt16 = 0
    /// See ``HTTPMethod``.
    package var method: UInt8 = 0
    package var minorVersion: UInt8 = 1
    /// Of the target, or of an answer's reason phrase.
    package var targetStart: UInt16 = 0
    package var targetCount: UInt16 = 0
    package var fieldCount: UInt16 = 0
    /// Of an answer: from 100 to 599.
    package var status: UInt16 = 0
    /// The slot of `Host`; 0xff if there is none.
    package var hostSlot: UInt8 = 0xff
    package var flags: Flags = []
    package var contentLength: UInt64 = 0
    /// Bytes of the whole head, with the empty line that ends it.
    package var byteCount = 0

    package struct Flags: OptionSet {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        static let close = Flags(rawValue: 1)
        static let keepAlive = Flags(rawValue: 2)
        package static let isChunked = Flags(rawValue: 4)
        package static let hasLength = Flags(rawValue: 8)
        /// `Connection: upgrade`.
        static let upgrade = Flags(rawValue: 16)
        static let expectsContinue = Flags(rawValue: 32)
        static let hasHost = Flags(rawValue: 64)
        static let expectsOther = Flags(rawValue: 128)
    }
}
