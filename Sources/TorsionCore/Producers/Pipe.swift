// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Carries everything that arrives at one transport to another, until it ends.
///
/// The source's protocol is replaced: what arrives is written to the destination, whose
/// backpressure pauses the source. The source's end is passed on by `loseWriteConnection`, and
/// everything before it has been written by then. If the source breaks the destination is aborted;
/// if the destination is lost, the source is closed. Two pipes make a proxy:
///
///     pipe(from: client, to: server)
///     pipe(from: server, to: client)
///
/// - Precondition: The destination has no producer.
/// - Returns: Fires with the number of bytes carried when the source has ended, also if it had
///   before; fails with a
///   ``ConnectionLoss`` if the source broke or was lost already, or ``PipeBroken`` if the
///   destination was lost first.
@discardableResult
public func pipe(
    from source: any StreamTransport, to destination: any StreamTransport
) -> Deferred<Int> {
    let result = Deferred<Int>(on: source.reactor)
    let carrier = PipeProtocol(to: destination, from: source, result: result)
    source.switchProtocol(to: carrier)
    return result
}

/// The destination of a pipe was lost before the source had ended.
public struct PipeBroken: Error, Hashable, Sendable, CustomStringConvertible {
    /// Bytes that were written to the destination; how many arrived is not known.
    public let byteCount: Int

    /// A sentence.
    public var description: String {
        "the destination of a pipe was lost after \(byteCount) bytes"
    }
}

/// Stands above the source, and is the destination's producer.
private final class PipeProtocol: HalfCloseableProtocol {
    private let source: any StreamTransport
    private let destination: any StreamTransport
    private var result: Deferred<Int>?
    private var byteCount = 0
    private var isProducing = false

    init(
        to destination: any StreamTransport, from source: any StreamTransport, result: Deferred<Int>
    ) {
        self.destination = destination
        self.source = source
        self.result = result
    }

    /// A result is left only if the source never took this protocol, since it was lost before:
    /// a transport that is lost lets go of its protocol's successor without a call.
    deinit {
        guard let result else { return }
        destination.abortConnection()
        let subject = "\(source.peerAddress)"
        let error = IOError(.read, function: "", code: .notConnected, subject: subject)
        result.fail(ConnectionLoss.failed(error))
    }

    func connectionMade(_ transport: any StreamTransport) {
        isProducing = true
        // In this order: a destination that is full pauses the source in the second call.
        source.resumeProducing()
        destination.registerProducer(self)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        byteCount += bytes.byteCount
        destination.write(bytes)
    }

    func readConnectionLost(from transport: any StreamTransport) {
        stopBeingProducer()
        destination.loseWriteConnection()
        finish(.success(byteCount))
    }

    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        stopBeingProducer()
        guard result != nil else { return }
        if why.isClean {
            destination.loseConnection()
            finish(.success(byteCount))
        } else {
            destination.abortConnection()
            finish(.failure(why))
        }
    }

    private func stopBeingProducer() {
        guard isProducing else { return }
        isProducing = false
        destination.unregisterProducer()
    }

    private func finish(_ outcome: Result<Int, any Error>) {
        guard let result else { return }
        self.result = nil
        switch outcome {
        case .success(let count): result.succeed(count)
        case .failure(let error): result.fail(error)
        }
    }
}

extension PipeProtocol: PushProducer {
    func pauseProducing() { source.pauseProducing() }

    func resumeProducing() { source.resumeProducing() }

    func stopProducing() {
        isProducing = false
        finish(.failure(PipeBroken(byteCount: byteCount)))
        source.loseConnection()
    }
}
