// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Torsion
internal import TorsionTLS

/// `torsion receive`: writes what one client sends to a file.
struct ReceiveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receive",
        abstract: "Write what one client sends to a file, and end.",
        discussion: """
            Prints one line when it listens: listening on 127.0.0.1:41234 backend=epoll threads=1. \
            What arrives goes to FILE.part, which takes the name FILE when the client has ended \
            cleanly: until then a file that is there stays as it is. A device or a pipe is written to \
            as it is. Ends with status 1 if the client broke off, or the file could not be written; \
            what had arrived stays in FILE.part. Without TLS, a client that is killed looks like one \
            that has ended: --count says how much there has to be.
            """)

    @Argument(help: "The file, which is replaced if there is one.")
    var file: String

    @Option(
        help:
            "Where to listen, for example tcp:8010:interface=127.0.0.1, tls:8011:certificate=FILE:key=FILE or unix:/run/sink."
    )
    var listen: String

    @OptionGroup var tls: TLSOptions

    @Option(
        help: ArgumentHelp(
            "Fail if other than so many bytes come.",
            valueName: "bytes"))
    var count: Int?

    @Flag(help: "Fail if the file exists.")
    var keep = false

    @Flag(help: "Print the SHA-256 of what was received, to compare with the sender's.")
    var sha256 = false

    @Flag(help: "Print objects: listening, backend, threads; then received, sha256; or error.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    func validate() throws {
        _ = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
        _ = try BackendChoice.chosen(backend)
        guard !file.isEmpty else { throw ValidationError("a file needs a name") }
        guard count ?? 0 >= 0 else { throw ValidationError("--count is not negative") }
    }

    func run() throws {
        let endpoint = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
        let backend = try BackendChoice.chosen(backend)
        let announcement = Announcement(backend: backend, threads: 1, asJSON: json)
        try tls.announce()
        let outcome = TransferOutcome()
        let place = ReceivedFile(path: file, keeps: keep)
        let line = ProgressLine()
        try reportingErrors(asJSON: json) {
            try place.check(isReadAgain: sha256)
            try Reactor.run(backend: backend) { reactor in
                try CertificateSources.commandLine.reloadAtHangUp(on: reactor)
                // At once: a file that cannot be opened is no reason to wait for a client.
                let file = FileConsumer(path: place.partPath, for: .replacing, on: reactor)
                let receiver = FileReceiver(file, outcome, on: reactor)
                let port = try endpoint.listen(on: reactor) { receiver.takeFirst() }
                receiver.port = port
                announcement.make(for: port)
                guard let path = place.growingPath else { return }
                // The file's size is what was kept.
                LoopingCall(on: reactor) { line.show(ReceivedFile.size(of: path), 0) }
                    .start(every: .milliseconds(200), first: .afterInterval).ignore()
            }
            line.clear()
            let received = try outcome.byteCount()
            if let count, received != count {
                throw OtherCount(received: received, expected: count)
            }
            try place.finish()
            let digest = sha256 ? try SHA256.ofFile(file, byteCount: received) : nil
            if json { return try printJSON(Received(received: received, sha256: digest)) }
            print("received \(received) bytes")
            if let digest { print("sha256 \(digest)") }
        }
    }
}

private struct Received: Encodable {
    let received: Int
    let sha256: String?
}

/// The client ended with more or less than was said.
private struct OtherCount: Error, CustomStringConvertible {
    let received: Int
    let expected: Int
    var description: String { "received \(received) bytes, of \(expected)" }
}

/// A digest is made of the file when all of it is there.
private struct NotReadable: Error, CustomStringConvertible {
    let path: String
    var description: String { "--sha256 reads the file again, and \(path) is no regular file" }
}

/// Where what arrives goes, and when it gets its name.
struct ReceivedFile {
    let path: String
    let keeps: Bool

    /// Whether there is something of another kind than a file, which is written to as it is.
    private var isSpecial: Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFREG
    }

    /// What is written to.
    var partPath: String { isSpecial ? path : path + ".part" }

    /// What can be looked at meanwhile.
    var growingPath: String? { isSpecial ? nil : partPath }

    static func size(of path: String) -> Int64 {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : 0
    }

    /// - Throws: That there is a file which must stay, what cannot be read again, or why nothing can be
    ///   written.
    func check(isReadAgain: Bool) throws {
        guard !isReadAgain || !isSpecial else { throw NotReadable(path: path) }
        var status = stat()
        if keeps, lstat(path, &status) == 0 {
            throw IOError(.open, function: "", code: .fileExists, subject: path)
        }
        // What cannot be written is said before anybody is asked to send.
        let isThere = isSpecial || stat(partPath, &status) == 0
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        guard access(isThere ? partPath : folder, W_OK) == 0 else {
            throw IOError.ofFile("open", partPath)
        }
    }

    /// Everything has arrived: the part becomes the file, in one step.
    ///
    /// - Throws: That there is a file by now, which must stay, or what `rename(2)` met.
    func finish() throws(IOError) {
        guard !isSpecial else { return }
        if keeps {
            // Unlike `rename(2)` it replaces nothing.
            guard link(partPath, path) == 0 else { throw IOError.ofFile("link", path) }
            unlink(partPath)
        } else {
            guard rename(partPath, path) == 0 else { throw IOError.ofFile("rename", path) }
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
            // After a signal it is the signal that says why, not how the connection ended.
            if reactor.isStopping, case .failure(let error) = result, !(error is IOError) {
                outcome.end(.failure(TransferInterrupted()))
            }
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
        transport.pipe(to: file).whenFailed { _ in }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
