// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

// A request's fields nearly always have names that are known here. Such a name is found by a perfect
// hash of its length, its first, its last and its last byte but two, and compared by 64-bit words
// against the one name that it can be. A name that is known is a token, so none of its bytes has to
// be looked at by itself: the dearest part of a strict parser.
//
// The letters' case is folded while they are compared. `x | 0x20` alone would fold CR into `-`, so
// each name has a mask beside it, with 0x20 in the place of its letters only. Behind the end of the
// name the mask is 0xff and so is the word, so that nothing there is compared.

/// The names that have numbers, found by their bytes.
///
/// Made once for the process, and never changed: usable on any thread, which the compiler cannot know
/// of pointers.
@safe
package struct FieldNameTable: @unchecked Sendable {
    /// For each name four words of its bytes, and four of their masks.
    private let words: UnsafePointer<UInt64>
    /// The number of the name in each place of the table; 0 for none.
    private let numbers: UnsafePointer<UInt8>
    /// What is added to the place, for each group of names.
    private let displacements: UnsafePointer<UInt8>
    private let byteCounts: UnsafePointer<UInt8>
    /// 1 for each byte of a token (RFC 9110 §5.6.2).
    private let tokenBytes: UnsafePointer<UInt8>
    /// Where the spelling of each name is: the text of a literal, which is always there.
    private let spellings: UnsafePointer<UnsafeRawPointer>

    package static let shared = FieldNameTable()

    /// Found by trying: with it, no two names come to one place.
    private static let multiplier: UInt64 = 0x97b7_5092_3ceb_3ffd
    private static let longestByteCount = 32

    private init() {
        let spellings = FieldName.spellings.map { Bytes(stringLiteral: $0) }
        let lowercased = spellings.map { $0.map(\.asciiLowercased) }
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 8 * spellings.count)
        let counts = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        unsafe counts.initialize(repeating: 0, count: 256)
        for (number, name) in lowercased.enumerated() {
            precondition(name.count <= Self.longestByteCount)
            unsafe counts[number] = UInt8(name.count)
            for word in 0..<4 {
                let (bytes, mask) = Self.word(word, of: name)
                unsafe words[8 * number + word] = bytes
                unsafe words[8 * number + 4 + word] = mask
            }
        }
        let (numbers, displacements) = Self.place(lowercased)
        let tokens = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        unsafe tokens.initialize(repeating: 0, count: 256)
        for byte in "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz".utf8 {
            unsafe tokens[Int(byte)] = 1
            unsafe tokens[Int(byte.asciiUppercased)] = 1
        }
        unsafe self.words = UnsafePointer(words)
        unsafe self.numbers = UnsafePointer(numbers)
        unsafe self.displacements = UnsafePointer(displacements)
        unsafe byteCounts = UnsafePointer(counts)
        unsafe tokenBytes = UnsafePointer(tokens)
        let starts = UnsafeMutablePointer<UnsafeRawPointer>.allocate(capacity: spellings.count)
        for (number, spelling) in FieldName.spellings.enumerated() {
            unsafe (starts + number).initialize(to: UnsafeRawPointer(spelling.utf8Start))
        }
        unsafe self.spellings = UnsafePointer(starts)
    }

    private static func word(_ index: Int, of name: [UInt8]) -> (bytes: UInt64, mask: UInt64) {
        var (bytes, mask): (UInt64, UInt64) = (0, 0)
        for place in 0..<8 {
            let position = 8 * index + place
            let byte = position < name.count ? name[position] : 0xff
            let isLetter = byte &- UInt8(ascii: "a") < 26
            let fold: UInt8 = position < name.count ? (isLetter ? 0x20 : 0) : 0xff
            bytes |= UInt64(byte) << UInt64(8 * place)
            mask |= UInt64(fold) << UInt64(8 * place)
        }
        return (bytes, mask)
    }

    /// A perfect hash by displacement: the largest group of names first, each moved until it fits.
    ///
    /// - SeeAlso: Pagh, *Hash and Displace*, 1999.
    private static func place(
        _ names: [[UInt8]]
    ) -> (numbers: UnsafeMutablePointer<UInt8>, displacements: UnsafeMutablePointer<UInt8>) {
        let numbers = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        let displacements = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
        unsafe numbers.initialize(repeating: 0, count: 256)
        unsafe displacements.initialize(repeating: 0, count: 64)
        var groups = [[(hash: UInt64, number: Int)]](repeating: [], count: 64)
        for (number, name) in names.enumerated() where !name.isEmpty {
            let third = name[max(0, name.count - 3)]
            let hash = Self.hash(name.count, name[0], name[name.count - 1], third)
            groups[Int(hash >> 58)].append((hash, number))
        }
        let order = groups.indices.sorted {
            (-groups[$0].count, $0) < (-groups[$1].count, $1)
        }
        for group in order where !groups[group].isEmpty {
            let found = (0..<256).first { displacement in
                let places = groups[group].map { place(of: $0.hash, displacement) }
                return Set(places).count == places.count
                    && places.allSatisfy { unsafe numbers[$0] == 0 }
            }
            guard let found else { fatalError("FieldNameTable: names share a place") }
            unsafe displacements[group] = UInt8(found)
            for (hash, number) in groups[group] {
                unsafe numbers[place(of: hash, found)] = UInt8(number)
            }
        }
        return unsafe (numbers, displacements)
    }

    @inline(__always)
    private static func hash(_ count: Int, _ first: UInt8, _ last: UInt8, _ third: UInt8) -> UInt64
    {
        let low = UInt64(truncatingIfNeeded: count) | UInt64(first | 0x20) &<< 8
        let high = UInt64(last | 0x20) &<< 16 | UInt64(third | 0x20) &<< 24
        return (low | high) &* multiplier
    }

    @inline(__always)
    private static func place(of hash: UInt64, _ displacement: Int) -> Int {
        Int(truncatingIfNeeded: (hash &>> 40) &+ UInt64(truncatingIfNeeded: displacement)) & 255
    }

    // MARK: Looking up

    /// The number of a name, or 0.
    ///
    /// - Parameters:
    ///   - base: The bytes that the name is among.
    ///   - start: Where it begins.
    ///   - count: How long it is: at least 1.
    ///   - limit: How many bytes there are in all: up to there words can be loaded.
    /// - Returns: Its place in ``FieldName/spellings``.
    @inline(__always)
    func number(
        _ base: UnsafePointer<UInt8>, from start: Int, count: Int, limit: Int
    ) -> UInt8 {
        let name = unsafe base + start
        let hash = unsafe Self.hash(
            count, name[0], name[count &- 1], name[max(0, count &- 3)])
        let displacement = unsafe displacements[Int(truncatingIfNeeded: hash &>> 58)]
        let number = unsafe numbers[Self.place(of: hash, Int(displacement))]
        guard number != 0, unsafe Int(byteCounts[Int(number)]) == count else { return 0 }
        let entry = unsafe words + 8 &* Int(number)
        let raw = unsafe UnsafeRawPointer(name)
        guard start &+ Self.longestByteCount <= limit else {
            if count <= 8, start &+ 8 <= limit {
                return unsafe (Self.load(raw, 0) | entry[4]) == entry[0] ? number : 0
            }
            return unsafe equalsBytewise(name, count, entry) ? number : 0
        }
        var difference = unsafe (Self.load(raw, 0) | entry[4]) ^ entry[0]
        unsafe difference |= (Self.load(raw, 8) | entry[5]) ^ entry[1]
        if count > 16 {
            unsafe difference |= (Self.load(raw, 16) | entry[6]) ^ entry[2]
            unsafe difference |= (Self.load(raw, 24) | entry[7]) ^ entry[3]
        }
        return difference == 0 ? number : 0
    }

    @inline(__always)
    private static func load(_ base: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        unsafe UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Near the end of what has arrived, where a word would reach beyond.
    @inline(never)
    private func equalsBytewise(
        _ name: UnsafePointer<UInt8>, _ count: Int, _ entry: UnsafePointer<UInt64>
    ) -> Bool {
        for position in 0..<count {
            let shift = UInt64(8 * (position & 7))
            let wanted = unsafe UInt8(truncatingIfNeeded: entry[position >> 3] >> shift)
            let mask = unsafe UInt8(truncatingIfNeeded: entry[4 + position >> 3] >> shift)
            if unsafe name[position] | mask != wanted { return false }
        }
        return true
    }

    func number(of name: RawSpan) -> UInt8 {
        guard name.byteCount > 0 else { return 0 }
        return unsafe name.withUnsafeBytes { bytes in
            // A span with a count has an address.
            let base = unsafe bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
            return unsafe number(base, from: 0, count: bytes.count, limit: bytes.count)
        }
    }

    /// Whether there is at least one byte, and all of them may be in a token.
    @inline(never)
    func isToken(_ base: UnsafePointer<UInt8>, from start: Int, to end: Int) -> Bool {
        var isToken: UInt8 = start < end ? 1 : 0
        for position in start..<end { unsafe isToken &= tokenBytes[Int(base[position])] }
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

    func isTokenByte(_ byte: UInt8) -> Bool { unsafe tokenBytes[Int(byte)] == 1 }

    /// How a name that has a number is spelled.
    @inline(__always)
    func spelling(of number: UInt8) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(
            start: spellings[Int(number)], count: Int(byteCounts[Int(number)]))
    }
}
