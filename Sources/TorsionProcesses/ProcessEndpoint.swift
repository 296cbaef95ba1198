// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A child process as the peer of a connection: what you write is its standard input, what arrives is
/// its standard output.
///
///     ProcessEndpoint(Command("ssh", "host", "nc", "::1", "22")).connect(on: reactor) { Client() }
///
/// Everything that stands on a connection works: filters, TLS, proxies, tasks. The child's EOF is the
/// peer's; a child that exits otherwise than with 0, within a second behind it, breaks the connection
/// with `ConnectionLoss/protocolFailed(_:)` of a ``ProcessFailure``. If a process that it has started
/// keeps the output open, the connection ends ``Command/drainTimeout`` behind the exit. Losing the connection ends the
/// child's standard input; one that is left after ``Command/endTimeout`` gets SIGTERM, and after that
/// time once more SIGKILL. Aborting the connection sends SIGTERM at once.
///
/// - SeeAlso: Twisted `ProcessEndpoint`.
public struct ProcessEndpoint: StreamClientEndpoint {
    /// The command that is run at each connect.
    ///
    /// Its standard input and output are the connection.
    public var command: Command

    /// A child for each connection.
    ///
    /// - Parameter command: Run at each connect. Standard error goes where it says.
    public init(_ command: Command) { self.command = command }

    /// Starts a child, whose streams are one.
    ///
    /// - Parameter reactor: Where the child belongs.
    /// - Returns: A Deferred for the stream; it fails with the `IOError` of a start that failed.
    ///   Cancelling it ends the child.
    public func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        let joined = command.standardInput(.stream).standardOutput(.stream)
        let peer = ProcessPeer()
        var opening: ByteStream?
        // A stream that is released unused is closed, and ends its child.
        let result = Deferred<ByteStream>(on: reactor) { _ in opening = nil }
        do throws(IOError) {
            _ = try joined.start(on: reactor, peer, isJoined: true) { child, streams in
                let others = streams.streams.dropFirst()
                child.holdStream()
                let stream = ProcessStream(streams.streams[0].stream, to: child)
                peer.stream = stream
                child.begin(ChildStreams(streams: Array(others)))
                opening = ByteStream(stream, options: command.streamOptions)
            }
            // Not inside the call, as with any connect.
            reactor.callLater(.zero) {
                guard result.isPending, let stream = opening.take() else { return }
                result.succeed(stream)
            }
        } catch {
            reactor.refuseLater { if result.isPending { result.fail(error) } }
        }
        return result
    }
}

extension ProcessEndpoint: CustomStringConvertible {
    /// The endpoint's text, as `EndpointParser/addingProcesses()` reads it, without its options.
    public var description: String {
        (["exec", command.program] + command.arguments).map(EndpointParser.escaped)
            .joined(separator: ":")
    }
}

/// The child of an endpoint: its connection is asked to end when the reactor stops, not the child.
private final class ProcessPeer: ProcessProtocol {
    weak var stream: ProcessStream?

    func processExited(_ status: ProcessStatus, _ child: ChildProcess) {
        stream?.childExited(status)
    }

    func shutdownRequested(_ child: ChildProcess) {}
}

extension EndpointParser {
    /// The same with the type `exec`, for clients: a child process as the peer.
    ///
    ///     exec:sort:-u
    ///     exec:ssh:host:nc:\:\:1:22
    ///     exec:sh:-c:tr a-z A-Z:directory=/tmp
    ///
    /// The program is followed by its arguments, each as it is: a shell does not read them, and a
    /// colon, an equals sign or a backslash has a backslash before it. The option `directory` is
    /// the child's working directory. Its standard error is that of this process.
    ///
    /// A text of this type can run any program: leave the type out of parsers that read what others
    /// send.
    ///
    /// - Returns: A parser that knows the type as well.
    public func addingProcesses() -> EndpointParser {
        adding(client: "exec", example: "exec:sort:-u") { arguments in
            let program = try arguments.argument("program")
            var command = Command(program)
            command.workingDirectory = arguments.option("directory")
            command.arguments = arguments.remainingArguments()
            return ProcessEndpoint(command)
        }
    }
}
