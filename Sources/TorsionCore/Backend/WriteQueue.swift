// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The bytes of one stream that the kernel has not taken yet, in order.
///
/// Small pieces are copied into blocks of 16 KiB, so that a thousand short writes do not become a
/// thousand chunks; a large `Bytes` is queued where it lies. A backend reads the head through
/// ``withHead(_:)``; the memory it is shown stays where it is until the core removes it, in
/// ``StreamReceiver/streamDidWrite(byteCount:)``, or the stream is closed.
@_spi(Backend) public final class WriteQueue {
    /// How many runs of bytes ``withHead(_:)`` shows at most.
    public static let headLimit = 16

    private static let blockCapacity = 16 * 1024

    /// A run of bytes.
    ///
    /// `storage` keeps it alive; only the newest block still grows.
    private struct Chunk {
        var storage: Storage
        var start: Int
        var end: Int
        /// Sent before the first byte.
        var passing: PassedDescriptors?
    }

    @safe
    private enum Storage {
        case block(UnsafeMutableRawPointer)
        case bytes(Bytes)
        /// All of it was sent, and released.
        case sent
    }

    /// Descriptors that wait with the bytes.
    @exclusivity(unchecked) private(set) var descriptorCount = 0

    /// Bytes in the queue.
    @exclusivity(unchecked) public private(set) var byteCount = 0

    @exclusivity(unchecked) private var chunks: [Chunk] = []
    /// Chunks before this one were sent: they hold nothing any more, and are removed in bulk, so that
    /// each costs O(1).
    @exclusivity(unchecked) private var headIndex = 0

    /// Where what is held is counted, and as how much.
    private let account: QueueAccount?
    private var countedByteCount = 0

    init(countedIn account: QueueAccount? = nil) { self.account = account }

    deinit { removeAll() }

    private func count(_ change: Int) {
        countedByteCount += change
        if change > 0 { account?.add(change) } else { account?.remove(-change) }
    }

    /// Whether everything was taken.
    public var isEmpty: Bool { byteCount == 0 }

    /// The descriptors to send before the first byte of the head; nil once a byte was removed.
    public var headDescriptors: PassedDescriptors? {
        headIndex < chunks.count ? chunks[headIndex].passing : nil
    }

    /// Shows the first runs of bytes, in order, for one `writev`; not beyond bytes that have
    /// descriptors of their own.
    ///
    /// - Parameter body: Given pointers that stay valid until the bytes are removed.
    /// - Returns: What `body` returns.
    public func withHead<Result>(
        _ body: (UnsafeBufferPointer<UnsafeRawBufferPointer>) -> Result
    ) -> Result {
        unsafe withUnsafeTemporaryAllocation(
            of: UnsafeRawBufferPointer.self, capacity: Self.headLimit
        ) { runs in
            var count = 0
            while count < Self.headLimit, headIndex + count < chunks.count {
                let chunk = chunks[headIndex + count]
                if count > 0, chunk.passing != nil { break }
                unsafe runs.initializeElement(at: count, to: Self.bytes(of: chunk))
                count += 1
            }
            return unsafe body(UnsafeBufferPointer(rebasing: runs[..<count]))
        }
    }

    /// Appends a copy.
    func append(copying bytes: UnsafeRawBufferPointer) {
        var rest = unsafe bytes
        byteCount += rest.count
        while rest.count > 0 {
            let room = roomInLastBlock()
            let count = min(room, rest.count)
            let last = chunks.count - 1
            guard case .block(let base) = chunks[last].storage else { preconditionFailure() }
            unsafe (base + chunks[last].end).copyMemory(from: rest.baseAddress!, byteCount: count)
            chunks[last].end += count
            unsafe rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Appends a copy, with descriptors that go before its first byte.
    ///
    /// The bytes are not empty.
    func append(
        copying bytes: UnsafeRawBufferPointer, passing descriptors: PassedDescriptors
    ) {
        // In a block of its own, since a block has one place for descriptors.
        addBlock()
        chunks[chunks.count - 1].passing = descriptors
        descriptorCount += descriptors.numbers.count
        unsafe append(copying: bytes)
    }

    /// Appends without a copy.
    func append(_ bytes: Bytes) {
        guard !bytes.isEmpty else { return }
        byteCount += bytes.count
        chunks.append(Chunk(storage: .bytes(bytes), start: 0, end: bytes.count))
        count(bytes.count)
    }

    /// Removes what the kernel took.
    func remove(byteCount taken: Int) {
        require(taken <= byteCount, "WriteQueue: more taken than queued")
        byteCount -= taken
        var rest = taken
        while rest > 0 {
            if let passed = chunks[headIndex].passing.take() {
                descriptorCount -= passed.numbers.count
            }
            let count = chunks[headIndex].end - chunks[headIndex].start
            if rest < count {
                chunks[headIndex].start += rest
                break
            }
            rest -= count
            releaseHead()
        }
        forgetSent()
    }

    /// Releases what a chunk held as soon as its last byte has left.
    private func releaseHead() {
        switch chunks[headIndex].storage {
        case .bytes(let bytes): count(-bytes.count)
        case .block(let base):
            unsafe base.deallocate()
            count(-Self.blockCapacity)
        case .sent: preconditionFailure("WriteQueue: a chunk was sent twice")
        }
        chunks[headIndex].storage = .sent
        headIndex += 1
    }

    /// Closes the gap when it is no smaller than the rest, so that each chunk is moved once on average.
    private func forgetSent() {
        if headIndex == chunks.count {
            // A long queue must not leave its room behind for good.
            chunks.removeAll(keepingCapacity: headIndex <= 64)
            headIndex = 0
        } else if headIndex >= 32, 2 * headIndex >= chunks.count {
            chunks.removeFirst(headIndex)
            headIndex = 0
        }
    }

    /// Asserts what must hold at any time.
    func checkInvariants() {
        let counts = chunks[headIndex...].map { $0.end - $0.start }
        require(
            counts.allSatisfy { $0 > 0 } && counts.reduce(0, +) == byteCount,
            "WriteQueue: \(byteCount) bytes are not what is there")
        require(
            countedByteCount >= byteCount,
            "WriteQueue: \(byteCount) bytes are counted as \(countedByteCount)")
    }

    /// Drops everything.
    func removeAll() {
        while headIndex < chunks.count { releaseHead() }
        chunks = []
        headIndex = 0
        byteCount = 0
        descriptorCount = 0
    }

    /// The free bytes of the last block, after adding one if there is none with room.
    private func roomInLastBlock() -> Int {
        if headIndex < chunks.count {
            let last = chunks[chunks.count - 1]
            if case .block = last.storage, last.end < Self.blockCapacity {
                return Self.blockCapacity - last.end
            }
        }
        addBlock()
        return Self.blockCapacity
    }

    private func addBlock() {
        let base = UnsafeMutableRawPointer.allocate(byteCount: Self.blockCapacity, alignment: 16)
        unsafe chunks.append(Chunk(storage: .block(base), start: 0, end: 0))
        count(Self.blockCapacity)
    }

    private static func bytes(of chunk: Chunk) -> UnsafeRawBufferPointer {
        let count = chunk.end - chunk.start
        switch chunk.storage {
        case .block(let base):
            return unsafe UnsafeRawBufferPointer(start: base + chunk.start, count: count)
        case .bytes(let bytes):
            // The address is stable: `Bytes` keeps its content in a heap object of its own, which
            // this chunk retains.
            return unsafe bytes.withUnsafeBytes { whole in
                unsafe UnsafeRawBufferPointer(rebasing: whole[chunk.start..<chunk.end])
            }
        case .sent:
            preconditionFailure("WriteQueue: a chunk that was sent is asked for its bytes")
        }
    }
}
