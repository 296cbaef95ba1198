// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// An ordered stream of bytes to one peer, with flow control.
///
/// A transport belongs to the reactor that made it: call every member on that reactor; from
/// elsewhere the call traps. It is usable from ``StreamProtocol/connectionMade(_:)`` until
/// ``StreamProtocol/connectionLost(_:from:)`` returns; later calls are ignored.
///
/// It is a ``Consumer`` of what is to be sent and a ``PushProducer`` of what arrives: pausing it
/// stops reading from the kernel, so that the peer feels it. As a ``ByteSource`` what arrives can be
/// carried to any consumer.
///
/// - SeeAlso: Twisted `ITransport` and `IConsumer`; libuv `uv_stream_t`.
public protocol StreamTransport: Consumer, PushProducer, ByteSource {
    /// The reactor that this transport belongs to.
    var reactor: Reactor { get }

    /// A name for logs and dictionaries, unique in the process.
    var id: ConnectionID { get }

    /// The other end.
    var peerAddress: SocketAddress { get }

    /// This end; inside `connectionLost` and after it, too.
    var localAddress: SocketAddress { get }

    /// The facts that the connection's filters learnt: how it is secured, for whom a proxy speaks.
    var details: ConnectionDetails { get }

    /// Bytes that were written and that the kernel has refused so far.
    var pendingByteCount: Int { get }

    /// When the producer is paused and resumed, and when the connection is given up.
    var watermarks: Watermarks { get set }

    /// Queues a copy of `bytes` behind everything written before, and returns at once.
    ///
    /// Single writes are not reported: acknowledgements are not visible here, and a failed send
    /// ends the connection through ``StreamProtocol/connectionLost(_:from:)``. Small writes are
    /// coalesced and leave together when the event ends, which is when the kernel's refusal is met:
    /// past ``Watermarks/high`` the registered producer is paused. 4 KiB and more leave at once,
    /// behind what was coalesced. A call that finds more than ``Watermarks/limit`` queued aborts
    /// the connection. After ``loseConnection()`` the call is ignored.
    ///
    /// - Parameter bytes: Any number of bytes; an empty span is ignored. Borrowed for the call
    ///   only.
    /// - Complexity: O(*n*) in the number of bytes.
    func write(_ bytes: RawSpan)

    /// Lets `body` put bytes straight where small writes are collected, behind everything written
    /// before: for a header that is made piece by piece.
    ///
    ///     transport.write(capacity: 64) { output in output.append(…) }
    ///
    /// - Precondition: The transport is not called inside `body`.
    /// - Parameters:
    ///   - capacity: How many bytes there is room for, 0 or more.
    ///   - body: Called once, now; what it has appended is written.
    func write(capacity: Int, _ body: (inout OutputRawSpan) -> Void)

    /// Waits for a registered producer to finish, hands what is queued to the kernel, then closes.
    ///
    /// Deliveries end at once. If the peer does not acknowledge a byte for
    /// ``StreamOptions/closeTimeout`` while bytes are queued here, the connection is aborted. When
    /// the kernel has the last byte, writing is shut down and the loss is reported,
    /// ``ConnectionLoss/closedLocally``; the peer is not waited for. The socket is kept and its
    /// input discarded until the peer has acknowledged everything or stalls, since a close with
    /// input unread is a reset, which destroys what was sent (RFC 9293 §3.6, RFC 1122 §4.2.2.13).
    func loseConnection()

    /// The same, and `reason` is the reason of the loss: for a connection that ends in peace here,
    /// because something is wrong, such as an alert or an error reply that has to leave first.
    ///
    /// - Parameter reason: A ``ConnectionLoss`` as it is, an ``IOError`` as
    ///   ``ConnectionLoss/failed(_:)``, else ``ConnectionLoss/protocolFailed(_:)``.
    func loseConnection(because reason: any Error)

    /// Drops what is queued and resets the connection. The loss is delivered in this turn.
    func abortConnection()

    /// The same, and `error` is the reason of the loss, as if a callback had thrown it:
    /// ``ConnectionLoss/protocolFailed(_:)``, or the error itself if that is a
    /// ``ConnectionLoss/deadlinePassed(_:)``.
    ///
    /// - Parameter error: Becomes the reason of the loss.
    func abortConnection(because error: any Error)

    /// Sends what is queued, then ends the outgoing direction: `shutdown(2)`. Reading goes on.
    func loseWriteConnection()

    /// Whether the next bytes would be delivered to this protocol: false after `pauseProducing`,
    /// `switchProtocol` and every kind of close.
    ///
    /// A protocol that cuts a read into messages asks it after each of them.
    var isDelivering: Bool { get }

    /// Gives back bytes of the present delivery that were not used. They are delivered again,
    /// ahead of what arrives later, when the transport is resumed; after `switchProtocol` to the
    /// new protocol. Several calls in one delivery keep their order. While closing they are dropped.
    ///
    /// - Precondition: Not ``isDelivering``; the bytes would come back at once, again and again.
    /// - Parameter bytes: Copied, unless they are part of a delivery that was given back before: so
    ///   to use a read in many small steps is linear in its bytes.
    func unread(_ bytes: RawSpan)

    /// Puts another protocol above this connection, for an upgrade.
    ///
    /// The new protocol gets `connectionMade`, then the bytes that the old one had not consumed,
    /// when the present event ends; the old one is not called again. If the peer has ended already,
    /// the new protocol is called behind those bytes: with `readConnectionLost`, or by the loss if
    /// it is not a ``HalfCloseableProtocol``. A connection that is lost before the present event
    /// ends is not switched any more: the old protocol gets the loss, the new one is released
    /// without a call.
    ///
    /// - Parameters:
    ///   - newProtocol: Takes over when the present event ends.
    ///   - remaining: The bytes that the old protocol has received but not used; copied. It comes
    ///     before what was given back by ``unread(_:)``, in whichever order the two are called.
    func switchProtocol(to newProtocol: any StreamProtocol, remaining: RawSpan)

    /// Puts a filter below this connection, which goes on above it: STARTTLS.
    ///
    /// Earlier writes leave unfiltered. Bytes that arrive behind the present event, and those that
    /// are given back in it, are the filter's first input, never delivered as they are. During its
    /// handshake deliveries stop, and writes wait.
    ///
    /// - Parameters:
    ///   - filter: A new one.
    ///   - remaining: The bytes that the protocol has received behind the command that led here;
    ///     copied.
    /// - Returns: A Deferred that succeeds when the filter has agreed. If it does not, the connection is
    ///   lost, and the Deferred fails with that ``ConnectionLoss``. Cancelling it aborts the connection.
    @discardableResult
    func startFilter(_ filter: StreamFilter, remaining: RawSpan) -> Deferred<Void>
}

extension StreamTransport {
    /// Puts the bytes into memory of their own, and writes them.
    ///
    /// - Parameters:
    ///   - capacity: How many bytes there is room for, 0 or more.
    ///   - body: Called once, now; what it has appended is written.
    public func write(capacity: Int, _ body: (inout OutputRawSpan) -> Void) {
        write(Bytes(capacity: capacity, initializingWith: body))
    }

    /// How the connection is secured; `nil` if it is not.
    public var security: TransportSecurity? { details.security }

    /// Puts a filter below this connection, without remaining bytes.
    ///
    /// - Parameter filter: A new one.
    /// - Returns: As ``startFilter(_:remaining:)``.
    @discardableResult
    public func startFilter(_ filter: StreamFilter) -> Deferred<Void> {
        startFilter(filter, remaining: RawSpan())
    }

    /// Puts another protocol above this connection, without remaining bytes.
    ///
    /// - Parameter newProtocol: Takes over when the present event ends.
    public func switchProtocol(to newProtocol: any StreamProtocol) {
        switchProtocol(to: newProtocol, remaining: RawSpan())
    }
}
