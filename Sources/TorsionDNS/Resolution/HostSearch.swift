// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Which names are asked for, one after the other, to find the addresses of a host.
///
/// Pure: answers go in, actions come out. Both families are asked for at once.
///
/// A name with as many dots as `ndots` asks, or a final one, is asked for as it is, then with each
/// search domain; any other with the search domains first (`resolv.conf(5)`). The first name that
/// has an address of either family ends the search.
struct HostSearch {
    enum Action: Equatable {
        /// Ask for the addresses of both families.
        case ask(DNSName)
        /// These are of one family; the other may follow.
        case found([SocketAddress])
        case finish(Result<[SocketAddress], DNSLookupError>)
    }

    private let port: UInt16
    private var candidates: ArraySlice<DNSName>
    private var addresses: [SocketAddress] = []
    private var pending: [DNSRecordType] = []
    private var failure: DNSLookupError?

    /// nil for a text that is no name.
    init?(_ host: String, port: UInt16, _ configuration: DNSConfiguration) {
        guard let name = DNSName(host), !name.isRoot else { return nil }
        self.port = port
        let isAbsolute = host.utf8.last == UInt8(ascii: ".")
        let searched =
            isAbsolute ? [] : configuration.searchDomains.compactMap { name.followed(by: $0) }
        let isPlainFirst = name.labelCount - 1 >= configuration.dotThreshold
        candidates = (isPlainFirst ? [name] + searched : searched + [name])[...]
    }

    mutating func start() -> Action { next() }

    mutating func answered(
        _ type: DNSRecordType, _ outcome: Result<DNSAnswer, DNSLookupError>
    ) -> [Action] {
        guard let index = pending.firstIndex(of: type) else { return [] }
        pending.remove(at: index)
        var actions: [Action] = []
        switch outcome {
        case .success(let answer):
            let found = answer.records.compactMap { $0.data.address(port: port) }
            addresses += found
            if !found.isEmpty { actions.append(.found(found)) }
        case .failure(let error):
            if error.outweighs(failure) { failure = error }
        }
        guard pending.isEmpty else { return actions }
        return actions + [addresses.isEmpty ? next() : .finish(.success(addresses))]
    }

    /// What was found so far, which is all if the time is over.
    var found: [SocketAddress] { addresses }

    private mutating func next() -> Action {
        guard let name = candidates.popFirst() else {
            // There was a candidate, and it had no address.
            return .finish(failure.map { .failure($0) } ?? .success([]))
        }
        pending = [.aaaa, .a]
        return .ask(name)
    }
}

extension DNSLookupError {
    /// Whether this says more about a search than another: what may be better later, then a name
    /// without addresses, then none.
    fileprivate func outweighs(_ other: DNSLookupError?) -> Bool {
        guard let other else { return true }
        return weight > other.weight
    }

    private var weight: Int {
        switch reason {
        case .noSuchName: 0
        case .noRecords: 1
        case .timedOut, .serverFailure, .aliasLoop, .unreadable, .unreachable: 2
        }
    }
}

extension DNSRecordValue {
    /// The address that it is, if it is one.
    func address(port: UInt16) -> SocketAddress? {
        switch self {
        case .a(let address): .ipv4(address, port: port)
        case .aaaa(let address): .ipv6(address, port: port)
        default: nil
        }
    }
}
