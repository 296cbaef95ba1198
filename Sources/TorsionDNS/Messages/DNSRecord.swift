// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A record: what a name has, and for how long that may be kept.
public struct DNSRecord: Hashable, Sendable {
    /// Whose record it is.
    public var name: DNSName
    /// The class: 1, that of the Internet, everywhere but in curiosities.
    public var classNumber: UInt16
    /// How long it may be kept, in seconds: 0 to 2,147,483,647.
    ///
    /// A larger number counts as 0 when it is read (RFC 2181 §8).
    public var ttlSeconds: UInt32
    /// The record's value.
    public var data: DNSRecordValue

    /// A record.
    ///
    /// - Parameters:
    ///   - name: Whose record it is.
    ///   - ttlSeconds: How long it may be kept.
    ///   - data: The value, and so the type.
    ///   - classNumber: 1 is the Internet.
    public init(name: DNSName, ttlSeconds: UInt32, data: DNSRecordValue, classNumber: UInt16 = 1) {
        self.name = name
        self.classNumber = classNumber
        self.ttlSeconds = ttlSeconds
        self.data = data
    }

    /// Its type, which follows from the data.
    public var type: DNSRecordType { data.type }
}

/// The value of a record, by its type.
@nonexhaustive
public enum DNSRecordValue: Hashable, Sendable {
    /// An IPv4 address.
    case a(IPv4Address)
    /// An IPv6 address, without a scope.
    case aaaa(IPv6Address)
    /// The name that this name stands for.
    case cname(DNSName)
    /// A name server of the zone.
    case ns(DNSName)
    /// The name of an address.
    case ptr(DNSName)
    /// Where mail goes: the lowest preference first.
    case mx(preference: UInt16, exchange: DNSName)
    /// Where a service is: the lowest priority first, equal ones drawn by weight.
    case srv(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName)
    /// One text or more, each of at most 255 bytes.
    case txt([Bytes])
    /// The start of the zone.
    case soa(DNSZoneStart)
    /// The authorities that may issue certificates: `issue`, `issuewild`, `iodef` and their values.
    case caa(flags: UInt8, tag: Bytes, value: Bytes)
    /// How a service is reached.
    case svcb(DNSServiceBinding)
    /// How an HTTP server is reached.
    case https(DNSServiceBinding)
    /// A record of any other type, or of another class than the Internet's.
    case other(DNSRecordType, Bytes)

    /// The type of such a record.
    public var type: DNSRecordType {
        switch self {
        case .a: .a
        case .aaaa: .aaaa
        case .cname: .cname
        case .ns: .ns
        case .ptr: .ptr
        case .mx: .mx
        case .srv: .srv
        case .txt: .txt
        case .soa: .soa
        case .caa: .caa
        case .svcb: .svcb
        case .https: .https
        case .other(let type, _): type
        }
    }
}

/// The start of a zone, RFC 1035 §3.3.13; times are in seconds.
public struct DNSZoneStart: Hashable, Sendable {
    /// The primary name server.
    public var primary: DNSName
    /// The mailbox of the person responsible, with a dot for the `@`.
    public var mailbox: DNSName
    /// The version of the zone.
    public var serial: UInt32
    /// After how long a secondary server looks for a new version.
    public var refreshSeconds: UInt32
    /// After how long it tries again.
    public var retrySeconds: UInt32
    /// After how long without success it stops answering.
    public var expireSeconds: UInt32
    /// How long a negative answer may be kept: RFC 2308 §4.
    public var minimumSeconds: UInt32

    /// The start of a zone.
    ///
    /// - Parameters:
    ///   - primary: The primary name server.
    ///   - mailbox: Of the responsible, with a dot for the `@`.
    ///   - serial: The version.
    ///   - refreshSeconds: After how long a secondary looks for a new version.
    ///   - retrySeconds: After how long it tries again.
    ///   - expireSeconds: After how long without success it stops answering.
    ///   - minimumSeconds: How long a negative answer may be kept.
    public init(
        primary: DNSName, mailbox: DNSName, serial: UInt32, refreshSeconds: UInt32,
        retrySeconds: UInt32, expireSeconds: UInt32, minimumSeconds: UInt32
    ) {
        self.primary = primary
        self.mailbox = mailbox
        self.serial = serial
        self.refreshSeconds = refreshSeconds
        self.retrySeconds = retrySeconds
        self.expireSeconds = expireSeconds
        self.minimumSeconds = minimumSeconds
    }
}

/// How a service is reached: RFC 9460 §2.
public struct DNSServiceBinding: Hashable, Sendable {
    /// 0 stands for an alias; else the lowest comes first.
    public var priority: UInt16
    /// Where the service is; the root stands for the record's own name; in an alias it says that
    /// the service does not exist.
    public var target: DNSName
    /// The parameters by their keys, which rise: RFC 9460 §14.3.2.
    public var parameters: [Parameter]

    /// One parameter.
    public struct Parameter: Hashable, Sendable {
        /// 1 is `alpn`, 3 `port`, 4 `ipv4hint`, 6 `ipv6hint`.
        public var key: UInt16
        /// Any bytes, by the key.
        public var value: Bytes

        /// A parameter.
        ///
        /// - Parameters:
        ///   - key: Its number.
        ///   - value: At most 65,535 bytes.
        public init(key: UInt16, value: Bytes) {
            self.key = key
            self.value = value
        }
    }

    /// A binding.
    ///
    /// - Parameters:
    ///   - priority: 0 stands for an alias.
    ///   - target: Where the service is.
    ///   - parameters: Whose keys rise, each once: others cannot be sent.
    public init(priority: UInt16, target: DNSName, parameters: [Parameter] = []) {
        self.priority = priority
        self.target = target
        self.parameters = parameters
    }

    private func value(_ key: UInt16) -> Bytes? { parameters.first { $0.key == key }?.value }

    /// The application protocols that the service speaks, key 1; empty if they are malformed.
    public var applicationProtocols: [Bytes] {
        guard let value = value(1) else { return [] }
        var reader = value.reader
        var found: [Bytes] = []
        while !reader.isAtEnd {
            guard let count = try? reader.readByte(), count > 0,
                let name = try? reader.readBytes(count)
            else { return [] }
            found.append(name)
        }
        return found
    }

    /// The port: key 3; nil without the key.
    public var port: UInt16? {
        guard let value = value(3), value.count == 2 else { return nil }
        return value.span.integer(at: 0, as: UInt16.self)
    }

    /// IPv4 addresses to try before those of the target are known: key 4.
    public var ipv4Hints: [IPv4Address] {
        guard let value = value(4), value.count % 4 == 0 else { return [] }
        return stride(from: 0, to: value.count, by: 4).compactMap { position in
            value.span.integer(at: position, as: UInt32.self).map { IPv4Address(bits: $0) }
        }
    }

    /// IPv6 addresses to try before those of the target are known: key 6.
    public var ipv6Hints: [IPv6Address] {
        guard let value = value(6), value.count % 16 == 0 else { return [] }
        return stride(from: 0, to: value.count, by: 16).compactMap { position in
            guard let high = value.span.integer(at: position, as: UInt64.self),
                let low = value.span.integer(at: position + 8, as: UInt64.self)
            else { return nil }
            return IPv6Address(high: high, low: low)
        }
    }
}

extension DNSRecord: CustomStringConvertible {
    /// As zone files have it, in printable ASCII: `example.org. 300 A 192.0.2.1`.
    public var description: String {
        let place = classNumber == 1 ? "" : "CLASS\(classNumber) "
        return "\(name) \(ttlSeconds) \(place)\(type) \(data)"
    }
}

extension DNSRecordValue: CustomStringConvertible {
    /// The data as zone files have it, in printable ASCII.
    public var description: String {
        switch self {
        case .a(let address): "\(address)"
        case .aaaa(let address): "\(address)"
        case .cname(let name), .ns(let name), .ptr(let name): "\(name)"
        case .mx(let preference, let exchange): "\(preference) \(exchange)"
        case .srv(let priority, let weight, let port, let target):
            "\(priority) \(weight) \(port) \(target)"
        case .txt(let texts): texts.map(quoted).joined(separator: " ")
        case .soa(let zone):
            "\(zone.primary) \(zone.mailbox) \(zone.serial) \(zone.refreshSeconds)"
                + " \(zone.retrySeconds) \(zone.expireSeconds) \(zone.minimumSeconds)"
        case .caa(let flags, let tag, let value): "\(flags) \(tag) \(quoted(value))"
        case .svcb(let binding), .https(let binding): "\(binding)"
        case .other(_, let bytes): "\\# \(bytes.count) \(hexadecimal(bytes))"
        }
    }
}

extension DNSServiceBinding: CustomStringConvertible {
    /// As zone files have it: RFC 9460 §2.1.
    public var description: String {
        var words = ["\(priority)", "\(target)"]
        for parameter in parameters {
            switch parameter.key {
            case 1 where !applicationProtocols.isEmpty:
                words.append("alpn=" + applicationProtocols.map { "\($0)" }.joined(separator: ","))
            case 3 where port != nil: words.append("port=\(port ?? 0)")
            case 4 where !ipv4Hints.isEmpty:
                words.append("ipv4hint=" + ipv4Hints.map { "\($0)" }.joined(separator: ","))
            case 6 where !ipv6Hints.isEmpty:
                words.append("ipv6hint=" + ipv6Hints.map { "\($0)" }.joined(separator: ","))
            case let key where parameter.value.isEmpty: words.append("key\(key)")
            case let key: words.append("key\(key)=\(quoted(parameter.value))")
            }
        }
        return words.joined(separator: " ")
    }
}

/// Bytes in quotes, what is not printable by its number: RFC 1035 §5.1.
private func quoted(_ bytes: Bytes) -> String {
    var text = "\""
    for byte in bytes {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += "\\\(UnicodeScalar(byte))"
        case 0x20...0x7e: text += "\(UnicodeScalar(byte))"
        default:
            text += "\\" + byte.threeDigits
        }
    }
    return text + "\""
}

private func hexadecimal(_ bytes: Bytes) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
