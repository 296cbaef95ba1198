// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) package import TorsionCore

// Thin wrappers over system calls that more than one kind of socket makes.

/// The error that `errno` tells of now.
func lastError(
    _ operation: IOError.Operation, _ function: String, _ address: SocketAddress
) -> IOError {
    IOError(
        operation, function: function, code: ErrorCode(errno: errno), subject: "\(address)")
}

/// A socket of the address's family: `socket(2)`, non-blocking, closed on exec.
func makeSocket(
    _ kind: __socket_type = SOCK_STREAM, for address: SocketAddress,
    _ operation: IOError.Operation
) throws(IOError) -> Int32 {
    try check(address, operation, "socket")
    let descriptor = socket(address.family, socketKind(kind), 0)
    guard descriptor >= 0 else { throw lastError(operation, "socket", address) }
    return descriptor
}

/// Another descriptor for a socket of this kind that somebody else made; it becomes non-blocking,
/// and with it the other, since they are one open file.
func duplicate(of descriptor: Int32, _ kind: __socket_type) throws(IOError) -> Int32 {
    func refusal(_ function: String, _ code: ErrorCode) -> IOError {
        IOError(.open, function: function, code: code, subject: "descriptor \(descriptor)")
    }
    let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    guard own >= 0 else { throw refusal("fcntl", ErrorCode(errno: errno)) }
    do throws(IOError) {
        guard let type = integerOption(own, SOL_SOCKET, SO_TYPE),
            let domain = integerOption(own, SOL_SOCKET, SO_DOMAIN)
        else { throw refusal("getsockopt", ErrorCode(errno: errno)) }
        guard type == Int32(kind.rawValue) else { throw refusal("", .wrongProtocolType) }
        guard [AF_INET, AF_INET6, AF_UNIX].contains(domain) else {
            throw refusal("", .addressFamilyNotSupported)
        }
    } catch {
        close(own)
        throw error
    }
    _ = fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK)
    return own
}

/// Throws if the kernel cannot be given the address.
func check(
    _ address: SocketAddress, _ operation: IOError.Operation, _ function: String
) throws(IOError) {
    guard let code = address.refusal else { return }
    throw IOError(operation, function: function, code: code, subject: address)
}

/// `bind(2)`.
func bind(_ descriptor: Int32, to address: SocketAddress) throws(IOError) {
    try check(address, .bind, "bind")
    let result = address.withSockaddr { Glibc.bind(descriptor, $0, $1) }
    guard result == 0 else { throw lastError(.bind, "bind", address) }
}

/// `connect(2)`.
///
/// Success at once and later are told alike: the socket becomes writable.
func beginConnecting(_ descriptor: Int32, to address: SocketAddress) throws(IOError) {
    let result = address.withSockaddr { connect(descriptor, $0, $1) }
    // EINTR: the attempt goes on all the same, connect(2).
    guard result != 0, errno != EINPROGRESS, errno != EINTR else { return }
    throw lastError(.connect, "connect", address)
}

/// A socket that has begun to connect; it becomes writable when it is connected, or has failed.
///
/// Throws ``IOError`` of operation `connect` for what fails at once.
package func connectingSocket(
    to address: SocketAddress, _ options: StreamOptions
) throws(IOError) -> Int32 {
    let descriptor = try makeSocket(for: address, .connect)
    do throws(IOError) {
        try configure(descriptor, for: address, options, .connect)
        guard let own = options.bindAddress else {
            try beginConnecting(descriptor, to: address)
            return descriptor
        }
        choosePortWhenConnecting(descriptor, from: own)
        try bind(descriptor, to: own)
        do throws(IOError) { try beginConnecting(descriptor, to: address) } catch {
            // The file that `bind` made would be in the way of the next attempt.
            SocketFile(at: own)?.remove()
            throw error
        }
    } catch {
        close(descriptor)
        throw error
    }
    return descriptor
}

/// Leaves the choice of a port, if none is asked for, to `connect(2)`: `IP_BIND_ADDRESS_NO_PORT`,
/// `ip(7)`.
///
/// `bind(2)` does not know the destination, and takes a port that no other connection may have. So
/// all connections of the machine from that address could be no more than there are ephemeral ports,
/// 28,232 unless it is set up otherwise, where each destination can have as many. Kernels before 4.2
/// do not have it, and choose as they did.
private func choosePortWhenConnecting(_ descriptor: Int32, from own: SocketAddress) {
    guard own.port == 0 else { return }
    var one: Int32 = 1
    let size = socklen_t(MemoryLayout<Int32>.size)
    _ = setsockopt(descriptor, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, &one, size)
}

/// What came of a connect, when the socket has become writable.
///
/// Asks for this end's address, by which a connection to ourselves is told: a client of a port of
/// this machine that nobody serves may be given the same port for its own end, and is its own server
/// then by TCP's simultaneous open (RFC 9293, 3.5). Nobody listens, and that is what is reported. It
/// is closed without a trace, since the server that may come needs the port.
package func connectOutcome(
    of descriptor: Int32, to peer: SocketAddress, isBound: Bool
) -> ConnectOutcome {
    if let code = pendingError(of: descriptor) { return .failed(code) }
    if case .unix = peer {
        // Not bound, it has no name; else it may be one that the kernel chose.
        return .connected(own: isBound ? nil : .unix(.unnamed))
    }
    let own = knownAddress(of: descriptor)
    guard own == peer else { return .connected(own: own) }
    _ = torsion_set_abortive_close(descriptor)
    return .failed(.connectionRefused)
}

/// See ``connectOutcome(of:to:isBound:)``.
package enum ConnectOutcome {
    /// This end's address, if it is known without asking again.
    case connected(own: SocketAddress?)
    case failed(ErrorCode)
}

/// `getsockname(2)`; unnamed if the kernel does not say, for want of memory.
package func ownAddress(of descriptor: Int32) -> SocketAddress {
    knownAddress(of: descriptor) ?? .unix(.unnamed)
}

/// The address of a socket that was just bound, or came from somebody else: `getsockname(2)`.
func boundAddress(
    of descriptor: Int32, _ operation: IOError.Operation, subject: String
) throws(IOError) -> SocketAddress {
    if let address = knownAddress(of: descriptor) { return address }
    throw IOError(
        operation, function: "getsockname", code: ErrorCode(errno: errno), subject: subject)
}

/// `getsockname(2)`; nil when the kernel is short of memory.
package func knownAddress(of descriptor: Int32) -> SocketAddress? {
    address { getsockname(descriptor, $0, $1) }
}

extension SocketAddress {
    /// Whether every connection that is accepted here has this address at its own end.
    package var isOneEnd: Bool {
        switch self {
        case .ipv4(let address, _): address != .any
        case .ipv6(let address, _): address != .any && address.mappedIPv4 != .any
        case .unix, .descriptor: true
        }
    }
}

/// `getpeername(2)`; nil with `errno` set, for a socket that is not connected, or was reset.
package func peerAddress(of descriptor: Int32) -> SocketAddress? {
    address { getpeername(descriptor, $0, $1) }
}

private func address(
    _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
) -> SocketAddress? {
    var address = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, &size) }
    }
    return result == 0 ? SocketAddress(address, size: size) : nil
}

/// The error that waits at a socket, which is then cleared: `SO_ERROR`, `socket(7)`.
package func pendingError(of descriptor: Int32) -> ErrorCode? {
    let number = socketOption(descriptor, SOL_SOCKET, SO_ERROR)
    return number == 0 ? nil : ErrorCode(errno: number)
}

/// Ends the outgoing direction: `shutdown(2)`.
///
/// - Returns: What went wrong, or nil. ENOTCONN says only that the connection is no more; what it was
///   lost of waits at the socket, unless it was told already.
package func shutDownWriting(_ descriptor: Int32) -> ErrorCode? {
    guard shutdown(descriptor, Int32(SHUT_WR)) != 0 else { return nil }
    let code = errno
    guard code == ENOTCONN else { return ErrorCode(errno: code) }
    return pendingError(of: descriptor) ?? .connectionReset
}

/// `getsockopt(2)` of an integer; nil with `errno` set.
func integerOption(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(descriptor, level, name, &value, &size) == 0 ? value : nil
}

/// `getsockopt(2)` of an integer that is an `errno`, or why it could not be had.
func socketOption(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32 {
    integerOption(descriptor, level, name) ?? errno
}

/// `sendmsg(2)` of several runs of bytes, without SIGPIPE.
func sendVectors(
    _ descriptor: Int32, _ runs: UnsafeBufferPointer<UnsafeRawBufferPointer>, flags: Int32 = 0
) -> Int {
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: runs.count) { vectors in
        for index in 0..<runs.count { vectors.initializeElement(at: index, to: iovec(runs[index])) }
        return sendMessage(descriptor, vectors, flags)
    }
}

/// The same with descriptors that go before the first byte.
func sendVectors(
    _ descriptor: Int32, _ runs: UnsafeBufferPointer<UnsafeRawBufferPointer>,
    passing descriptors: [Int32]
) -> Int {
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: runs.count) { vectors in
        for index in 0..<runs.count { vectors.initializeElement(at: index, to: iovec(runs[index])) }
        // Both have at least one element, and so an address.
        return descriptors.withUnsafeBufferPointer {
            torsion_send_descriptors(
                descriptor, vectors.baseAddress!, vectors.count, $0.baseAddress!, $0.count)
        }
    }
}

/// `sendmsg(2)` of two runs of bytes.
func sendTwo(
    _ descriptor: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
) -> Int {
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
        vectors.initializeElement(at: 0, to: iovec(first))
        vectors.initializeElement(at: 1, to: iovec(second))
        return sendMessage(descriptor, vectors)
    }
}

private func sendMessage(
    _ descriptor: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, _ flags: Int32 = 0
) -> Int {
    var message = msghdr()
    message.msg_iov = vectors.baseAddress
    message.msg_iovlen = vectors.count
    return sendmsg(descriptor, &message, sendFlags | flags)
}

extension iovec {
    /// The kernel only reads what it is given to send.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.init(
            iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
    }
}

/// `sendfile(2)`, for bytes that are in memory.
package func sendFile(
    _ file: Int32, at offset: Int64, byteCount: Int, to descriptor: Int32
) -> SendFileResult {
    let count = torsion_send_file(descriptor, file, offset, byteCount)
    if count > 0, count < byteCount, let code = breakage(of: descriptor) {
        return .streamFailed(code)
    }
    guard count <= 0 else { return .sent(count) }
    guard count < 0 else { return .fileEnded }
    let code = errno
    return switch code {
    case EAGAIN, EINTR: .full
    // A file that cannot be mapped, such as those of /proc.
    case EINVAL, ENOSYS, EOVERFLOW, ESPIPE: .unsupported
    case EIO, ENOMEM, EBADF: .fileFailed(ErrorCode(errno: code))
    default: .streamFailed(ErrorCode(errno: code))
    }
}

/// What broke a stream while `sendfile(2)` or `splice(2)` sent to it.
///
/// They send in steps (`splice_direct_to_actor()` and `splice_to_socket()` of the kernel), and an error
/// of any but the first only ends the call short. The socket has forgotten it then: a read finds the
/// end, as if the peer had closed in peace. A send of nothing still tells EPIPE, and what broke it was
/// a reset, unless the error is there to be told.
func breakage(of descriptor: Int32) -> ErrorCode? {
    guard send(descriptor, nil, 0, sendFlags) < 0 else { return nil }
    switch errno {
    case EAGAIN, EINTR: return nil
    case EPIPE: return .connectionReset
    case let code: return ErrorCode(errno: code)
    }
}
