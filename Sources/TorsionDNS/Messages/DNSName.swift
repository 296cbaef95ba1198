// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A domain name: labels of 1 to 63 bytes, together at most 255 bytes on the wire.
///
/// A plain value, usable on any thread. Names are equal whatever the case of their ASCII letters
/// (RFC 4343), and keep the case in which they were written.
///
///     DNSName("Example.org")! == DNSName("example.ORG.")!    // true
///     DNSName("a..b")                                        // nil
///
/// Text is that of zone files (RFC 1035 §5.1): `\.` is a dot within a label, `\032` the byte 32. A
/// final dot may be left out; every name is absolute. Bytes beyond ASCII are taken as they are, and
/// names are not converted to Punycode (IDNA).
public struct DNSName: Sendable {
    /// Each label behind its length, without the empty label of the root.
    let wire: [UInt8]

    /// The longest name on the wire, the root's empty label included: RFC 1035 §2.3.4.
    static let maximumByteCount = 255
    /// The longest label: RFC 1035 §2.3.4.
    static let maximumLabelByteCount = 63

    /// Makes a name whose labels have been checked.
    init(checkedWire wire: [UInt8]) { self.wire = wire }

    /// The name of the root, `.`.
    public static let root = DNSName(checkedWire: [])

    /// Makes a name of labels, the first of which is the leftmost.
    ///
    /// - Parameter labels: Any bytes; nil if one is empty or too long, or all are too long together.
    public init?(labels: [[UInt8]]) {
        var wire: [UInt8] = []
        for label in labels {
            guard (1...Self.maximumLabelByteCount).contains(label.count) else { return nil }
            wire.append(UInt8(label.count))
            wire += label
            guard wire.count < Self.maximumByteCount else { return nil }
        }
        self.wire = wire
    }

    /// The labels, without the root's.
    public var labels: [[UInt8]] {
        var labels: [[UInt8]] = []
        var start = 0
        while start < wire.count {
            let end = start + 1 + Int(wire[start])
            labels.append(Array(wire[start + 1..<end]))
            start = end
        }
        return labels
    }

    /// How many labels there are, without the root's.
    public var labelCount: Int {
        var count = 0
        var start = 0
        while start < wire.count {
            start += 1 + Int(wire[start])
            count += 1
        }
        return count
    }

    /// Whether this is the root.
    public var isRoot: Bool { wire.isEmpty }

    /// The name without its first label; the root's is the root.
    public var parent: DNSName {
        isRoot ? self : DNSName(checkedWire: Array(wire[(1 + Int(wire[0]))...]))
    }

    /// This name followed by the labels of another: `a.b` and `example.org` give `a.b.example.org`.
    ///
    /// - Parameter suffix: The labels to append.
    /// - Returns: nil if the whole is too long.
    public func followed(by suffix: DNSName) -> DNSName? {
        guard wire.count + suffix.wire.count < Self.maximumByteCount else { return nil }
        return DNSName(checkedWire: wire + suffix.wire)
    }

    /// Whether this name is another or ends in it: `a.example.org` is within `example.org`.
    ///
    /// - Parameter other: The domain.
    /// - Returns: Whether it does, the case of ASCII letters left out.
    public func isWithin(_ other: DNSName) -> Bool {
        var name = self
        while name.wire.count > other.wire.count { name = name.parent }
        return name == other
    }

    /// Whether the labels are the same bytes, letters' case included.
    ///
    /// A resolver that sends letters in random case takes only an answer that repeats it.
    ///
    /// - Parameter other: Compared byte by byte.
    /// - Returns: Whether they are.
    public func isIdentical(to other: DNSName) -> Bool { wire == other.wire }

    /// The same with small letters: a key that does not depend on case.
    var lowercased: [UInt8] {
        // A length is below 64, and so no letter.
        wire.map(\.asciiLowercased)
    }

    /// The name under which an address is looked up in reverse: RFC 1035 §3.5, RFC 3596 §2.5.
    ///
    ///     DNSName(reverse: .ipv4(IPv4Address(192, 0, 2, 1), port: 0))    // 1.2.0.192.in-addr.arpa
    ///
    /// - Parameter address: Its port does not matter; nil for a UNIX address.
    public init?(reverse address: SocketAddress) {
        switch address {
        case .ipv4(let address, _):
            let bytes = (0..<4).map { "\(address.bits >> UInt32(8 * $0) & 0xff)" }
            self.init(bytes.joined(separator: ".") + ".in-addr.arpa")
        case .ipv6(let address, _):
            let digits = [address.low, address.high].flatMap { half in
                (0..<16).map { String(half >> UInt64(4 * $0) & 0xf, radix: 16) }
            }
            self.init(digits.joined(separator: ".") + ".ip6.arpa")
        case .unix, .descriptor: return nil
        }
    }
}

extension UInt8 {
    /// The number in three decimal digits, as zone files have it behind a backslash.
    var threeDigits: String { (self < 10 ? "00" : self < 100 ? "0" : "") + "\(self)" }
}

extension DNSName: Hashable {
    /// Whether the labels are the same but for the case of ASCII letters.
    ///
    /// - Parameters:
    ///   - left: A name.
    ///   - right: Another name.
    /// - Returns: Whether they name the same.
    public static func == (left: DNSName, right: DNSName) -> Bool {
        guard left.wire.count == right.wire.count else { return false }
        return zip(left.wire, right.wire).allSatisfy { $0.asciiLowercased == $1.asciiLowercased }
    }

    /// Equal names have equal hashes.
    ///
    /// - Parameter hasher: Fed with the labels in lower case.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(wire.count)
        for byte in wire { hasher.combine(byte.asciiLowercased) }
    }
}

extension DNSName: LosslessStringConvertible {
    /// Reads a name as zone files have it, with or without the final dot.
    ///
    /// - Parameter text: nil if a label is empty or of more than 63 bytes, the name of more than 255
    ///   on the wire, or an escape is cut.
    public init?(_ text: String) {
        if text == "." {
            self = .root
            return
        }
        var labels: [[UInt8]] = [[]]
        var bytes = Array(text.utf8)[...]
        guard bytes.count <= 4 * Self.maximumByteCount else { return nil }
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: "."): labels.append([])
            case UInt8(ascii: "\\"):
                guard let escaped = Self.unescape(&bytes) else { return nil }
                labels[labels.count - 1].append(escaped)
            default: labels[labels.count - 1].append(byte)
            }
        }
        if labels.count > 1, labels.last == [] { labels.removeLast() }
        self.init(labels: labels)
    }

    /// What stands behind a backslash: three digits, or any byte that is none.
    private static func unescape(_ bytes: inout ArraySlice<UInt8>) -> UInt8? {
        guard let first = bytes.popFirst() else { return nil }
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else { return first }
        guard let second = bytes.popFirst(), let third = bytes.popFirst() else { return nil }
        var value = 0
        for digit in [first, second, third] {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return UInt8(exactly: value)
    }

    /// The labels with a dot behind each, in printable ASCII: `example.org.`; the root is `.`.
    public var description: String {
        guard !isRoot else { return "." }
        return labels.map { label in label.map(Self.escaped).joined() + "." }.joined()
    }

    private static func escaped(_ byte: UInt8) -> String {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: ";"),
            UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "@"), UInt8(ascii: "$"):
            "\\" + String(UnicodeScalar(byte))
        case 0x21...0x7e: String(UnicodeScalar(byte))
        default: "\\" + byte.threeDigits
        }
    }
}
