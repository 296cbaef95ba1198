// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionHTTP
internal import TorsionTLS

/// `torsion get`: fetches what is at a URL.
struct GetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Fetch what is at a URL over HTTP/1.1.",
        discussion: """
            The body goes to standard output. The command exits with 0 if all of the answer has \
            arrived and its status is 200 to 299. Otherwise it prints one sentence on standard error \
            and exits with 22, as curl --fail does, if the answer has another status, whose body is \
            not printed; with 69 if the server cannot be reached; with 2 if the answer is not HTTP; \
            and with 1 if the answer takes too long or breaks off, or the server's certificate cannot \
            be verified. A body that breaks off is printed as far as it has arrived; with --output it \
            stays in FILE.part. If the reader of standard output has gone, the command ends by \
            SIGPIPE, as other tools do.
            """)

    @Argument(help: "What to fetch, for example http://127.0.0.1:8080/ or https://example.org/a?b.")
    var url: String

    @Flag(help: "Ask for the head only, and print it.")
    var head = false

    @Option(
        name: .shortAndLong,
        help: "Write the body to this file, which is there only when all of it has come.")
    var output: String?

    @Option(
        help: ArgumentHelp(
            "A file with the roots that an https: server's certificate may lead to, as PEM.",
            valueName: "file"))
    var roots: String?

    @Option(
        help: ArgumentHelp(
            "Follow so many redirects.",
            valueName: "count"))
    var follow = 0

    @Flag(help: "Ask for a compressed body, and take the compression off: gzip and deflate.")
    var compressed = false

    @Flag(name: .shortAndLong, help: "Print the head of the answer on standard error.")
    var verbose = false

    @Flag(
        help: """
            Print an object as the last line on standard error: url, status, version, fields by \
            lower-case name, received, headMilliseconds, seconds, exitStatus; error.
            """)
    var json = false

    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    func validate() throws {
        let url = try place
        guard url.scheme == .http || url.scheme == .https else {
            throw ValidationError("\(url) is for WebSockets; get fetches http: and https:")
        }
        guard 0...100 ~= follow else {
            throw ValidationError("'\(follow)' is no number of redirects: allowed is 0 to 100")
        }
        guard output == nil || !head else {
            throw ValidationError("--head has no body that --output could take")
        }
        _ = try BackendChoice.chosen(backend)
    }

    private var place: HTTPURL {
        get throws {
            do throws(HTTPURLError) { return try HTTPURL(parsing: url) } catch {
                // What a browser would take.
                let hint = url.contains("://") ? "" : ". Did you mean 'http://\(url)'?"
                throw ValidationError("\(error)\(hint)")
            }
        }
    }

    func run() throws {
        let backend = try BackendChoice.chosen(backend)
        let fetch = Fetch(
            try place, prints: head, file: output.map { ReceivedFile(path: $0, keeps: false) },
            isVerbose: verbose)
        let dies = BrokenPipeSignal.isDefault
        var isOutputBroken = false
        var failure: (any Error)?
        do {
            if output == nil, ClosedOutput.isSo { throw ClosedOutput(what: "the body") }
            let security: ClientSecurity
            if let roots {
                var configuration = TLSClient()
                configuration.roots = try .file(roots)
                security = try .tls(configuration)
            } else {
                security = .tls
            }
            var options = HTTPClientOptions()
            options.decompresses = compressed
            if follow > 0 { options.redirects = .follow(limit: follow) }
            try Reactor.run(backend: backend, signals: .stop(within: .zero)) { reactor in
                try fetch.start(by: HTTPClient(on: reactor, options: options, security: security))
            }
            isOutputBroken = fetch.isOutputBroken
            failure = fetch.outcome
        } catch {
            failure = error
        }
        let status = failure.map(Self.status) ?? 0
        if json { try printErrorJSON(fetch.report(failure, status)) }
        if isOutputBroken, dies { BrokenPipeSignal.raise() }
        guard let failure else { return }
        if json { throw ExitCode(status) }
        try reportingErrors(status: Self.status) { throw failure }
    }

    private static func status(_ error: any Error) -> Int32 {
        error is RefusedFetch ? 22 : ExitStatus.of(error)
    }
}

/// What a fetch has found, for programs.
private struct FetchReport: Encodable {
    /// Where it was found in the end.
    let url: String
    let status: Int?
    let version: String?
    /// By name in lower case; a field may come several times.
    let fields: [String: [String]]?
    /// Bytes of the body, if all of it has come and was wanted.
    let received: Int?
    /// From the first attempt to the head of the answer, redirects included.
    let headMilliseconds: Double?
    /// To the end of the body.
    let seconds: Double
    let error: String?
    let advice: String?
    let exitStatus: Int32
}

/// An answer that is whole, and not what was asked for.
private struct RefusedFetch: Error, CustomStringConvertible {
    let url: HTTPURL
    let status: HTTPStatus

    var description: String { "\(url): \(status)" }
}

/// The command was told to end before it was done.
private struct InterruptedFetch: Error, CustomStringConvertible {
    let url: HTTPURL

    var description: String { "\(url): interrupted before all of it had come" }
}

/// What failed, with the URL.
private struct FailedFetch: CausedError, CustomStringConvertible {
    let url: HTTPURL
    let cause: any Error

    var description: String { "\(url): \((cause as? IOError)?.sentence ?? "\(cause)")" }
}

/// One URL on its way to standard output or a file.
private final class Fetch {
    private let url: HTTPURL
    private let prints: Bool
    private let file: ReceivedFile?
    private let isVerbose: Bool
    private var result: Result<Void, any Error>?
    private var response: ClientResponse?
    private var received: Int?
    private var start: MonotonicInstant?
    private var headTime = Duration.zero
    private var time = Duration.zero
    /// Nobody reads standard output any more.
    private(set) var isOutputBroken = false
    /// A reader that takes its time (`| less`) does not lose what has arrived.
    private let gracePeriod = Duration.seconds(86_400)

    init(_ url: HTTPURL, prints: Bool, file: ReceivedFile?, isVerbose: Bool) {
        self.url = url
        self.prints = prints
        self.file = file
        self.isVerbose = isVerbose
    }

    /// What the command failed with; `nil` if all is well.
    var outcome: (any Error)? {
        switch result {
        case nil: InterruptedFetch(url: url)
        case .success: nil
        case .failure(let error): error
        }
    }

    func report(_ error: (any Error)?, _ exitStatus: Int32) -> FetchReport {
        let head = response?.head
        var fields: [String: [String]] = [:]
        for field in head?.fields ?? FieldList() {
            fields["\(field.name)".lowercased(), default: []]
                .append(String(decoding: field.value))
        }
        let sentences = error.map(sentences)
        return FetchReport(
            url: "\(response?.url ?? url)", status: head?.status.code,
            version: head.map { "1.\($0.minorVersion)" }, fields: head == nil ? nil : fields,
            received: received, headMilliseconds: head == nil ? nil : milliseconds(headTime),
            seconds: seconds(time), error: sentences?.sentence, advice: sentences?.advice,
            exitStatus: exitStatus)
    }

    func start(by client: HTTPClient) throws {
        let reactor = client.reactor
        start = reactor.now
        let request = ClientRequest(
            url, method: prints ? .head : .get,
            fields: [.userAgent: "torsion/0.2.0", .accept: "*/*"])
        guard file == nil else { return send(request, by: client, to: nil) }
        var endpoint = ServerEndpoint.standardStreams
        endpoint.options.closeTimeout = gracePeriod
        try endpoint.listen(on: reactor) { [self] in
            Terminal(
                whenMade: { self.send(request, by: client, to: $0) },
                whenLost: { self.terminalLost($0, on: reactor) })
        }
    }

    private func send(
        _ request: ClientRequest, by client: HTTPClient, to terminal: (any StreamTransport)?
    ) {
        let reactor = client.reactor
        client.send(request)
            .addCallback { [self] response in
                self.response = response
                headTime = start?.duration(to: reactor.now) ?? .zero
                if isVerbose { _ = writeStandardError(Self.described(response.head)) }
                guard 200..<300 ~= response.status.code else {
                    throw RefusedFetch(url: response.url, status: response.status)
                }
                return deliver(response, to: terminal, on: reactor)
            }
            .addBoth { [self] (outcome: Result<Int, any Error>) in
                received = try? outcome.get()
                end(outcome.map { _ in }, on: reactor)
            }
    }

    private func deliver(
        _ response: ClientResponse, to terminal: (any StreamTransport)?, on reactor: Reactor
    ) -> Deferred<Int> {
        if prints { terminal?.write(Self.described(response.head)) }
        if let terminal { return response.body.pipe(to: terminal) }
        guard let file else { return .succeeded(0, on: reactor) }
        let consumer = FileConsumer(path: file.partPath, on: reactor)
        // What breaks the body fails `written` as well.
        response.body.pipe(to: consumer).whenFailed { _ in }
        return consumer.written.addCallback { count in
            try file.finish()
            return count
        }
    }

    private func end(_ outcome: Result<Void, any Error>, on reactor: Reactor) {
        time = start?.duration(to: reactor.now) ?? .zero
        if result == nil {
            // A signal ends what is under way: how it broke says nothing then.
            if case .failure = outcome, reactor.isStopping { return }
            result = outcome.mapError { error in
                error is RefusedFetch ? error : FailedFetch(url: url, cause: error)
            }
        }
        // With the body whole, whoever reads it gets all of it; of a part, what has left.
        if case .success = outcome {
            reactor.stop(within: gracePeriod)
        } else {
            reactor.stop(within: .seconds(1))
        }
    }

    private func terminalLost(_ why: ConnectionLoss, on reactor: Reactor) {
        guard case .failed(let error) = why else { return }
        isOutputBroken = error.code == .brokenPipe
        result = .failure(error)
        reactor.stop(within: .zero)
    }

    private static func described(_ head: ResponseHead) -> String {
        let lines = head.fields.map { "\($0.name): \(String(decoding: $0.value))\n" }.joined()
        return "HTTP/1.\(head.minorVersion) \(head.status)\n\(lines)\n"
    }
}

/// Standard output, until the body has left.
private final class Terminal: StreamProtocol {
    private let whenMade: (any StreamTransport) -> Void
    private let whenLost: (ConnectionLoss) -> Void

    init(
        whenMade: @escaping (any StreamTransport) -> Void,
        whenLost: @escaping (ConnectionLoss) -> Void
    ) {
        self.whenMade = whenMade
        self.whenLost = whenLost
    }

    func connectionMade(_ transport: any StreamTransport) {
        // Standard input is somebody else's.
        transport.pauseProducing()
        whenMade(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        whenLost(why)
    }
}
