// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Writes integers, texts and runs of bytes one behind the other: the opposite of ``ByteReader``.
///
/// You get one from what the bytes are for:
///
///     transport.write { writer in                 // into a connection, without an allocation
///         writer.write("$")
///         writer.writeDecimal(value.count)
///         writer.write("\r\n")
///     }
///     let greeting = Bytes { writer in            // into memory of their own
///         writer.writeInteger(version)
///         writer.write(name)
///     }
///
/// It grows as needed, and is valid until the closure returns. Hand it to other functions as
/// `inout`.
///
/// - SeeAlso: SwiftNIO `ByteBuffer`; Rust `bytes::BufMut`.
@safe
public struct ByteWriter: ~Copyable, ~Escapable {
    // The memory: borrowed at first, that of `storage` once there is one.
    @usableFromInline var start: UnsafeMutableRawPointer?
    @usableFromInline var capacity: Int
    @usableFromInline var storage: Bytes.Storage?

    /// How many bytes were written.
    @inlinable
    public var byteCount: Int { count }

    // What `byteCount` shows.
    @usableFromInline var count = 0

    /// Makes a writer that fills `room` first, and then memory of its own.
    @inlinable
    @_lifetime(immortal)
    init(unsafeRoom room: UnsafeMutableRawBufferPointer) {
        unsafe start = room.baseAddress
        capacity = room.count
    }

    /// Makes a writer with memory of its own.
    @inlinable
    @_lifetime(immortal)
    init(capacity: Int) {
        unsafe start = nil
        self.capacity = 0
        reserve(capacity)
    }

    /// Makes room for so many more bytes, so that writing them allocates at most this once.
    ///
    /// - Parameter byteCount: 0 or more; a negative number traps.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func reserve(_ byteCount: Int) {
        require(byteCount >= 0, "ByteWriter: cannot reserve \(byteCount) bytes")
        if byteCount > capacity &- self.byteCount { grow(by: byteCount) }
    }

    @usableFromInline @inline(never)
    @_lifetime(self: copy self)
    mutating func grow(by more: Int) {
        // Doubled, so that the work is linear in the bytes. A sum that overflows traps: so many
        // bytes cannot be in memory.
        let needed = max(byteCount + more, 2 * capacity, 64)
        // The cast holds: `create` makes an instance of the class it is called on.
        let larger = unsafe unsafeDowncast(
            Bytes.Storage.create(minimumCapacity: needed) { _ in }, to: Bytes.Storage.self)
        let room = unsafe UnsafeMutableRawPointer(
            larger.withUnsafeMutablePointerToElements { unsafe $0 })
        if byteCount > 0 {
            // Where bytes were written there is an address.
            unsafe room.copyMemory(from: start!, byteCount: byteCount)
        }
        unsafe start = room
        capacity = needed
        storage = larger
    }

    /// The bytes, which take over the writer's own memory; copied if that is much larger than need
    /// be, or borrowed.
    @usableFromInline
    consuming func finish() -> Bytes {
        guard let storage, byteCount > capacity / 2 else { return Bytes(written) }
        return unsafe Bytes(
            storage: storage, start: UnsafeRawPointer(start), count: byteCount)
    }

    /// The bytes that were written so far, borrowed until the next call of the writer.
    @inlinable
    public var written: RawSpan {
        @_lifetime(borrow self)
        get {
            // So many bytes are initialised, and stay where they are while `self` is borrowed.
            let bytes = unsafe RawSpan(
                _unsafeBytes: UnsafeRawBufferPointer(start: start, count: byteCount))
            return unsafe _overrideLifetime(bytes, borrowing: self)
        }
    }
}

// MARK: Bytes

extension ByteWriter {
    /// Writes one byte.
    ///
    /// - Parameter byte: What to write.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func writeByte(_ byte: UInt8) {
        if byteCount == capacity { grow(by: 1) }
        // There is room, hence an address.
        unsafe start.unsafelyUnwrapped.storeBytes(
            of: byte, toByteOffset: byteCount, as: UInt8.self)
        count &+= 1
    }

    /// Writes a copy of some bytes.
    ///
    /// - Parameter bytes: Borrowed for the call.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func write(_ bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    /// Writes a copy of some bytes.
    ///
    /// - Parameter bytes: What to write.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func write(_ bytes: Bytes) { write(bytes.span) }

    /// Writes a copy of some bytes.
    ///
    /// - Parameter bytes: What to write.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func write(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    /// Writes the UTF-8 of a text.
    ///
    /// - Parameter text: What to write.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func write(_ text: String) {
        var text = text
        text.withUTF8 { unsafe append(UnsafeRawBufferPointer($0)) }
    }

    /// Writes a byte several times.
    ///
    /// - Parameters:
    ///   - byte: What to write.
    ///   - count: How often: 0 or more; a negative number traps.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func write(repeating byte: UInt8, count: Int) {
        reserve(count)
        guard count > 0 else { return }
        // There is room, hence an address.
        unsafe (start.unsafelyUnwrapped + byteCount).initializeMemory(
            as: UInt8.self, repeating: byte, count: count)
        self.count &+= count
    }

    @inlinable
    @_lifetime(self: copy self)
    mutating func append(_ source: UnsafeRawBufferPointer) {
        guard let address = source.baseAddress, source.count > 0 else { return }
        if source.count > capacity &- byteCount { grow(by: source.count) }
        // There is room, hence an address. It is not that of the source, which nothing can borrow
        // while it is written.
        unsafe (start.unsafelyUnwrapped + byteCount).copyMemory(
            from: address, byteCount: source.count)
        count &+= source.count
    }
}

// MARK: Integers

extension ByteWriter {
    /// Writes an integer in as many bytes as its type has.
    ///
    /// - Parameters:
    ///   - number: Of the type that the wire wants: `UInt16(port)`.
    ///   - order: The order of its bytes.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func writeInteger<Number: FixedWidthInteger>(
        _ number: Number, _ order: ByteOrder = .bigEndian
    ) {
        unsafe withUnsafeBytes(
            of: order == .bigEndian ? number.bigEndian : number.littleEndian
        ) { unsafe append($0) }
    }

    /// Writes the lowest bytes of an integer, for sizes without a type, such as 3.
    ///
    /// - Parameters:
    ///   - number: One that does not fit traps: check a number that you do not know.
    ///   - byteCount: From 1 to 8; any other traps.
    ///   - order: The order of its bytes.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func writeInteger(
        _ number: UInt64, byteCount: Int, _ order: ByteOrder = .bigEndian
    ) {
        require(
            (1...8).contains(byteCount),
            "ByteWriter: an integer has 1 to 8 bytes, not \(byteCount)")
        require(
            number <= .max &>> UInt64(64 - 8 * byteCount),
            "ByteWriter: \(number) does not fit in \(byteCount) bytes")
        for index in 0..<byteCount {
            let place = order == .bigEndian ? byteCount &- 1 &- index : index
            writeByte(UInt8(truncatingIfNeeded: number &>> UInt64(8 &* place)))
        }
    }

    /// Writes a number in decimal digits, with a minus sign before them if it is negative.
    ///
    /// - Parameter number: Any integer.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func writeDecimal<Number: FixedWidthInteger>(_ number: Number) {
        if number < 0 { writeByte(UInt8(ascii: "-")) }
        var rest = number.magnitude
        var digitCount = 1
        var power = rest / 10
        while power > 0 {
            digitCount &+= 1
            power /= 10
        }
        reserve(digitCount)
        count &+= digitCount
        for place in 1...digitCount {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            // Room was made above.
            unsafe start.unsafelyUnwrapped.storeBytes(
                of: UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: digit),
                toByteOffset: byteCount &- place, as: UInt8.self)
            rest = quotient
        }
    }

    /// Writes a number in hexadecimal digits, with small letters.
    ///
    /// - Parameters:
    ///   - number: Any unsigned integer.
    ///   - digitCount: How many digits at least; zeros come first. 1 to 64, any other traps.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func writeHexadecimal(
        _ number: some FixedWidthInteger & UnsignedInteger, digitCount: Int = 1
    ) {
        require(
            (1...64).contains(digitCount), "ByteWriter: \(digitCount) digits; 1 to 64 are allowed")
        let needed = (number.bitWidth &- number.leadingZeroBitCount &+ 3) / 4
        for place in stride(from: max(needed, digitCount) &- 1, through: 0, by: -1) {
            let digit = UInt8(truncatingIfNeeded: number >> (4 &* place)) & 0xf
            writeByte(digit < 10 ? UInt8(ascii: "0") &+ digit : UInt8(ascii: "a") &- 10 &+ digit)
        }
    }

    /// Writes an unsigned integer in groups of seven bits, the lowest first: see
    /// ``ByteReader/readVarint(_:)``.
    ///
    /// - Parameter number: Any unsigned integer; it takes one byte for each seven bits.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func writeVarint(_ number: some FixedWidthInteger & UnsignedInteger) {
        var rest = number
        while rest > 0x7f {
            writeByte(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        writeByte(UInt8(truncatingIfNeeded: rest))
    }

    /// Writes a length, and behind it what `body` writes, whose length it is.
    ///
    ///     try writer.writeLengthPrefixed(as: UInt32.self, countingItself: true) { writer in
    ///         writer.write("SELECT 1\0")
    ///     }
    ///
    /// - Parameters:
    ///   - type: The integer that the length is.
    ///   - order: The order of its bytes.
    ///   - countsItself: Whether the length counts its own bytes too, as PostgreSQL's does.
    ///   - body: Called once; gets this writer. It may prefix lengths itself.
    /// - Throws: ``LengthOverflow`` if the length does not fit, or what `body` throws. The writer
    ///   then takes back everything since the call.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func writeLengthPrefixed<Number: FixedWidthInteger>(
        as type: Number.Type, _ order: ByteOrder = .bigEndian,
        countingItself countsItself: Bool = false, _ body: (inout ByteWriter) throws -> Void
    ) throws {
        let position = byteCount
        do {
            writeInteger(0 as Number, order)
            let payloadStart = byteCount
            try body(&self)
            let length = byteCount &- (countsItself ? position : payloadStart)
            guard let length = Number(exactly: length) else {
                throw LengthOverflow(byteCount: length)
            }
            overwriteInteger(at: position, with: length, order)
        } catch {
            count = position
            throw error
        }
    }

    /// Replaces an integer that was written before.
    ///
    /// - Parameters:
    ///   - position: Of its first byte, counted from the first that was written; all its bytes must
    ///     have been written, else it traps.
    ///   - number: The new value.
    ///   - order: The order of its bytes.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func overwriteInteger<Number: FixedWidthInteger>(
        at position: Int, with number: Number, _ order: ByteOrder = .bigEndian
    ) {
        require(
            position >= 0 && position <= byteCount - MemoryLayout<Number>.size,
            "ByteWriter: no integer of \(MemoryLayout<Number>.size) bytes was written at \(position)"
        )
        unsafe withUnsafeBytes(
            of: order == .bigEndian ? number.bigEndian : number.littleEndian
        ) { source in
            // Checked just above; a source with a count has an address.
            unsafe (start.unsafelyUnwrapped + position).copyMemory(
                from: source.baseAddress.unsafelyUnwrapped, byteCount: source.count)
        }
    }
}

/// The bytes behind a length are more than the length's type can hold.
public struct LengthOverflow: Error, Hashable, Sendable, CustomStringConvertible {
    /// The length that does not fit, in bytes.
    public let byteCount: Int

    /// An error that names the length.
    ///
    /// - Parameter byteCount: The number that does not fit.
    public init(byteCount: Int) { self.byteCount = byteCount }

    /// A sentence.
    public var description: String { "the length \(byteCount) does not fit in its field" }
}

// MARK: Where the bytes go

extension Bytes {
    /// Makes bytes of what `body` writes.
    ///
    ///     let packet = Bytes { $0.writeInteger(0x1234 as UInt16) }
    ///
    /// - Parameters:
    ///   - byteCount: How many bytes are expected: if as many are written, there is one allocation.
    ///     Without it, up to 512 bytes cost one.
    ///   - body: Called once, before this returns.
    /// - Throws: What `body` throws.
    /// - Complexity: O(*n*).
    @inlinable
    @inline(__always)
    public init<Failure: Error>(
        reserving byteCount: Int = 0, writing body: (inout ByteWriter) throws(Failure) -> Void
    ) throws(Failure) {
        guard byteCount == 0 else {
            var writer = ByteWriter(capacity: byteCount)
            try body(&writer)
            self = writer.finish()
            return
        }
        var written = Bytes()
        var failure: Failure?
        unsafe withUnsafeTemporaryAllocation(byteCount: 512, alignment: 8) { room in
            var writer = unsafe ByteWriter(unsafeRoom: room)
            do throws(Failure) {
                try body(&writer)
                written = writer.finish()
            } catch { failure = error }
        }
        if let failure { throw failure }
        self = written
    }
}

extension Consumer {
    /// Queues what `body` writes, in one go.
    ///
    /// Up to 1 KiB is written without an allocation; more is queued without another copy.
    ///
    ///     transport.write { writer in
    ///         writer.write("HTTP/1.1 200 OK\r\ncontent-length: ")
    ///         writer.writeDecimal(body.count)
    ///         writer.write("\r\n\r\n")
    ///     }
    ///
    /// - Parameter body: Called once, before this returns.
    /// - Throws: What `body` throws; then the bytes are dropped.
    @inlinable
    @inline(__always)
    public func write<Failure: Error>(
        _ body: (inout ByteWriter) throws(Failure) -> Void
    ) throws(Failure) {
        // A closure that throws, and a result, would be generic: metadata is looked up at each call then.
        var failure: Failure?
        unsafe withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 8) { room in
            var writer = unsafe ByteWriter(unsafeRoom: room)
            do throws(Failure) {
                try body(&writer)
                if writer.storage == nil { write(writer.written) } else { write(writer.finish()) }
            } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
