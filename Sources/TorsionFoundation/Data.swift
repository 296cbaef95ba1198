// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import FoundationEssentials
public import TorsionCore

// Everything here copies: `Data` may be changed in place, `Bytes` never, so that neither can have the
// other's memory.

extension Data {
    /// Copies what a span holds.
    ///
    /// - Parameter bytes: Borrowed for the call.
    /// - Complexity: O(*n*), and one allocation for more than 14 bytes.
    public init(_ bytes: RawSpan) {
        self = bytes.withUnsafeBytes { Data($0) }
    }

    /// Copies bytes.
    ///
    /// - Parameter bytes: Copied.
    /// - Complexity: O(*n*), and one allocation for more than 14 bytes.
    public init(_ bytes: Bytes) {
        self.init(bytes.span)
    }
}

extension Bytes {
    /// Copies the bytes of a `Data`, with one allocation unless it is empty.
    ///
    /// - Parameter data: Copied; a slice counts from its own first byte.
    /// - Complexity: O(*n*).
    public init(_ data: Data) {
        self = data.withUnsafeBytes { Bytes(RawSpan(_unsafeBytes: $0)) }
    }
}

extension ByteReader {
    /// Reads so many bytes, copied into a `Data`.
    ///
    /// - Parameter count: Any integer, such as a length field; one that is negative or larger than
    ///   `Int.max` is an error, not a trap.
    /// - Returns: Exactly `count` bytes.
    /// - Throws: `ByteReaderError` if so many are not left.
    @_lifetime(self: copy self)
    public mutating func readData(_ count: some BinaryInteger) throws(ByteReaderError) -> Data {
        Data(try readSpan(count))
    }
}

extension ByteWriter {
    /// Writes the bytes of a `Data`.
    ///
    /// - Parameter data: Copied.
    @_lifetime(self: copy self)
    public mutating func write(_ data: Data) {
        write(Bytes(data))
    }
}

extension Consumer {
    /// Queues the bytes of a `Data` behind everything written before.
    ///
    /// - Parameter data: Copied once; more than a few KiB are then queued without another copy.
    public func write(_ data: Data) {
        write(Bytes(data))
    }
}

extension AsyncConnection {
    /// Queues the bytes of a `Data`, and waits while more than the high mark is queued.
    ///
    /// - Parameter data: Copied once.
    /// - Throws: `ConnectionLoss` if the connection is closed or broken, `CancellationError`; in the
    ///   latter case the bytes are queued all the same.
    public nonisolated(nonsending) func write(_ data: Data) async throws {
        try await write(Bytes(data))
    }

    /// Waits for exactly so many bytes; those behind them stay.
    ///
    /// - Parameter byteCount: 0 or more; check a number that the peer has sent.
    /// - Returns: That many bytes.
    /// - Throws: `UnexpectedEnd` if the peer ends before; else as `read(_:)`.
    public nonisolated(nonsending) func readData(exactly byteCount: Int) async throws -> Data {
        Data(try await read(exactly: byteCount))
    }
}
