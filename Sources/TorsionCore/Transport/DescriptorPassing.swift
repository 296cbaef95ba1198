// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A connection over which open descriptors can be sent beside bytes: a UNIX socket.
///
///     func connectionMade(_ transport: any StreamTransport) throws {
///         guard let passing = transport as? any DescriptorTransport else { return }
///         try unsafe passing.write([UInt8(ascii: "f")].span.bytes, passing: [file])
///     }
///
/// The engine's own transports conform, whatever they are over; see ``passesDescriptors``. A
/// ``StreamFilter`` that looks at bytes does not pass descriptors.
///
/// - SeeAlso: `unix(7)`, `SCM_RIGHTS`; Twisted `IUNIXTransport`.
public protocol DescriptorTransport: StreamTransport {
    /// Whether descriptors can be sent over this connection.
    var passesDescriptors: Bool { get }

    /// Queues a copy of `bytes`, and duplicates of `descriptors` that arrive before the first of
    /// them. The descriptors stay the caller's, who may close them at once.
    ///
    /// The peer gets them by ``DescriptorReceiver``; a peer that does not ask for them has them
    /// closed. After ``StreamTransport/loseConnection()`` the call is ignored.
    ///
    /// - Parameters:
    ///   - bytes: At least one: descriptors do not travel alone. Borrowed for the call.
    ///   - descriptors: From 1 to 253, which is what the kernel takes in one message.
    /// - Throws: ``IOError`` of operation `write`: ``ErrorCode/notSupported`` over another kind of
    ///   connection, ``ErrorCode/tooManyReferences`` if a thousand descriptors wait already for a
    ///   peer that does not read, or what `dup(2)` met.
    func write(_ bytes: RawSpan, passing descriptors: [Int32]) throws(IOError)
}

/// A protocol that takes open descriptors from its peer.
///
/// - SeeAlso: Twisted `IFileDescriptorReceiver`.
public protocol DescriptorReceiver: StreamProtocol {
    /// Descriptors arrived, in the order in which they were sent.
    ///
    /// Called before `dataReceived` brings the bytes that carried them; one read may bring some
    /// that were sent before as well, `unix(7)`. Descriptors that are not taken are closed when
    /// `descriptors` is released.
    ///
    /// - Parameters:
    ///   - descriptors: Take those you keep; the others are closed with it.
    ///   - transport: The connection that brought them.
    /// - Throws: An error that aborts the connection, and is reported to
    ///   ``Reactor/unhandledError``.
    func descriptorsReceived(
        _ descriptors: PassedDescriptors, from transport: any DescriptorTransport) throws
}

/// Open descriptors that were sent by one call, or are to be.
///
/// Descriptors that were not taken are closed with it.
public final class PassedDescriptors {
    /// Those that were not taken, in order.
    ///
    /// They are closed with this object: `dup(2)` what must
    /// live longer, or ``take()`` it. An endpoint such as ``ClientEndpoint/adopted(descriptor:options:)``
    /// makes a duplicate by itself.
    public private(set) var numbers: [Int32]

    private let close: (Int32) -> Void

    /// Takes descriptors over; `close` closes one.
    ///
    /// - Parameters:
    ///   - numbers: Owned by the value from now on.
    ///   - close: Called with each that was not taken, when the value is released.
    public init(_ numbers: [Int32], closingBy close: @escaping (Int32) -> Void) {
        self.numbers = numbers
        self.close = close
    }

    deinit { for number in numbers { close(number) } }

    /// The next one, which the caller owns from now on; nil when all are taken.
    public func take() -> Int32? { numbers.isEmpty ? nil : numbers.removeFirst() }
}

extension StreamConnection: DescriptorTransport {
    /// As many as a peer that does not read can have waiting.
    private static let queuedDescriptorLimit = 1_024
    /// `SCM_MAX_FD`.
    private static let messageDescriptorLimit = 253

    /// Not over a filter that is to come either: they would pass it by.
    var passesDescriptors: Bool { !awaitsFilter && stream.passesDescriptors }

    func write(_ bytes: RawSpan, passing descriptors: [Int32]) throws(IOError) {
        reactor.checkThread()
        require(
            bytes.byteCount > 0 && 1...Self.messageDescriptorLimit ~= descriptors.count,
            "DescriptorTransport: need bytes and 1 to 253 descriptors, got \(bytes.byteCount) and"
                + " \(descriptors.count)")
        guard passesDescriptors else {
            throw IOError(.write, function: "", code: .notSupported, subject: peerAddress)
        }
        guard queuedDescriptorCount + descriptors.count <= Self.queuedDescriptorLimit else {
            throw IOError(.write, function: "", code: .tooManyReferences, subject: peerAddress)
        }
        send(bytes, passing: try stream.duplicate(descriptors))
    }
}
