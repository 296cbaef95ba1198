// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore

/// A filter that does to bytes what TLS does to them: it agrees with its peer first, changes each byte by
/// its position in the stream, and takes what is written in records of bounded size.
///
/// So a byte that is lost, doubled or out of order makes nonsense of all behind it, and whatever
/// overtakes what the filter holds is found.
final class Scrambler: StreamFilter {
    private static let recordByteCount = 1_000
    /// Sent by both sides first, scrambled as everything is.
    private static let greeting = Bytes("scrambled\n")

    private let key: UInt8
    private var writtenCount = 0
    private var readCount = 0
    private var greeting: [UInt8] = []

    init(key: UInt8) {
        self.key = key
        super.init()
    }

    /// So many of them, one above the other.
    static func makers(_ count: Int) -> [FilterMaker] {
        (0..<count).map { index in { Scrambler(key: UInt8(index * 77 + 5)) } }
    }

    private func scramble(_ bytes: RawSpan, from start: Int) -> Bytes {
        var result = [UInt8](bytes)
        for index in result.indices {
            result[index] ^= key &+ UInt8(truncatingIfNeeded: (start + index) &* 31)
        }
        return Bytes(result)
    }

    private func sendScrambled(_ bytes: RawSpan) {
        send(scramble(bytes, from: writtenCount))
        writtenCount += bytes.byteCount
    }

    override func begin() { sendScrambled(Self.greeting.span) }

    override func receive(_ bytes: RawSpan) throws {
        let plain = scramble(bytes, from: readCount)
        readCount += plain.count
        guard !hasAgreed else { return deliver(plain.span) }
        greeting += [UInt8](plain.span)
        let count = Self.greeting.count
        guard greeting.count >= count else { return }
        guard Bytes(Array(greeting[..<count])) == Self.greeting else {
            throw Violation(description: "no greeting")
        }
        agree()
        deliver(Bytes(Array(greeting[count...])).span)
        greeting = []
    }

    override func transmit(_ bytes: RawSpan) -> Int {
        let count = min(bytes.byteCount, Self.recordByteCount)
        sendScrambled(bytes.extracting(..<count))
        return count
    }
}

extension StreamServerEndpoint {
    /// The same with so many scramblers under each connection.
    func scrambled(_ count: Int) -> any StreamServerEndpoint {
        Scrambler.makers(count).reduce(self as any StreamServerEndpoint) { $0.filtered(by: $1) }
    }
}

extension StreamClientEndpoint {
    /// The same with so many scramblers under each connection.
    func scrambled(_ count: Int) -> any StreamClientEndpoint {
        Scrambler.makers(count).reduce(self as any StreamClientEndpoint) { $0.filtered(by: $1) }
    }
}
