// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Synchronization
internal import Torsion
internal import TorsionTLS

/// The options of the commands that serve until they are told to end.
struct ServingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    @Option(
        help: ArgumentHelp(
            "Threads, each with a reactor and a listening socket of its own.",
            valueName: "count"))
    var threads = 1

    @Option(
        help: ArgumentHelp(
            "Seconds that open connections are given at the end.",
            valueName: "seconds"))
    var grace = 0.5

    @Option(
        help: ArgumentHelp(
            "Of these seconds, how long clients are still accepted when the end has begun.",
            valueName: "seconds"))
    var lameDuck = 0.0

    @Option(
        help: ArgumentHelp(
            "A UNIX socket at which torsion doctor unix:PATH may ask this server; for one thread.",
            valueName: "path"))
    var admin: String?

    @Flag(
        help: """
            Print an object: listening, backend, threads; and one for an error that ends the command.
            """)
    var json = false

    /// - Throws: `ValidationError`, which ends the command with status 64.
    func check() throws {
        guard 1...1024 ~= threads else {
            throw ValidationError("'\(threads)' is no number of threads: allowed is 1 to 1024")
        }
        guard 0...86_400 ~= grace else {
            throw ValidationError("'\(grace)' is no grace: allowed is 0 to 86400 seconds")
        }
        guard 0...grace ~= lameDuck else {
            throw ValidationError(
                "'\(lameDuck)' is no lame duck: allowed is 0 to \(grace) seconds, the grace")
        }
        guard admin != "" else {
            throw ValidationError("--admin takes a path, such as /run/a.admin")
        }
        if admin != nil, threads > 1 {
            throw ValidationError("--admin is for one thread, not \(threads)")
        }
        _ = try BackendChoice.chosen(backend)
    }

    /// Runs `body` once on each thread, until SIGINT or SIGTERM.
    ///
    /// With `handOver` the next process takes the port of `admin` too, by that path.
    func run(
        handingOverBy handOver: String? = nil,
        _ body: @escaping @Sendable (Reactor, Announcement) throws -> Void
    ) throws {
        let backend = try BackendChoice.chosen(backend)
        let announcement = Announcement(backend: backend, threads: threads, asJSON: json)
        raiseDescriptorLimit()
        let reloads = Once()
        let policy = SignalPolicy.stop(lameDuck: .seconds(lameDuck), within: .seconds(grace))
        try reportingErrors(asJSON: json) {
            try ReactorGroup.run(
                count: threads, backend: backend, signals: policy
            ) { reactor in
                if reloads.begin() {
                    try CertificateSources.commandLine.reloadAtHangUp(on: reactor)
                }
                if let admin {
                    var endpoint = ServerEndpoint.unix(path: admin)
                    endpoint.options.unixMode = 0o600
                    let place: any StreamServerEndpoint =
                        if let handOver {
                            endpoint.handedOver(by: handOver, within: .seconds(grace))
                        } else { endpoint }
                    try AdminEndpoint(place).listen(on: reactor)
                }
                try body(reactor, announcement)
            }
        }
    }
}

/// Set once.
final class Once: Sendable {
    private let isDone = Atomic(false)

    /// Whether it is set.
    var hasBegun: Bool { isDone.load(ordering: .relaxed) }

    /// Whether this call is the first.
    @discardableResult
    func begin() -> Bool { !isDone.exchange(true, ordering: .relaxed) }
}

/// The line that tools wait for, printed by the first thread that listens.
///
///     listening on 127.0.0.1:41234 backend=epoll threads=1
final class Announcement: Sendable {
    struct Object: Encodable {
        let listening: String
        let backend: String
        let threads: Int

        /// One line of JSON.
        var line: String { get throws { try json(self) } }
    }

    private let backend: String
    private let threads: Int
    private let isJSON: Bool
    private let isMade = Atomic(false)

    init(backend: BackendChoice, threads: Int, asJSON isJSON: Bool) {
        self.backend = backend.name
        self.threads = threads
        self.isJSON = isJSON
    }

    func make(for port: ListeningPort) { make(at: port.localAddress) }

    func make(at address: SocketAddress) {
        guard !isMade.exchange(true, ordering: .relaxed) else { return }
        let object = Object(listening: "\(address)", backend: backend, threads: threads)
        let line = "listening on \(address) backend=\(backend) threads=\(threads)"
        print(isJSON ? (try? json(object)) ?? line : line)
        fflush(nil)
    }
}
