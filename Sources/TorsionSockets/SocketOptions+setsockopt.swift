// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
@_spi(Backend) package import TorsionCore

/// Sets what `options` asks for: `setsockopt(2)`, `tcp(7)`, `socket(7)`, `ipv6(7)`.
func configure(
    _ descriptor: Int32, for address: SocketAddress, _ options: StreamOptions,
    _ operation: IOError.Operation
) throws(IOError) {
    let setter = OptionSetter(descriptor: descriptor, operation: operation, address: address)
    if let count = options.receiveBufferBytes {
        try setter.set(SOL_SOCKET, SO_RCVBUF, Int32(clamping: count))
    }
    if let count = options.sendBufferBytes {
        try setter.set(SOL_SOCKET, SO_SNDBUF, Int32(clamping: count))
    }
    if case .unix = address { return }
    let tcp = Int32(IPPROTO_TCP)
    if options.noDelay { try setter.set(tcp, TCP_NODELAY, 1) }
    if let keepAlive = options.keepAlive { try setter.set(keepAlive) }
    guard operation == .listen else { return }
    // A server that restarts must not wait for connections of its former life: TIME_WAIT.
    try setter.set(SOL_SOCKET, SO_REUSEADDR, 1)
    if options.reusePort { try setter.set(SOL_SOCKET, SO_REUSEPORT, 1) }
    if case .ipv6 = address, options.ipv6Only {
        try setter.set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
    }
}

/// What the options of an open socket are: `getsockopt(2)`.
package func readSocketOptions(
    of descriptor: Int32, at peer: SocketAddress
) throws(IOError) -> SocketOptions {
    func value(_ level: Int32, _ name: Int32) throws(IOError) -> Int {
        if let value = integerOption(descriptor, level, name) { return Int(value) }
        throw lastError(.configure, "getsockopt", peer)
    }
    var options = SocketOptions(
        noDelay: false, keepAlive: nil,
        // The kernel doubles what is asked for, and tells that: socket(7).
        receiveBufferBytes: try value(SOL_SOCKET, SO_RCVBUF) / 2,
        sendBufferBytes: try value(SOL_SOCKET, SO_SNDBUF) / 2)
    if case .unix = peer { return options }
    let tcp = Int32(IPPROTO_TCP)
    options.noDelay = try value(tcp, TCP_NODELAY) != 0
    if try value(SOL_SOCKET, SO_KEEPALIVE) != 0 {
        options.keepAlive = StreamOptions.KeepAlive(
            idle: .seconds(try value(tcp, keepAliveIdleOption)),
            interval: .seconds(try value(tcp, TCP_KEEPINTVL)), count: try value(tcp, TCP_KEEPCNT))
    }
    return options
}

/// Sets what differs: a buffer that is set to what it has would no longer be adapted by the kernel.
package func changeSocketOptions(
    of descriptor: Int32, at peer: SocketAddress, to options: SocketOptions
) throws(IOError) {
    let present = try readSocketOptions(of: descriptor, at: peer)
    let setter = OptionSetter(descriptor: descriptor, operation: .configure, address: peer)
    if options.receiveBufferBytes != present.receiveBufferBytes {
        try setter.set(SOL_SOCKET, SO_RCVBUF, Int32(clamping: options.receiveBufferBytes))
    }
    if options.sendBufferBytes != present.sendBufferBytes {
        try setter.set(SOL_SOCKET, SO_SNDBUF, Int32(clamping: options.sendBufferBytes))
    }
    if case .unix = peer { return }
    if options.noDelay != present.noDelay {
        try setter.set(Int32(IPPROTO_TCP), TCP_NODELAY, options.noDelay ? 1 : 0)
    }
    guard options.keepAlive != present.keepAlive else { return }
    guard let keepAlive = options.keepAlive else {
        try setter.set(SOL_SOCKET, SO_KEEPALIVE, 0)
        return try setter.set(Int32(IPPROTO_TCP), userTimeoutOption, 0)
    }
    try setter.set(keepAlive)
}

/// `setsockopt(2)`, with errors that name the address.
private struct OptionSetter {
    let descriptor: Int32
    let operation: IOError.Operation
    let address: SocketAddress

    func set(_ level: Int32, _ name: Int32, _ value: Int32) throws(IOError) {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        guard setsockopt(descriptor, level, name, &value, size) == 0 else {
            throw lastError(operation, "setsockopt", address)
        }
    }

    func set(_ keepAlive: StreamOptions.KeepAlive) throws(IOError) {
        let tcp = Int32(IPPROTO_TCP)
        let figures = KeepAliveFigures(keepAlive)
        try set(SOL_SOCKET, SO_KEEPALIVE, 1)
        try set(tcp, keepAliveIdleOption, figures.idle)
        try set(tcp, TCP_KEEPINTVL, figures.interval)
        try set(tcp, TCP_KEEPCNT, figures.count)
        try set(tcp, userTimeoutOption, figures.userTimeout)
    }
}

/// Keep-alive as the kernel takes it, which refuses what is beyond its bounds: a longer wish is
/// better met in part.
private struct KeepAliveFigures {
    let idle: Int32
    let interval: Int32
    let count: Int32

    init(_ wish: StreamOptions.KeepAlive) {
        idle = Self.wholeSeconds(wish.idle)
        interval = Self.wholeSeconds(wish.interval)
        count = Int32(min(max(1, wish.count), 127))
    }

    /// Milliseconds until the last probe has not been answered.
    ///
    /// The kernel probes only a connection on which nothing is under way. What was sent it sends
    /// again for a quarter of an hour or so, by `net.ipv4.tcp_retries2`, unless this option limits
    /// it. It overrides the count of probes, so that any other value would change that as well:
    /// `tcp(7)`.
    var userTimeout: Int32 {
        Int32(clamping: (Int64(idle) + Int64(interval) * Int64(count)) * 1_000)
    }

    /// From 1 to `MAX_TCP_KEEPIDLE`.
    private static func wholeSeconds(_ duration: Duration) -> Int32 {
        Int32(min(max(1, duration.components.seconds), 32_767))
    }
}
