// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Bytes that were delivered and not used, until they are delivered again.
///
/// What a protocol gives back of a delivery from here is not copied: it stays where it is, behind
/// an offset. So a protocol that pauses in each line of a long read costs each byte a constant
/// number of copies, not one for each line before it.
@safe
final class KeptBytes {
    private var bytes: [UInt8] = []
    /// Bytes before this one were used.
    private var start = 0
    /// The memory that is being delivered; compared with, and never followed.
    private var lent: UnsafeRawBufferPointer?
    /// What of ``lent`` was given back; it precedes ``bytes``.
    private var returned: Range<Int>?

    /// Where what is held is counted, and as how much.
    private let account: QueueAccount?
    private var countedByteCount = 0

    /// Bytes copied so far: what ``append(_:)`` took over, and what was moved to release memory.
    private(set) var copiedByteCount = 0

    init(countedIn account: QueueAccount? = nil) { self.account = account }

    deinit { account?.remove(countedByteCount) }

    /// What is allocated counts, also where its beginning was used.
    private func count() {
        account?.remove(countedByteCount)
        countedByteCount = bytes.count
        account?.add(countedByteCount)
    }

    /// How many bytes are kept; those that are being delivered are not, until they are given back.
    var byteCount: Int { bytes.count - start + (returned?.count ?? 0) }

    var isEmpty: Bool { byteCount == 0 }

    /// Keeps bytes behind those that are here: without a copy if they are part of the delivery.
    func append(_ more: RawSpan) {
        if isEmpty, let range = rangeInLent(more) { return returned = range }
        bytes += more
        copiedByteCount += more.byteCount
        count()
    }

    /// Keeps bytes in front of those that are here.
    func prepend(_ more: RawSpan) {
        guard !isEmpty else { return append(more) }
        var whole = [UInt8](more)
        if let returned = returned.take(), let lent = unsafe lent {
            whole += lent[returned]
        }
        whole += bytes[start...]
        bytes = whole
        start = 0
        copiedByteCount += whole.count
        count()
    }

    /// Delivers everything; what `body` gives back by ``append(_:)`` is kept again.
    func deliver(_ body: (RawSpan) throws -> Void) rethrows {
        var run: [UInt8] = []
        swap(&run, &bytes)
        let first = start
        start = 0
        // What is called may lead to a flush, so that one delivery may run inside another.
        let outer = unsafe (lent, returned)
        returned = nil
        defer {
            restore(&run)
            unsafe (lent, returned) = outer
        }
        try unsafe run.withUnsafeBytes { whole in
            unsafe lent = whole
            try body(unsafe UnsafeRawBufferPointer(rebasing: whole[first...]).bytes)
        }
    }

    /// Keeps what was given back of a delivery.
    private func restore(_ run: inout [UInt8]) {
        defer { count() }
        guard let returned = returned.take() else { return }
        // Moved when that is the smaller part: so each byte is moved once on average, and no more
        // memory is held than twice what is kept.
        guard bytes.isEmpty, 2 * returned.count >= run.count else {
            bytes = Array(run[returned] + bytes[start...])
            start = 0
            copiedByteCount += bytes.count
            return
        }
        run.removeLast(run.count - returned.upperBound)
        swap(&run, &bytes)
        start = returned.lowerBound
    }

    private func rangeInLent(_ part: RawSpan) -> Range<Int>? {
        guard let lent = unsafe lent, let base = lent.baseAddress else { return nil }
        return unsafe part.withUnsafeBytes { part in
            guard let first = part.baseAddress else { return nil }
            let offset = unsafe first - base
            guard offset >= 0, offset + part.count <= lent.count else { return nil }
            return offset..<offset + part.count
        }
    }
}
