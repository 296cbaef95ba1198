// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// `torsion send`: sends a file to a server.
struct SendCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Send a file to a server, and wait until it has taken all of it.",
        discussion: """
            The file is opened before the server is called, so that a misspelt name, or a folder, \
            disturbs nobody. \
            On a terminal one line tells how far it is. A file whose size the system does not know, as \
            of /proc, is refused: cat FILE | torsion connect ENDPOINT sends such. Ends with status 1 if \
            the file could not be sent whole.
            """)

    @Argument(help: "The file.")
    var file: String

    @Argument(
        help:
            "Where to connect to, for example tcp:example.org:8010, tls:example.org:8011 or unix:/run/sink."
    )
    var endpoint: String

    @Option(help: ArgumentHelp("Begin with this byte, counted from 0.", valueName: "byte"))
    var offset: Int64 = 0

    @Option(
        help: ArgumentHelp(
            "Send so many bytes; else all to the end.",
            valueName: "bytes"))
    var count: Int64?

    @Flag(help: "Print the SHA-256 of what was sent, to compare with the receiver's.")
    var sha256 = false

    @Flag(help: "Print an object: sent, sha256; or error.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    func validate() throws {
        guard offset >= 0, count ?? 0 >= 0 else {
            throw ValidationError("--offset and --count are not negative")
        }
        _ = try readEndpoint(clientText(endpoint), EndpointParser.commandLine().client(parsing:))
        _ = try BackendChoice.chosen(backend)
    }

    func run() throws {
        let endpoint = try readEndpoint(
            clientText(endpoint), EndpointParser.commandLine().client(parsing:))
        let backend = try BackendChoice.chosen(backend)
        let outcome = TransferOutcome()
        let line = ProgressLine()
        try reportingErrors(asJSON: json) {
            try checkFile()
            try Reactor.run(backend: backend) { reactor in
                let producer = FileProducer(
                    path: file, offset: offset, byteCount: count, on: reactor,
                    progress: line.show)
                endpoint.connect(on: reactor) { FileSender(producer, outcome, to: self.endpoint) }
                    .whenFailed { error in
                        outcome.end(.failure(PlacedError.of(error, at: self.endpoint)))
                        reactor.stop(within: .zero)
                    }
            }
            line.clear()
            let sent = try outcome.byteCount()
            let digest = sha256 ? try SHA256.ofFile(file, offset: offset, byteCount: sent) : nil
            if json { return try printJSON(Sent(sent: sent, sha256: digest)) }
            print("sent \(sent) bytes")
            if let digest { print("sha256 \(digest)") }
        }
    }

    private struct Sent: Encodable {
        let sent: Int
        let sha256: String?
    }

    private struct UnknownSize: Error, CustomStringConvertible {
        let path: String
        var description: String {
            "\(path) has bytes, but no size; cat \(path) | torsion connect ENDPOINT sends it"
        }
    }

    /// - Throws: Why it cannot be sent, before anybody is called.
    private func checkFile() throws {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw IOError.ofFile("open", file) }
        defer { close(descriptor) }
        var status = stat()
        var byte: UInt8 = 0
        guard fstat(descriptor, &status) == 0 else { throw IOError.ofFile("fstat", file) }
        guard status.st_mode & S_IFMT != S_IFDIR else {
            throw IOError(.open, function: "", code: .isDirectory, subject: file)
        }
        let isRegular = status.st_mode & S_IFMT == S_IFREG
        if isRegular, status.st_size == 0, read(descriptor, &byte, 1) == 1 {
            throw UnknownSize(path: file)
        }
    }
}

/// How the one transfer of a command ended.
final class TransferOutcome {
    private var result: Result<Int, any Error>?

    /// The first counts.
    func end(_ result: Result<Int, any Error>) { if self.result == nil { self.result = result } }

    /// - Throws: Why it failed; a signal is a reason too.
    func byteCount() throws -> Int { try (result ?? .failure(TransferInterrupted())).get() }
}

/// A signal came before the transfer had ended.
struct TransferInterrupted: Error, CustomStringConvertible {
    var description: String { "interrupted" }
}

/// Sends its file, and closes.
private final class FileSender: StreamProtocol {
    private let producer: FileProducer
    private let outcome: TransferOutcome
    /// As it was asked for.
    private let place: String
    private var sent: Int?

    init(_ producer: FileProducer, _ outcome: TransferOutcome, to place: String) {
        self.producer = producer
        self.outcome = outcome
        self.place = place
    }

    func connectionMade(_ transport: any StreamTransport) {
        producer.pipe(to: transport)
            .addCallback { [self] count in
                sent = count
                transport.loseConnection()
            }
            // What the connection broke of says more than that it did.
            .whenFailed { [outcome] error in
                if !(error is PipeBroken) { outcome.end(.failure(error)) }
            }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        if let sent, why.isClean {
            outcome.end(.success(sent))
        } else if transport.reactor.isStopping {
            // A signal: how the connection then ended is no news.
            outcome.end(.failure(TransferInterrupted()))
        } else {
            outcome.end(.failure(PlacedError.of(why, at: place)))
        }
        // With time for what the kernel has: a server that talks meanwhile would have it destroyed.
        transport.reactor.stop()
    }
}
