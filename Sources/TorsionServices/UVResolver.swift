// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
internal import TorsionCore

/// Looks names up with the system's own resolver, `getaddrinfo(3)`, on libuv's thread pool.
///
/// Of the pool's four threads (`UV_THREADPOOL_SIZE`) libuv gives two to look-ups at a time. One that
/// was cancelled while it ran keeps its thread until the system gives up, and later ones wait for
/// that: so each has a deadline, which counts from the call.
final class UVResolver: NameResolver {
    private let guest: GuestLoop
    /// How long a look-up may take, its wait for a thread included.
    private let limit: Duration
    private var lookups: [ObjectIdentifier: Lookup] = [:]

    init(guest: GuestLoop, limit: Duration) {
        self.guest = guest
        self.limit = limit
    }

    func resolve(_ host: String, port: UInt16) -> Deferred<[SocketAddress]> {
        let reactor = guest.reactor
        reactor.checkThread()
        if let address = SocketAddress(host: host, port: port) {
            return .succeeded([address], on: reactor)
        }
        if let code = HostName.refusal(of: host) {
            return .failed(Lookup.error(code, host: host), on: reactor)
        }
        guard !reactor.isEnding else { return reactor.refused() }
        let lookup = Lookup(host: host, port: port, resolver: self)
        let deferred = Deferred<[SocketAddress]>(on: reactor) { _ in
            lookup.cancel()
            lookup.deferred = nil
        }
        lookup.deferred = deferred
        start(lookup)
        return deferred
    }

    /// Gives up all look-ups; their Deferreds fail.
    func shutDown() {
        for lookup in lookups.values {
            lookup.cancel()
            lookup.finish { $0.fail(CancellationError()) }
        }
    }

    private func start(_ lookup: Lookup) {
        let code = guest.use { loop in
            torsion_uv_resolve_start(
                loop, lookup.host, Unmanaged.passUnretained(lookup).toOpaque(), lookupEnded,
                &lookup.request)
        }
        guard code == 0 else {
            lookup.finish { $0.fail(Lookup.error(ErrorCode(libuv: code), host: lookup.host)) }
            return
        }
        lookups[ObjectIdentifier(lookup)] = lookup
        lookup.timer = guest.reactor.callLater(limit) { [unowned lookup] in
            lookup.timer = nil
            lookup.cancel()
            lookup.finish { $0.fail(Lookup.error(.timedOut, host: lookup.host)) }
        }
    }

    /// One name that is being looked up.
    ///
    /// The resolver holds it until it has ended.
    fileprivate final class Lookup {
        let host: String
        let port: UInt16
        let resolver: UVResolver
        var deferred: Deferred<[SocketAddress]>?
        var request: OpaquePointer?
        var timer: DelayedCall?

        init(host: String, port: UInt16, resolver: UVResolver) {
            self.host = host
            self.port = port
            self.resolver = resolver
        }

        /// Gives up, without telling the Deferred.
        func cancel() {
            guard let request else { return }
            self.request = nil
            timer?.cancel()
            timer = nil
            resolver.guest.use { _ in torsion_uv_resolve_cancel(request) }
            resolver.lookups[ObjectIdentifier(self)] = nil
        }

        /// The answer, or a negative code with none.
        func ended(_ code: Int32, _ addresses: UnsafeBufferPointer<torsion_uv_address>) {
            request = nil
            timer?.cancel()
            timer = nil
            resolver.lookups[ObjectIdentifier(self)] = nil
            resolver.guest.willDeliver()
            if code == 0 {
                finish { $0.succeed(addresses.map { SocketAddress($0, port: port) }) }
            } else {
                finish { $0.fail(Lookup.error(ErrorCode(libuv: code), host: host)) }
            }
        }

        func finish(_ fire: (Deferred<[SocketAddress]>) -> Void) {
            guard let deferred else { return }
            self.deferred = nil
            fire(deferred)
        }

        static func error(_ code: ErrorCode, host: String) -> IOError {
            IOError(.resolve, function: "getaddrinfo", code: code, subject: host)
        }
    }
}

/// Called by the shim.
///
/// A function and not a closure, so that no actor's isolation is inherited.
private func lookupEnded(
    _ context: UnsafeMutableRawPointer, _ code: Int32,
    _ addresses: UnsafePointer<torsion_uv_address>?, _ count: Int
) {
    // Not cancelled, or it would not be called: so the resolver still holds the look-up.
    let lookup = Unmanaged<UVResolver.Lookup>.fromOpaque(context).takeUnretainedValue()
    lookup.ended(code, UnsafeBufferPointer(start: addresses, count: count))
}

extension SocketAddress {
    fileprivate init(_ address: torsion_uv_address, port: UInt16) {
        let (high, low) = withUnsafeBytes(of: address.bytes) { bytes in
            (
                UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
        if address.is_ipv6 != 0 {
            self = .ipv6(IPv6Address(high: high, low: low, scopeID: address.scope), port: port)
        } else {
            self = .ipv4(IPv4Address(bits: UInt32(high >> 32)), port: port)
        }
    }
}
