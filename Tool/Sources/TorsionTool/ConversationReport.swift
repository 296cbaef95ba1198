// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Synchronization
internal import Torsion

/// What a command of one conversation prints at its end with `--json`: its last line on standard error.
struct ConversationReport: Encodable {
    /// How a conversation ended.
    enum End: String, Encodable {
        /// Both sides have said all.
        case complete
        /// Nothing passed for `--idle` seconds.
        case idle
        /// SIGINT or SIGTERM.
        case signal
        case failed
    }

    var end: End
    /// The other side, if it was there.
    var peer: String?
    var local: String?
    /// Bytes from the other side.
    var received: Int
    /// Bytes to the other side.
    var sent: Int
    /// Until the connection could be used, TLS included; not of a server, which waits for a client.
    var connectMilliseconds: Double?
    /// From then until the end of the connection.
    var seconds: Double?
    var error: String?
    var advice: String?
    /// With which status the command exits.
    var exitStatus: Int32 = 0
}

/// Counts what passes by the one connection of a command.
final class ConversationMeter: Sendable {
    private struct Figures {
        var start: MonotonicInstant?
        var made: MonotonicInstant?
        var lost: MonotonicInstant?
        var peer: String?
        var local: String?
        var received = 0
        var sent = 0
    }

    private let figures = Mutex(Figures())
    private let isOn: Bool

    /// - Parameter isOn: Whether its figures are asked for.
    init(isOn: Bool) { self.isOn = isOn }

    /// The client begins to connect.
    func begin(on reactor: Reactor) { figures.withLock { $0.start = reactor.now } }

    func applied(to endpoint: any StreamClientEndpoint) -> any StreamClientEndpoint {
        isOn ? endpoint.observed { Observer(self) } : endpoint
    }

    func applied(to endpoint: any StreamServerEndpoint) -> any StreamServerEndpoint {
        isOn ? endpoint.observed { Observer(self) } : endpoint
    }

    func report(_ end: ConversationReport.End) -> ConversationReport {
        let figures = figures.withLock { $0 }
        var report = ConversationReport(
            end: end, peer: figures.peer, local: figures.local, received: figures.received,
            sent: figures.sent)
        if let made = figures.made {
            report.connectMilliseconds = figures.start.map { milliseconds($0.duration(to: made)) }
            report.seconds = figures.lost.map { seconds(made.duration(to: $0)) }
        }
        return report
    }

    private final class Observer: ConnectionObserver {
        private let meter: ConversationMeter

        init(_ meter: ConversationMeter) { self.meter = meter }

        func connectionMade(_ transport: any StreamTransport) {
            meter.figures.withLock { figures in
                // Of a server, a second client is turned away.
                guard figures.made == nil else { return }
                figures.made = transport.reactor.now
                figures.peer = "\(transport.peerAddress)"
                figures.local = "\(transport.localAddress)"
            }
        }

        func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) {
            let count = bytes.byteCount
            meter.figures.withLock { $0.received += count }
        }

        func didWrite(_ bytes: RawSpan, of transport: any StreamTransport) {
            let count = bytes.byteCount
            meter.figures.withLock { $0.sent += count }
        }

        func didSend(byteCount: Int, of transport: any StreamTransport) {
            meter.figures.withLock { $0.sent += byteCount }
        }

        func didLose(_ why: ConnectionLoss, of transport: any StreamTransport) {
            meter.figures.withLock { $0.lost = transport.reactor.now }
        }
    }
}

/// Runs the one conversation of a command.
///
/// With `asJSON` a report is the last line on standard error, whatever the end was.
///
/// - Parameters:
///   - asJSON: Else an error is a sentence.
///   - meter: What has passed.
///   - session: Whether both sides have said all.
///   - body: Throws what the command failed with.
/// - Throws: `ExitCode`, when the reason stands on standard error.
func reportingConversation(
    asJSON: Bool, _ meter: ConversationMeter, _ session: TerminalSession, _ body: () throws -> Void
) throws {
    let dies = BrokenPipeSignal.isDefault
    var failure: (any Error)?
    do { try body() } catch { failure = error }
    if asJSON {
        let isIdle = (failure as? PlacedError)?.cause is IdleTooLong
        let end: ConversationReport.End =
            failure == nil ? session.isComplete ? .complete : .signal : isIdle ? .idle : .failed
        var report = meter.report(end)
        if let failure {
            (report.error, report.advice) = sentences(failure)
            report.exitStatus = ExitStatus.of(failure)
        }
        try printErrorJSON(report)
    }
    if session.isOutputBroken, dies { BrokenPipeSignal.raise() }
    guard let failure else { return }
    if asJSON { throw ExitCode(ExitStatus.of(failure)) }
    try reportingErrors { throw failure }
}
