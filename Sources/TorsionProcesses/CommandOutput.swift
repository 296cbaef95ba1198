// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A child's output, and how it ended.
///
/// A plain value, usable on any thread.
public struct CommandOutput: Sendable {
    /// The program that was run.
    public let program: String
    /// How it ended.
    public let status: ProcessStatus
    /// The bytes on descriptor 1; empty if the command sends that elsewhere.
    public let standardOutput: Bytes
    /// The bytes on descriptor 2; empty if the command sends that elsewhere.
    public let standardError: Bytes

    /// The same if the child exited with 0.
    ///
    /// - Returns: Itself.
    /// - Throws: ``ProcessFailure`` for any other end.
    public func requireSuccess() throws(ProcessFailure) -> CommandOutput {
        guard status.isSuccess else { throw ProcessFailure(program: program, status: status) }
        return self
    }
}

/// A child has written more than was allowed, and was killed.
public struct OutputLimitExceeded: Error, Hashable, Sendable, CustomStringConvertible {
    /// The program, as the command named it.
    public let program: String
    /// How much was allowed.
    public let limitBytes: Int

    /// One line for a log.
    public var description: String { "\(program) wrote more than \(limitBytes) bytes" }
}

extension Command {
    /// Runs the program, and collects what it writes.
    ///
    ///     Command("git", "rev-parse", "HEAD").output(on: reactor)
    ///         .addCallback { try $0.requireSuccess().standardOutput }
    ///         .addCallback { revision in print(String(decoding: revision.span)) }
    ///     let list = try await Command("ls").output(on: reactor).value
    ///
    /// Standard output and standard error are collected, unless the command says what they are.
    /// Cancelling the Deferred kills the child and its group. Called on the reactor.
    ///
    /// - Parameters:
    ///   - reactor: Where the child runs.
    ///   - input: The child's input, then EOF; if it is empty, the command decides, by default
    ///     `/dev/null`.
    ///   - limitBytes: How much the child may write in all, 0 or more.
    /// - Returns: A Deferred for the output, whatever the exit status. It fails with an `IOError` if
    ///   the program cannot be started, with ``OutputLimitExceeded``, or with `ReactorStopped` at
    ///   the end of the run.
    public func output(
        on reactor: Reactor, input: Bytes = Bytes(), limitBytes: Int = 1 << 20
    ) -> Deferred<CommandOutput> {
        require(limitBytes >= 0, "Command: need limitBytes >= 0, got \(limitBytes)")
        let collector = OutputCollector(program, limitBytes: limitBytes, input)
        let command = changed {
            for number in [Int32(1), 2] where $0.descriptors[number] == nil {
                $0 = $0.descriptor(number, .stream)
            }
            if !input.isEmpty { $0 = $0.descriptor(0, .stream) }
        }
        let result = Deferred<CommandOutput>(on: reactor) { _ in collector.giveUp() }
        collector.result = result
        do throws(IOError) {
            try command.start(on: reactor, collector)
        } catch {
            // Not inside the call: an errback that tries again at once would recurse.
            reactor.refuseLater { collector.fail(error) }
        }
        return result
    }
}

/// Keeps what a child writes, up to a limit.
private final class OutputCollector: ProcessProtocol {
    private let program: String
    private let limitBytes: Int
    private let input: Bytes
    private var pieces: [Int32: [UInt8]] = [:]
    private var byteCount = 0
    private weak var child: ChildProcess?
    var result: Deferred<CommandOutput>?

    init(_ program: String, limitBytes: Int, _ input: Bytes) {
        self.program = program
        self.limitBytes = limitBytes
        self.input = input
    }

    func processStarted(_ child: ChildProcess) {
        self.child = child
        guard !input.isEmpty, let transport = child.standardInput else { return }
        transport.write(input)
        transport.loseConnection()
    }

    func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) {
        guard result != nil else { return }
        byteCount += bytes.byteCount
        guard byteCount <= limitBytes else {
            pieces = [:]
            child.kill()
            return fail(OutputLimitExceeded(program: program, limitBytes: limitBytes))
        }
        pieces[descriptor, default: []] += bytes
    }

    func processEnded(_ status: ProcessStatus, _ child: ChildProcess) {
        guard let result = result.take() else { return }
        result.succeed(
            CommandOutput(
                program: program, status: status, standardOutput: Bytes(pieces[1] ?? []),
                standardError: Bytes(pieces[2] ?? [])))
    }

    func shutdownRequested(_ child: ChildProcess) {
        fail(ReactorStopped())
        child.requestEnd()
    }

    func fail(_ error: any Error) { result.take()?.fail(error) }

    /// The Deferred was cancelled; it fails by itself.
    func giveUp() {
        result = nil
        child?.kill()
    }
}
