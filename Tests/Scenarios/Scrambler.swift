// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore

/// A layer that does to bytes what TLS does to them: each is changed by its position in the stream,
/// and what an event writes is kept until its end.
///
/// So a byte that is lost, doubled or out of order makes nonsense of all behind it, and whatever
/// overtakes the kept bytes is found.
final class Scrambler: StreamLayer {
    private let key: UInt8
    private var writtenCount = 0
    private var readCount = 0
    private var kept: [UInt8] = []

    init(above: any StreamProtocol, key: UInt8) {
        self.key = key
        super.init(above: above)
    }

    /// So many of them, one above the other.
    static func layers(_ count: Int, above: any StreamProtocol) -> any StreamProtocol {
        (0..<count).reduce(above) { Scrambler(above: $0, key: UInt8($1 * 77 + 5)) }
    }

    private func scramble(_ bytes: RawSpan, from start: Int) -> [UInt8] {
        var result = [UInt8](bytes)
        for index in result.indices {
            result[index] ^= key &+ UInt8(truncatingIfNeeded: (start + index) &* 31)
        }
        return result
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        let plain = Bytes(scramble(bytes, from: readCount))
        readCount += plain.count
        try deliver(plain.span)
    }

    override func write(_ bytes: RawSpan) {
        guard bytes.byteCount > 0 else { return }
        kept += bytes
        reactor.flushAtEndOfEvent(self)
    }

    override func write(_ bytes: Bytes) { write(bytes.span) }

    /// What was kept goes before whatever depends on its being sent.
    private func pass() {
        guard !kept.isEmpty else { return }
        let bytes = Bytes(kept)
        kept = []
        let scrambled = Bytes(scramble(bytes.span, from: writtenCount))
        writtenCount += scrambled.count
        super.write(scrambled)
    }

    override func loseConnection() {
        pass()
        super.loseConnection()
    }

    override func loseWriteConnection() {
        pass()
        super.loseWriteConnection()
    }

    override func unregisterProducer() {
        pass()
        super.unregisterProducer()
    }

    override func flush() {
        pass()
        super.flush()
    }
}
