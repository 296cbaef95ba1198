// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What was answered, for as long as that may be kept.
///
/// Pure: the time is a parameter.
///
/// At most so many entries and bytes: the oldest leave first. No answer is kept for less than a
/// second, so that a burst of look-ups is one, nor for more than an hour.
struct DNSCache {
    struct Key: Hashable {
        let name: [UInt8]
        let type: DNSRecordType
        let classNumber: UInt16

        init(_ question: DNSQuestion) {
            name = question.name.lowercased
            type = question.type
            classNumber = question.classNumber
        }
    }

    private struct Entry {
        let outcome: Result<DNSAnswer, DNSLookupError>
        let arrival: MonotonicInstant
        let end: MonotonicInstant
        let byteCount: Int
        /// Which of the keys in `order` is its own.
        let number: Int
    }

    static let longest: UInt32 = 3_600
    static let shortest: UInt32 = 1

    private let entryLimit: Int
    private let limitBytes: Int
    private var entries: [Key: Entry] = [:]
    /// The keys in the order in which their entries came; those of replaced entries too.
    private var order: [Key] = []
    private var firstNumber = 0
    private var head = 0
    private(set) var byteCount = 0

    init(entryLimit: Int = 10_000, limitBytes: Int = 16 << 20) {
        self.entryLimit = entryLimit
        self.limitBytes = limitBytes
    }

    var count: Int { entries.count }

    /// What is known; the TTLs are what is left of them.
    mutating func outcome(
        of question: DNSQuestion, now: MonotonicInstant
    ) -> Result<DNSAnswer, DNSLookupError>? {
        let key = Key(question)
        guard let entry = entries[key] else { return nil }
        guard now < entry.end else {
            remove(key)
            return nil
        }
        return entry.outcome.map { answer in
            var answer = answer
            answer.isCached = true
            answer.question = question
            let age = UInt32(clamping: entry.arrival.duration(to: now).components.seconds)
            for index in answer.records.indices {
                answer.records[index].ttlSeconds -= min(age, answer.records[index].ttlSeconds)
            }
            return answer
        }
    }

    /// Keeps an outcome, if it is one that may be kept.
    mutating func keep(
        _ outcome: Result<DNSAnswer, DNSLookupError>, for question: DNSQuestion,
        now: MonotonicInstant
    ) {
        let ttl: UInt32
        let size: Int
        switch outcome {
        case .success(let answer):
            ttl = answer.records.map(\.ttlSeconds).min() ?? 0
            size =
                answer.records.reduce(0) { $0 + $1.memoryByteCount }
                + answer.aliases.reduce(0) { $0 + 64 + $1.wire.count }
        case .failure(let error):
            guard let seconds = error.negativeTTLSeconds else { return }
            ttl = seconds
            size = 0
        }
        let key = Key(question)
        let byteCount = 256 + key.name.count + size
        guard byteCount <= limitBytes else { return }
        remove(key)
        let seconds = min(max(ttl, Self.shortest), Self.longest)
        entries[key] = Entry(
            outcome: outcome, arrival: now, end: now.advanced(by: .seconds(Int64(seconds))),
            byteCount: byteCount, number: firstNumber + order.count)
        order.append(key)
        self.byteCount += byteCount
        while entries.count > entryLimit || self.byteCount > limitBytes { removeOldest() }
        compact()
    }

    mutating func removeAll() { self = DNSCache(entryLimit: entryLimit, limitBytes: limitBytes) }

    func checkInvariants() {
        require(entries.count <= entryLimit, "DNSCache: \(entries.count) entries")
        require(
            byteCount == entries.values.reduce(0) { $0 + $1.byteCount } && byteCount <= limitBytes,
            "DNSCache: \(byteCount) bytes are counted")
        require(order.count - head >= entries.count, "DNSCache: an entry can never leave")
        require(
            order.count <= 17 + 2 * entryLimit, "DNSCache: \(order.count) keys in order")
    }

    private mutating func remove(_ key: Key) {
        guard let entry = entries.removeValue(forKey: key) else { return }
        byteCount -= entry.byteCount
    }

    private mutating func removeOldest() {
        let key = order[head]
        let number = firstNumber + head
        head += 1
        if entries[key]?.number == number { remove(key) }
    }

    /// Drops the keys of entries that are no more, when they are half of all.
    private mutating func compact() {
        guard order.count > 16, order.count > 2 * entries.count else { return }
        var kept: [Key] = []
        kept.reserveCapacity(entries.count)
        for index in head..<order.count where entries[order[index]]?.number == firstNumber + index {
            kept.append(order[index])
        }
        // Numbers go on, so that those of entries rise in the order of `order`.
        firstNumber += order.count
        order = kept
        head = 0
        for (index, key) in kept.enumerated() {
            guard let entry = entries[key] else { continue }
            entries[key] = Entry(
                outcome: entry.outcome, arrival: entry.arrival, end: entry.end,
                byteCount: entry.byteCount, number: firstNumber + index)
        }
    }
}

extension DNSRecord {
    /// About what it takes in memory.
    fileprivate var memoryByteCount: Int {
        let rest =
            switch data {
            case .a, .aaaa: 0
            case .cname(let name), .ns(let name), .ptr(let name), .mx(_, let name),
                .srv(_, _, _, let name):
                name.wire.count
            case .txt(let texts): texts.reduce(0) { $0 + 64 + $1.count }
            case .soa(let zone): zone.primary.wire.count + zone.mailbox.wire.count
            case .caa(_, let tag, let value): tag.count + value.count
            case .svcb(let binding), .https(let binding):
                binding.parameters.reduce(binding.target.wire.count) { $0 + 64 + $1.value.count }
            case .other(_, let bytes): bytes.count
            }
        return 160 + name.wire.count + rest
    }
}
