// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion

/// `torsion receive`: writes what one client sends to a file.
struct ReceiveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receive",
        abstract: "Write what one client sends to a file, and end.",
        discussion: """
            Prints one line when it listens: listening on 127.0.0.1:41234 backend=epoll threads=1. \
            The client is closed when the file is. Ends with status 1 if the client broke off, or \
            the file could not be written; what had arrived stays in it.
            """)

    @Argument(help: "The file, which is replaced if there is one.")
    var file: String

    @Option(
        help:
            "Where to listen, for example tcp:8010:interface=127.0.0.1, tls:8011:certificate=FILE:key=FILE or unix:/run/sink."
    )
    var listen: String

    @OptionGroup var tls: TLSOptions

    @Flag(help: "Replace no file.")
    var keep = false

    @Option(help: "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.")
    var backend: String?

    func validate() throws {
        _ = try readEndpoint(listen, try tls.parser().server(parsing:))
        _ = try BackendChoice.chosen(backend)
    }

    func run() throws {
        let endpoint = try readEndpoint(listen, try tls.parser().server(parsing:))
        let backend = try BackendChoice.chosen(backend)
        let announcement = Announcement("backend=\(backend.name) threads=1")
        try tls.announce()
        let outcome = TransferOutcome()
        let access: FileAccess = keep ? .creating : .replacing
        try reportingErrors {
            try Reactor.run(backend: backend) { reactor in
                // At once: a file that cannot be opened is no reason to wait for a client.
                let file = FileConsumer(path: file, for: access, on: reactor)
                let receiver = FileReceiver(file, outcome, on: reactor)
                let port = try endpoint.listen(on: reactor) { receiver.takeFirst() }
                receiver.port = port
                announcement.make(for: port)
            }
            print("received \(try outcome.byteCount()) bytes")
        }
    }
}

/// Carries its one client's bytes to the file.
private final class FileReceiver: StreamProtocol {
    /// Which holds what makes its protocols, and so this.
    weak var port: ListeningPort?
    private let file: FileConsumer
    private var isTaken = false
    private weak var transport: (any StreamTransport)?

    init(_ file: FileConsumer, _ outcome: TransferOutcome, on reactor: Reactor) {
        self.file = file
        file.written.addBoth { [weak self] result in
            outcome.end(result)
            switch result {
            case .success: self?.transport?.loseConnection()
            // The sender must not take what arrived for what was kept.
            case .failure: self?.transport?.abortConnection()
            }
            reactor.stop(within: .seconds(30))
        }
    }

    /// This, for the first client; there is no second.
    func takeFirst() -> (any StreamProtocol)? {
        guard !isTaken else { return nil }
        isTaken = true
        return self
    }

    func connectionMade(_ transport: any StreamTransport) {
        port?.stopListening()
        self.transport = transport
        // How it ends, the file tells too.
        pipe(from: transport, to: file).whenFailed { _ in }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
