// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

// A request's fields nearly always have names that are known here. Such a name is found by a perfect
// hash of its length and its last eight bytes, and compared by 64-bit words against the one name that it
// can be. A name that is known is a token, so none of its bytes has to be looked at by itself: the
// dearest part of a strict parser.
//
// The letters' case is folded while they are compared. `x | 0x20` alone would fold CR into `-`, so
// each name has a mask beside it, with 0x20 in the place of its letters only.
//
// No word reaches beyond the name's end: what stands behind it may not have arrived. The last word of a
// short name begins before it, and what is no part of it is shifted out; so there must be eight bytes up
// to the name's end, which the first line of a head sees to.

/// The names that have numbers, found by their bytes.
///
/// Made once for the process, and never changed: usable on any thread, which the compiler cannot know
/// of pointers. One piece of memory, so that whoever looks names up in a loop holds one address.
@safe
package struct FieldNameTable: @unchecked Sendable {
    private let memory: UnsafeMutableRawPointer

    package static let shared = FieldNameTable()

    /// Where each part is.
    private enum Place {
        /// What is added to the place, for each of 64 groups of names.
        static let displacements = 0
        /// The number of the name in each of 256 places; 0 for none.
        static let numbers = 64
        /// How long each name is, by its number.
        static let byteCounts = 320
        /// 1 for each byte of a token (RFC 9110 §5.6.2).
        static let tokens = 576
        /// What of eight bytes that end with a name is part of it, for each length.
        static let masks = 832
        /// For each name its first three words and the last, and the masks of these.
        static let words = masks + 8 * 40
        /// Each name as it is sent, with the colon and the space behind it.
        static let spellings = words + 128 * 64
        static let end = spellings + 128 * spellingByteCount
    }

    /// Found by trying: with it, no two names come to one place.
    private static let multiplier: UInt64 = 0x97b7_5092_3ceb_3ffd
    private static let longestByteCount = 32
    /// Room for the longest name, a colon and a space, in whole words of 16 bytes.
    static let spellingByteCount = 48

    private init() {
        unsafe memory = .allocate(byteCount: Place.end, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Place.end)
        let spellings = FieldName.spellings.map { [UInt8](Bytes(stringLiteral: $0)) }
        precondition(spellings.count <= 128)
        for (number, spelling) in spellings.enumerated() {
            let name = spelling.map(\.asciiLowercased)
            precondition(name.count <= Self.longestByteCount)
            unsafe bytes(Place.byteCounts)[number] = UInt8(name.count)
            let entry = unsafe words(number)
            for word in 0..<3 {
                unsafe (entry[word], entry[4 + word]) = Self.word(name.dropFirst(8 * word))
            }
            let before = 8 - min(name.count, 8)
            unsafe (entry[3], entry[7]) = Self.word(
                [UInt8](repeating: 0, count: before) + name.suffix(8))
            let sent = spelling + [UInt8](": ".utf8)
            for (index, byte) in sent.enumerated() {
                unsafe bytes(Place.spellings)[Self.spellingByteCount * number + index] = byte
            }
        }
        for byte in "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz".utf8 {
            unsafe bytes(Place.tokens)[Int(byte)] = 1
            unsafe bytes(Place.tokens)[Int(byte.asciiUppercased)] = 1
        }
        for count in 0...Self.longestByteCount {
            unsafe masks[count] = count < 8 ? ~(~0 >> UInt64(8 * count)) : ~0
        }
        placeNames(count: spellings.count)
    }

    private func bytes(_ place: Int) -> UnsafeMutablePointer<UInt8> {
        unsafe (memory + place).assumingMemoryBound(to: UInt8.self)
    }

    @inline(__always)
    private func byte(_ place: Int, _ index: Int) -> UInt8 {
        unsafe memory.load(fromByteOffset: place &+ index, as: UInt8.self)
    }

    @inline(__always)
    private func words(_ number: Int) -> UnsafeMutablePointer<UInt64> {
        unsafe (memory + (Place.words &+ 64 &* number)).assumingMemoryBound(to: UInt64.self)
    }

    @inline(__always)
    private var masks: UnsafeMutablePointer<UInt64> {
        unsafe (memory + Place.masks).assumingMemoryBound(to: UInt64.self)
    }

    /// At most eight bytes, and the mask by which their letters are folded.
    private static func word(_ name: some Sequence<UInt8>) -> (bytes: UInt64, mask: UInt64) {
        var (bytes, mask): (UInt64, UInt64) = (0, 0)
        for (place, byte) in name.prefix(8).enumerated() {
            bytes |= UInt64(byte) << UInt64(8 * place)
            if byte &- UInt8(ascii: "a") < 26 { mask |= 0x20 << UInt64(8 * place) }
        }
        return (bytes, mask)
    }

    /// A perfect hash by displacement: the largest group of names first, each moved until it fits.
    ///
    /// - SeeAlso: Pagh, *Hash and Displace*, 1999.
    private func placeNames(count: Int) {
        var groups = [[(hash: UInt64, number: Int)]](repeating: [], count: 64)
        for number in 1..<count {
            let hash = Self.hash(
                unsafe words(number)[3], unsafe Int(bytes(Place.byteCounts)[number]))
            groups[Int(hash >> 58)].append((hash, number))
        }
        let order = groups.indices.sorted {
            (-groups[$0].count, $0) < (-groups[$1].count, $1)
        }
        let numbers = unsafe bytes(Place.numbers)
        for group in order where !groups[group].isEmpty {
            let found = (0..<256).first { displacement in
                let places = groups[group].map { Self.place(of: $0.hash, displacement) }
                return Set(places).count == places.count
                    && places.allSatisfy { unsafe numbers[$0] == 0 }
            }
            guard let found else { fatalError("FieldNameTable: names share a place") }
            unsafe bytes(Place.displacements)[group] = UInt8(found)
            for (hash, number) in groups[group] {
                unsafe numbers[Self.place(of: hash, found)] = UInt8(number)
            }
        }
    }

    /// Of the last word, whose letters may be of either case, and the length.
    @inline(__always)
    private static func hash(_ word: UInt64, _ count: Int) -> UInt64 {
        (word | 0x2020_2020_2020_2020 ^ UInt64(truncatingIfNeeded: count)) &* multiplier
    }

    @inline(__always)
    private static func place(of hash: UInt64, _ displacement: Int) -> Int {
        Int(truncatingIfNeeded: (hash &>> 40) &+ UInt64(truncatingIfNeeded: displacement)) & 255
    }

    // MARK: Looking up

    /// The number of a name that is known.
    ///
    /// - Parameters:
    ///   - start: Where it begins.
    ///   - end: Where it ends: not before the eighth byte that can be read.
    /// - Returns: Its place in ``FieldName/spellings``.
    @inline(__always)
    func known(from start: UnsafePointer<UInt8>, to end: UnsafePointer<UInt8>) -> UInt8? {
        let count = unsafe end - start
        guard UInt(bitPattern: count) <= UInt(Self.longestByteCount) else { return nil }
        let last = unsafe load(end - 8) & masks[count]
        let hash = Self.hash(last, count)
        let displacement = byte(Place.displacements, Int(truncatingIfNeeded: hash &>> 58))
        let number = byte(Place.numbers, Self.place(of: hash, Int(displacement)))
        let entry = unsafe words(Int(number))
        guard count > 0, Int(byte(Place.byteCounts, Int(number))) == count,
            unsafe last | entry[7] == entry[3]
        else { return nil }
        if count <= 8 { return number }
        guard unsafe load(start) | entry[4] == entry[0] else { return nil }
        if count <= 16 { return number }
        guard unsafe load(start + 8) | entry[5] == entry[1] else { return nil }
        if count <= 24 { return number }
        return unsafe load(start + 16) | entry[6] == entry[2] ? number : nil
    }

    func number(of name: RawSpan) -> UInt8 {
        guard name.byteCount <= Self.longestByteCount else { return 0 }
        // With eight bytes before it.
        return unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 40) { room in
            unsafe room.initialize(repeating: 0)
            for index in 0..<name.byteCount { unsafe room[8 + index] = name[index] }
            // It was just allocated, hence has an address.
            let start = unsafe UnsafePointer(room.baseAddress!) + 8
            return unsafe known(from: start, to: start + name.byteCount) ?? 0
        }
    }

    /// Whether there is at least one byte, and all of them may be in a token.
    @inline(never)
    func isToken(_ base: UnsafePointer<UInt8>, from start: Int, to end: Int) -> Bool {
        var isToken: UInt8 = start < end ? 1 : 0
        for position in start..<end {
            unsafe isToken &= byte(Place.tokens, Int(base[position]))
        }
        return isToken == 1
    }

    func isToken(_ bytes: RawSpan) -> Bool {
        guard bytes.byteCount > 0 else { return false }
        return unsafe bytes.withUnsafeBytes { bytes in
            // A span with a count has an address.
            let base = unsafe bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
            return unsafe isToken(base, from: 0, to: bytes.count)
        }
    }

    func isTokenByte(_ byte: UInt8) -> Bool { self.byte(Place.tokens, Int(byte)) == 1 }

    /// How a name that has a number is sent, with a colon and a space: in ``spellingByteCount`` bytes, of
    /// which so many count.
    @inline(__always)
    func spelling(of number: UInt8) -> (start: UnsafeRawPointer, byteCount: Int) {
        let start = unsafe memory + (Place.spellings &+ Self.spellingByteCount &* Int(number))
        return (UnsafeRawPointer(start), Int(byte(Place.byteCounts, Int(number))) &+ 2)
    }
}
