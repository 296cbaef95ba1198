// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// SHA-256, FIPS 180-4 §6.2.
struct SHA256 {
    private static let constants: [UInt32] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4,
        0xab1c_5ed5, 0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe,
        0x9bdc_06a7, 0xc19b_f174, 0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f,
        0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da, 0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7,
        0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967, 0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc,
        0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85, 0xa2bf_e8a1, 0xa81a_664b,
        0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070, 0x19a4_c116,
        0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7,
        0xc671_78f2,
    ]

    private var state: [UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab,
        0x5be0_cd19,
    ]
    private var block: [UInt8] = []
    private var byteCount: UInt64 = 0

    mutating func add(_ bytes: ArraySlice<UInt8>) {
        byteCount += UInt64(bytes.count)
        var rest = bytes
        while block.count + rest.count >= 64 {
            let taken = 64 - block.count
            block += rest.prefix(taken)
            rest = rest.dropFirst(taken)
            compress()
            block.removeAll(keepingCapacity: true)
        }
        block += rest
    }

    /// The digest, as 64 hexadecimal digits.
    mutating func finish() -> String {
        let bits = byteCount * 8
        var padding: [UInt8] = [0x80]
        let used = (block.count + 9) % 64
        padding += [UInt8](repeating: 0, count: used == 0 ? 0 : 64 - used)
        for shift in stride(from: 56, through: 0, by: -8) {
            padding.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
        }
        add(padding[...])
        return state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    private mutating func compress() {
        func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 {
            word >> count | word << (32 - count)
        }
        var words = [UInt32](repeating: 0, count: 64)
        for index in 0..<16 {
            words[index] =
                UInt32(block[4 * index]) << 24 | UInt32(block[4 * index + 1]) << 16
                | UInt32(block[4 * index + 2]) << 8 | UInt32(block[4 * index + 3])
        }
        for index in 16..<64 {
            let (early, late) = (words[index - 15], words[index - 2])
            let first = rotate(early, 7) ^ rotate(early, 18) ^ early >> 3
            let second = rotate(late, 17) ^ rotate(late, 19) ^ late >> 10
            words[index] = words[index - 16] &+ first &+ words[index - 7] &+ second
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let sum = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
            let choice = e & f ^ ~e & g
            let first = h &+ sum &+ choice &+ Self.constants[index] &+ words[index]
            let other = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
            let majority = a & b ^ a & c ^ b & c
            (h, g, f, e) = (g, f, e, d &+ first)
            (d, c, b, a) = (c, b, a, first &+ other &+ majority)
        }
        for (index, word) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= word }
    }

    /// The digest of a part of a file, read again from the disk.
    ///
    /// - Throws: `IOError` if it cannot be read.
    static func ofFile(_ path: String, offset: Int64 = 0, byteCount: Int) throws(IOError) -> String
    {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw IOError.ofFile("open", path) }
        defer { close(descriptor) }
        var digest = SHA256()
        var position = offset
        var left = byteCount
        var bytes = [UInt8](repeating: 0, count: 1 << 18)
        while left > 0 {
            let count = pread(descriptor, &bytes, min(bytes.count, left), Int(position))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw IOError.ofFile("pread", path) }
            guard count > 0 else { break }
            digest.add(bytes[..<count])
            position += Int64(count)
            left -= count
        }
        return digest.finish()
    }
}

extension IOError {
    /// What `errno` tells of a file now.
    static func ofFile(
        _ function: String, _ path: String, _ operation: IOError.Operation = .open
    ) -> IOError {
        let code: ErrorCode =
            switch errno {
            case ENOENT: .noSuchFile
            case EACCES: .accessDenied
            case EPERM: .notPermitted
            case EEXIST: .fileExists
            case EISDIR: .isDirectory
            case ENOTDIR: .notDirectory
            case ENOSPC: .noSpace
            case EROFS: .readOnlyFileSystem
            case EPIPE: .brokenPipe
            case EBADF: .badDescriptor
            case let number: .other(number)
            }
        return IOError(operation, function: function, code: code, subject: path)
    }
}

/// How far a transfer is: one line on a terminal, drawn again each tenth of a second; nothing elsewhere.
final class ProgressLine {
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let start = ContinuousClock.now
    private var drawn: ContinuousClock.Instant?

    /// Draws it, if it is time to.
    ///
    /// - Parameters:
    ///   - done: Bytes so far.
    ///   - whole: Bytes in all, 0 if nobody knows.
    func show(_ done: Int64, _ whole: Int64) {
        guard isTerminal else { return }
        let now = ContinuousClock.now
        if let drawn, now - drawn < .milliseconds(100), done < whole || whole == 0 { return }
        drawn = now
        let rate = Double(done) / max(0.001, (now - start) / .seconds(1))
        var text = Self.bytes(Double(done))
        if whole > 0 {
            let percent = Int(Double(done) / Double(whole) * 100)
            text = "\(percent) % of \(Self.bytes(Double(whole)))"
        }
        text += ", \(Self.bytes(rate))/s"
        if whole > 0, rate > 0 {
            text += ", \(Int((Double(whole - done) / rate).rounded(.up))) s left"
        }
        _ = writeStandardError("\r\u{1b}[K" + text)
    }

    /// Wipes it.
    func clear() {
        if drawn != nil { _ = writeStandardError("\r\u{1b}[K") }
        drawn = nil
    }

    private static func bytes(_ count: Double) -> String {
        var count = count
        for unit in ["bytes", "KiB", "MiB", "GiB"] {
            if count < 1_024 {
                return unit == "bytes"
                    ? "\(Int(count)) bytes" : "\((count * 10).rounded() / 10) \(unit)"
            }
            count /= 1_024
        }
        return "\((count * 10).rounded() / 10) TiB"
    }
}
