// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Bytes that are owned: what a protocol keeps after the call that brought them has returned.
///
/// A read is lent as a `RawSpan` for the length of one call, and code that needs it longer copies
/// it here, visibly. The bytes never change once they are made, so that copies and slices share
/// them, without a lock, and they may be handed to any thread.
///
///     func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
///         history.append(Bytes(bytes))       // copies
///     }
///
///     let header = message[0..<4]            // shares
///     for member in members { member.write(message) }    // shares, queued without a copy
///
/// Positions always count from 0, in a slice too. A slice keeps the whole of what it was cut from
/// alive; ``compacted()`` releases it.
///
/// A literal, of characters or of numbers, makes one as well. A literal is free of cost: the bytes
/// stay where the compiler put them.
///
/// `@unchecked Sendable`: what the storage holds is written only before the `Bytes` that holds it
/// exists. `@safe`: every way to the pointer checks the count, or is marked unsafe itself.
@safe
public struct Bytes: @unchecked Sendable {
    // What keeps `start` valid; nil if nothing needs to: empty, or the text of a literal.
    @usableFromInline
    let storage: Storage?

    // The first byte; nil if there is none.
    @usableFromInline
    let start: UnsafeRawPointer?

    /// How many bytes there are.
    public let count: Int

    /// A header and, in the same allocation, the bytes.
    ///
    /// Their address is stable, as a queue that hands it to the kernel needs.
    @usableFromInline
    final class Storage: ManagedBuffer<Void, UInt8> {}

    @inlinable
    init(storage: Storage?, start: UnsafeRawPointer?, count: Int) {
        self.storage = storage
        unsafe self.start = start
        self.count = count
    }

    /// Makes bytes in place: `body` appends what it likes to a span of room for `capacity` bytes.
    ///
    /// Allocates once. Unused capacity stays allocated as long as the bytes live.
    ///
    ///     let header = Bytes(capacity: 4) { $0.append(length.bigEndian, as: UInt32.self) }
    ///
    /// - Parameters:
    ///   - capacity: The most that `body` may append; more traps.
    ///   - body: Runs once, before this returns.
    /// - Throws: What `body` throws.
    @inlinable
    public init<Failure: Error>(
        capacity: Int, initializingWith body: (inout OutputRawSpan) throws(Failure) -> Void
    ) throws(Failure) {
        require(capacity >= 0, "Bytes: a capacity is not negative, as \(capacity) is")
        guard capacity > 0 else {
            var none = OutputRawSpan()
            try body(&none)
            self.init()
            return
        }
        // The cast holds: `create` makes an instance of the class it is called on.
        let storage = unsafe unsafeDowncast(
            Storage.create(minimumCapacity: capacity) { _ in }, to: Storage.self)
        let start = unsafe UnsafeMutableRawPointer(
            storage.withUnsafeMutablePointerToElements { unsafe $0 })
        // The storage outlives the span: it is kept by `self` below.
        let room = unsafe UnsafeMutableRawBufferPointer(start: start, count: capacity)
        var output = unsafe OutputRawSpan(buffer: room, initializedCount: 0)
        try body(&output)
        let count = unsafe output.finalize(for: room)
        unsafe self.init(storage: storage, start: UnsafeRawPointer(start), count: count)
    }

    /// Makes an empty value, without an allocation.
    @inlinable
    public init() {
        unsafe self.init(storage: nil, start: nil, count: 0)
    }

    /// Copies what a span holds, with one allocation unless it is empty.
    ///
    /// - Parameter bytes: Any number; borrowed for the call.
    @inlinable
    public init(_ bytes: RawSpan) {
        self = unsafe bytes.withUnsafeBytes { unsafe Bytes(copying: $0) }
    }

    /// Copies an array, with one allocation unless it is empty.
    ///
    /// - Parameter bytes: Any number.
    @inlinable
    public init(_ bytes: [UInt8]) {
        self = unsafe bytes.withUnsafeBytes { unsafe Bytes(copying: $0) }
    }

    /// Copies the UTF-8 of a text, with one allocation unless it is empty.
    ///
    /// - Parameter text: Of any length, copied without a terminating zero.
    @inlinable
    public init(_ text: String) {
        // Unsafe for types with padding, which a byte has not.
        unsafe self.init(text.utf8.span.bytes)
    }

    @inlinable
    init(copying source: UnsafeRawBufferPointer) {
        guard source.count > 0 else {
            self.init()
            return
        }
        let storage = unsafe unsafeDowncast(
            Storage.create(minimumCapacity: source.count) { _ in }, to: Storage.self)
        let start = unsafe UnsafeMutableRawPointer(
            storage.withUnsafeMutablePointerToElements { unsafe $0 })
        // A source with a count has an address.
        unsafe start.copyMemory(from: source.baseAddress!, byteCount: source.count)
        unsafe self.init(storage: storage, start: UnsafeRawPointer(start), count: source.count)
    }

    /// Whether it holds zero bytes.
    @inlinable
    public var isEmpty: Bool { count == 0 }

    /// The bytes, lent for as long as this value lives.
    public var span: RawSpan {
        @inlinable
        @_lifetime(borrow self)
        get {
            // The storage keeps the bytes while `self` is borrowed.
            let span = unsafe RawSpan(_unsafeBytes: unsafeBytes)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Calls `body` with a pointer to the bytes, which is valid until `body` returns.
    ///
    /// - Parameter body: Called once, now; it must not keep the pointer.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws.
    @inlinable
    public func withUnsafeBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { extendLifetime(self) }
        return try unsafe body(UnsafeRawBufferPointer(start: start, count: count))
    }

    /// Where the bytes are: valid while this value, a copy or a slice of it lives somewhere, such
    /// as in the queue of writes that hands the address to the kernel.
    @inlinable
    package var unsafeBytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: start, count: count)
    }

    /// The byte at a position from 0 to ``count`` - 1; any other traps.
    ///
    /// - Parameter position: Counted from 0.
    @inlinable
    public subscript(position: Int) -> UInt8 {
        require(
            position >= 0 && position < count,
            "Bytes: position \(position) is out of range: there are \(count) bytes")
        // Within the count there is an address.
        return unsafe start!.load(fromByteOffset: position, as: UInt8.self)
    }

    /// The bytes at some positions, shared without a copy; theirs count from 0.
    ///
    /// Positions beyond the end trap.
    ///
    /// - Parameter positions: `bytes[2...]`, `bytes[..<4]`, `bytes[1..<3]`: within 0 and ``count``.
    @inlinable
    public subscript(positions: some RangeExpression<Int>) -> Bytes {
        let range = positions.relative(to: 0..<count)
        require(
            range.lowerBound >= 0 && range.upperBound <= count,
            "Bytes: range \(range) is out of range: there are \(count) bytes")
        guard !range.isEmpty else { return Bytes() }
        // Within the count there is an address.
        return unsafe Bytes(
            storage: storage, start: start! + range.lowerBound, count: range.count)
    }
}
