// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The limits of a server for its clients: sizes and times, each with a limit from the start.
///
///     var options = HTTPServerOptions()
///     options.idleTimeout = .seconds(15)
///     try endpoint.listen(on: reactor, http: options) { Hello() }
///
/// A plain value.
public struct HTTPServerOptions {
    /// How long a new client may take until its first byte: 10 s.
    public var firstByteTimeout: Duration = .seconds(10)

    /// How long a head may take from its first byte to its end: 10 s; then 408 is answered.
    public var headTimeout: Duration = .seconds(10)

    /// How long a body may stall while it is asked for: 30 s; then 408 is answered.
    public var bodyTimeout: Duration = .seconds(30)

    /// How fast a body must come on average while it is asked for, in bytes a second: 100.
    ///
    /// Counted from the end of ``bodyTimeout``, so that a short body may be slow.
    public var bodyBytesPerSecond = 100

    /// How long a kept connection may be without a request: 60 s; then it is closed.
    public var idleTimeout: Duration = .seconds(60)

    /// How long a client may stall while an answer is sent: 30 s; then the connection is aborted.
    public var answerTimeout: Duration = .seconds(30)

    /// How long an idle client has for a request that is on its way when the server ends: 500 ms.
    public var lastRequestTimeout: Duration = .milliseconds(500)

    /// The most bytes of a head, its request line included: 32 KiB, which is also the maximum.
    public var headLimitBytes = 32 * 1024

    /// The most bytes of a request line: 8 KiB.
    public var requestLineLimitBytes = 8 * 1024

    /// The most fields of a head: 100, at most 200.
    public var fieldLimit = 100

    /// The most bytes of a body that are read past when a request was answered without it: 256 KiB.
    ///
    /// Of a longer one the connection is closed.
    public var discardLimitBytes = 256 * 1024

    /// Called with each request when it has been answered; `nil` without an observer.
    ///
    /// Without it the server keeps no records.
    public var observer: (any HTTPServerObserver)?

    /// The defaults.
    public init() {}

    var headLimits: HeadLimits {
        require(
            (64...32 * 1024).contains(headLimitBytes),
            "HTTPServerOptions: headLimitBytes is from 64 to 32768, not \(headLimitBytes)")
        require(
            (1...200).contains(fieldLimit),
            "HTTPServerOptions: fieldLimit is from 1 to 200, not \(fieldLimit)")
        var limits = HeadLimits()
        limits.byteCount = headLimitBytes
        limits.requestLineByteCount = min(requestLineLimitBytes, headLimitBytes)
        limits.fieldCount = fieldLimit
        return limits
    }

    /// No deadline that begins after a look at the clock is missed by the next one.
    var shortestTimeout: Duration {
        min(
            firstByteTimeout, headTimeout, bodyTimeout, idleTimeout, answerTimeout)
    }
}

/// Is called with each request of a server: write an access log from it.
///
/// Called on the reactor's thread.
public protocol HTTPServerObserver: AnyObject {
    /// A request was answered, or will not be any more.
    ///
    /// - Parameter record: The request and its answer.
    func requestDidEnd(_ record: HTTPRequestRecord)
}

/// One request and how it was answered.
///
/// A plain value.
public struct HTTPRequestRecord {
    /// The connection that it came on.
    public var connection: ConnectionID
    /// Its place among the requests of that connection, counted from 1.
    public var number: Int
    /// The client.
    public var peerAddress: SocketAddress
    /// The method; `nil` for a request that could not be read.
    public var method: HTTPMethod?
    /// The request's target, as it was sent; empty for one that could not be read.
    public var target: Bytes
    /// How it was answered; `nil` if the client had gone before.
    public var status: HTTPStatus?
    /// Bytes of the body that arrived, without a coding.
    public var receivedByteCount: Int
    /// Bytes of the answer's body that were handed to the transport.
    public var sentByteCount: Int
    /// From the end of the head to the end of the answer.
    public var duration: Duration
    /// Whether the answer is whole.
    public var isWhole: Bool
}
