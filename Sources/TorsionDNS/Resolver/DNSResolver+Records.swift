// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Where a service is: what an SRV record says.
public struct DNSService: Hashable, Sendable {
    /// The host that has it.
    public var target: DNSName
    /// Its port there.
    public var port: UInt16
    /// The lowest is tried first.
    public var priority: UInt16
    /// How often it is to be drawn among those of its priority.
    public var weight: UInt16
    /// How long this may be kept, in seconds.
    public var ttlSeconds: UInt32
}

/// Where mail for a domain goes: what an MX record says.
public struct DNSMailExchanger: Hashable, Sendable {
    /// The host that takes it.
    public var exchange: DNSName
    /// The lowest is tried first.
    public var preference: UInt16
    /// How long this may be kept, in seconds.
    public var ttlSeconds: UInt32
}

extension DNSResolver {
    /// The records of a type that a name has, with their TTLs.
    ///
    /// - Parameters:
    ///   - type: Which records.
    ///   - name: Taken as it is, without a search list: see ``DNSName``.
    /// - Returns: At least one record; or ``DNSLookupError``, for a text that is not a name an
    ///   `IOError`.
    public func records(_ type: DNSRecordType, of name: String) -> Deferred<[DNSRecord]> {
        reactor.checkThread()
        guard let name = DNSName(name) else {
            let error = IOError(.resolve, function: "", code: .invalidArgument, subject: name)
            return .failed(error, on: reactor)
        }
        return lookUp(DNSQuestion(name: name, type: type)).addCallback { $0.records }
    }

    /// Where a service of a domain is: RFC 2782.
    ///
    ///     dns.services("_xmpp-client._tcp", of: "example.org")
    ///
    /// - Parameters:
    ///   - service: The service and its protocol, each behind an underscore.
    ///   - domain: Whose service.
    /// - Returns: At least one place, in the order in which to try them: by priority, and drawn by
    ///   weight anew at each call. It fails with ``DNSLookupError``, also if the domain says that it
    ///   does not have the service (the target `.`).
    public func services(_ service: String, of domain: String) -> Deferred<[DNSService]> {
        records(.srv, of: "\(service).\(domain)").addCallback { [self] records in
            let services = records.compactMap { record -> DNSService? in
                guard case .srv(let priority, let weight, let port, let target) = record.data,
                    !target.isRoot
                else { return nil }
                return DNSService(
                    target: target, port: port, priority: priority, weight: weight,
                    ttlSeconds: record.ttlSeconds)
            }
            guard !services.isEmpty else {
                throw IOError(
                    .resolve, function: "", code: .noAddress, subject: "\(service).\(domain)")
            }
            return DNSService.ordered(services, numbers: try randomNumbers(services.count))
        }
    }

    private func randomNumbers(_ count: Int) throws(IOError) -> [UInt64] {
        guard count > 1 else { return [UInt64](repeating: 0, count: count) }
        let bytes = try reactor.randomBytes(count: 8 * count)
        return (0..<count).map { index in
            bytes[8 * index..<8 * index + 8].reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    /// The texts of a name; the parts of each are joined, as RFC 7208 §3.3 wants it.
    ///
    /// - Parameter name: Taken as it is, without a search list.
    /// - Returns: At least one text, of any bytes; or ``DNSLookupError``.
    public func texts(of name: String) -> Deferred<[Bytes]> {
        records(.txt, of: name).addCallback { records in
            records.compactMap { record in
                guard case .txt(let parts) = record.data else { return nil }
                return Bytes(joining: parts)
            }
        }
    }

    /// Where mail for a domain goes, in the order in which to try.
    ///
    /// - Parameter domain: Taken as it is, without a search list.
    /// - Returns: At least one host; or ``DNSLookupError``. A single `.` says that the domain does
    ///   not take mail: RFC 7505.
    public func mailExchangers(of domain: String) -> Deferred<[DNSMailExchanger]> {
        records(.mx, of: domain).addCallback { records in
            records.compactMap { record -> DNSMailExchanger? in
                guard case .mx(let preference, let exchange) = record.data else { return nil }
                return DNSMailExchanger(
                    exchange: exchange, preference: preference, ttlSeconds: record.ttlSeconds)
            }.sorted { $0.preference < $1.preference }
        }
    }

    /// The names of an address: those of `hosts(5)`, else those that PTR records say.
    ///
    /// - Parameter address: Its port does not matter.
    /// - Returns: At least one name; or ``DNSLookupError``, for a UNIX address an `IOError`.
    public func pointers(of address: SocketAddress) -> Deferred<[DNSName]> {
        let known = configuration.hosts.names(of: address)
        if !known.isEmpty { return .succeeded(known, on: reactor) }
        guard let name = DNSName(reverse: address) else {
            let error = IOError(.resolve, function: "", code: .noAddress, subject: address)
            return .failed(error, on: reactor)
        }
        return lookUp(DNSQuestion(name: name, type: .ptr)).addCallback { answer in
            answer.records.compactMap { record in
                guard case .ptr(let name) = record.data else { return nil }
                return name
            }
        }
    }
}

extension DNSService {
    /// By priority, and within one drawn by weight: RFC 2782, "Weight".
    ///
    /// `numbers`: One for each, which nobody can predict.
    static func ordered(_ services: [DNSService], numbers: [UInt64]) -> [DNSService] {
        var numbers = numbers[...]
        var result: [DNSService] = []
        let priorities = Set(services.map(\.priority)).sorted()
        for priority in priorities {
            // Those of weight 0 first, so that they have a small chance.
            var rest = services.filter { $0.priority == priority }.sorted { $0.weight < $1.weight }
            while !rest.isEmpty {
                let sum = rest.reduce(0) { $0 + UInt64($1.weight) }
                let draw = (numbers.popFirst() ?? 0) % (sum + 1)
                var reached: UInt64 = 0
                let index = rest.firstIndex { service in
                    reached += UInt64(service.weight)
                    return reached >= draw
                }
                result.append(rest.remove(at: index ?? 0))
            }
        }
        return result
    }
}
