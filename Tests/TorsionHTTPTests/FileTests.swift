// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// A folder of files for one test.
private final class Folder {
    let path: String

    init() throws {
        var template = Array("/tmp/torsion-http-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in ["a.txt", "index.html", ".secret", "sub/b.bin", "sub/index.html", "out", "in"] {
            unlink("\(path)/\(name)")
        }
        rmdir("\(path)/sub")
        rmdir(path)
    }

    func write(_ name: String, _ text: String) throws {
        let file = try #require(fopen("\(path)/\(name)", "w"))
        fputs(text, file)
        fclose(file)
    }
}

/// One reactor with a server of files, and one blocking client on a thread.
private func collectAnswers(
    on backend: BackendChoice, _ responder: @escaping () -> any HTTPResponder,
    to requests: [String], _ unhandled: ((String) -> Void)? = nil
) throws -> [String] {
    var answers: [String] = []
    try Reactor.run(backend: backend, signals: .ignore) { (reactor: Reactor) in
        reactor.unhandledError = { unhandled?("\($0)") }
        let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
            .listen(on: reactor, http: HTTPServerOptions(), responder)
        let address = port.localAddress
        var rest = requests[...]
        func next() {
            guard let request = rest.popFirst() else {
                reactor.stop(within: .seconds(5))
                return
            }
            let taker = Taker { answer in
                answers.append(answer)
                next()
            }
            ClientEndpoint.address(address).connect(on: reactor) { taker }
                .addCallback { _ in taker.transport?.write(request) }
                .whenFailed { answers.append("\($0)") }
        }
        next()
    }
    return answers
}

/// Keeps what it reads until the peer's end.
private final class Taker: StreamProtocol {
    private(set) var transport: (any StreamTransport)?
    private var bytes: [UInt8] = []
    private let done: (String) -> Void

    init(_ done: @escaping (String) -> Void) { self.done = done }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) { self.bytes += bytes }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        let text = String(decoding: bytes, as: UTF8.self)
        done(why.isClean ? text : text + "(\(why))")
    }
}

private func close(_ path: String, _ fields: String = "", _ method: String = "GET") -> String {
    "\(method) \(path) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\(fields)\r\n"
}

@Suite struct FileTests {
    @Test(arguments: BackendChoice.tested)
    func `files are sent whole, in part, and not again to whoever has them`(
        backend: BackendChoice
    ) throws {
        let folder = try Folder()
        mkdir(folder.path + "/sub", 0o755)
        try folder.write("a.txt", "0123456789")
        try folder.write("index.html", "<p>")
        try folder.write("sub/index.html", "sub")
        var stamp = [
            timespec(tv_sec: 784_111_777, tv_nsec: 5), timespec(tv_sec: 784_111_777, tv_nsec: 5),
        ]
        utimensat(AT_FDCWD, folder.path + "/a.txt", &stamp, 0)
        let path = folder.path
        func ask(_ requests: [String]) throws -> [String] {
            try collectAnswers(on: backend, { FileResponder(folder: path) }, to: requests) {
                Issue.record("\($0)")
            }
        }
        let first = try ask([close("/a.txt"), close("/"), close("/sub"), close("/sub/?q")])
        try #require(first.count == 4)
        #expect(
            first[0].hasPrefix("HTTP/1.1 200 OK\r\n") && first[0].hasSuffix("\r\n\r\n0123456789"))
        #expect(first[0].contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"))
        #expect(first[0].contains("\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"))
        #expect(first[0].contains("\r\nAccept-Ranges: bytes\r\n"))
        #expect(first[0].contains("\r\nContent-Length: 10\r\n"))
        #expect(first[1].hasSuffix("<p>") && first[1].contains("text/html"))
        #expect(first[2].hasPrefix("HTTP/1.1 301 ") && first[2].contains("\r\nLocation: /sub/\r\n"))
        #expect(first[3].hasSuffix("sub"))
        let line = first[0].split(separator: "\r\n").first { $0.hasPrefix("ETag: ") }
        let tag = String(try #require(line).dropFirst(6))
        let date = "Sun, 06 Nov 1994 08:49:37 GMT"
        let cases: [(String, String, String)] = [
            ("Range: bytes=2-4", "206", "234"), ("Range: bytes=7-", "206", "789"),
            ("Range: bytes=-2", "206", "89"), ("Range: bytes=0-99", "206", "0123456789"),
            ("Range: bytes=-99", "206", "0123456789"), ("Range: bytes=10-", "416", ""),
            ("Range: bytes=-0", "416", ""), ("Range: bytes=4-2", "200", "0123456789"),
            ("Range: bytes=1-2,4-5", "200", "0123456789"),
            ("Range: lines=1-2", "200", "0123456789"),
            ("Range: bytes=a-b", "200", "0123456789"),
            ("Range: bytes=99999999999999999999-", "416", ""),
            ("If-None-Match: \(tag)", "304", ""), ("If-None-Match: \"x\", W/\(tag)", "304", ""),
            ("If-None-Match: *", "304", ""), ("If-None-Match: \"x\"", "200", "0123456789"),
            ("If-Modified-Since: \(date)", "304", ""),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", "200", "0123456789"),
            ("If-None-Match: \"x\"\r\nIf-Modified-Since: \(date)", "200", "0123456789"),
            ("If-Match: \(tag)", "200", "0123456789"), ("If-Match: \"x\"", "412", ""),
            ("If-Match: W/\(tag)", "412", ""),
            ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", "412", ""),
            ("If-Range: \(tag)\r\nRange: bytes=2-4", "206", "234"),
            ("If-Range: \"x\"\r\nRange: bytes=2-4", "200", "0123456789"),
            ("If-Range: W/\(tag)\r\nRange: bytes=2-4", "200", "0123456789"),
            ("If-Range: \(date)\r\nRange: bytes=2-4", "206", "234"),
            ("If-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\nRange: bytes=2-4", "200", "0123456789"),
        ]
        let answers = try ask(cases.map { close("/a.txt", $0.0 + "\r\n") })
        try #require(answers.count == cases.count)
        for (answer, (field, status, body)) in zip(answers, cases) {
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(field): \(answer)")
            #expect(answer.hasSuffix("\r\n\r\n" + body), "\(field): \(answer)")
            if status == "206" { #expect(answer.contains("\r\nContent-Range: bytes "), "\(field)") }
            if status == "416" {
                #expect(answer.contains("\r\nContent-Range: bytes */10\r\n"), "\(field)")
            }
        }
        let others = try ask([close("/a.txt", "", "HEAD"), close("/a.txt", "", "PUT"), close("/b")])
        #expect(others[0].hasSuffix("\r\n\r\n") && others[0].contains("\r\nContent-Length: 10\r\n"))
        #expect(others[1].hasPrefix("HTTP/1.1 405 ") && others[1].contains("Allow: GET, HEAD"))
        #expect(others[2].hasPrefix("HTTP/1.1 404 "))
    }

    @Test func `H-91: no way leads out of the folder, and dot files are not shown`() throws {
        let folder = try Folder()
        mkdir(folder.path + "/sub", 0o755)
        try folder.write(".secret", "secret")
        try folder.write("a.txt", "shown")
        #expect(symlink("/etc/passwd", folder.path + "/out") == 0)
        #expect(symlink("../a.txt", folder.path + "/sub/index.html") == 0)
        let path = folder.path
        let hidden = [
            "/../etc/passwd", "/sub/../../etc/passwd", "/%2e%2e/etc/passwd", "/..%2fetc/passwd",
            "/out",
            "/.secret", "/%2esecret", "/sub/..", "//etc/passwd", "/a.txt%00", "/a.txt%", "/a.txt%2",
            "/%zz",
            "/a.txt/b", "/./.secret", "/sub/.../a", "/" + String(repeating: "a", count: 5_000),
            "/\\..\\a",
        ]
        let answers = try collectAnswers(
            on: .epoll, { FileResponder(folder: path) },
            to: (hidden + ["/sub/", "//a.txt"]).map { close($0) }
        ) { Issue.record("\($0)") }
        try #require(answers.count == hidden.count + 2)
        for (path, answer) in zip(hidden, answers) {
            #expect(answer.hasPrefix("HTTP/1.1 404 "), "\(path): \(answer)")
        }
        // A link that stays inside is followed.
        #expect(answers[hidden.count].hasSuffix("shown"))
        #expect(answers[hidden.count + 1].hasSuffix("shown"))
        // Two slashes name another host to a client that is sent there.
        #expect(FilePath.withSlash(Bytes("//evil/x").span, nil) == "/evil/x/")
    }

    @Test func `what is no file is not there, and an empty one is sent whatever part is asked for`()
        throws
    {
        let folder = try Folder()
        try folder.write("a.txt", "")
        #expect(mkfifo(folder.path + "/in", 0o600) == 0)
        let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { Glibc.close(socket) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { place in
            for (index, byte) in (folder.path + "/out").utf8.enumerated() { place[index] = byte }
        }
        let bound = withUnsafeBytes(of: &address) { bytes in
            bind(
                socket, bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self),
                socklen_t(bytes.count))
        }
        try #require(bound == 0)
        let path = folder.path
        let ranges = ["", "Range: bytes=0-\r\n", "Range: bytes=-1\r\n", "Range: bytes=0-0\r\n"]
        let answers = try collectAnswers(
            on: .epoll, { FileResponder(folder: path) },
            to: ranges.map { close("/a.txt", $0) } + [close("/in"), close("/out")]
        ) { Issue.record("\($0)") }
        try #require(answers.count == ranges.count + 2)
        for answer in answers[..<ranges.count] {
            #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("\r\n\r\n"))
        }
        for answer in answers[ranges.count...] { #expect(answer.hasPrefix("HTTP/1.1 404 ")) }
    }

    @Test(arguments: BackendChoice.tested)
    func `H-92: a file that shrinks while it is sent aborts the connection`(
        backend: BackendChoice
    ) throws {
        let folder = try Folder()
        try folder.write("a.txt", String(repeating: "x", count: 1_000))
        let path = folder.path
        var reports: [String] = []
        let answers = try collectAnswers(
            on: backend,
            {
                Responding { head, exchange in
                    let reactor = exchange.reactor
                    let file = try reactor.files.open("a.txt", beneath: path)
                    truncate(path + "/a.txt", 10)
                    let producer = FileProducer(
                        file: file.file, path: "a.txt", offset: 0, byteCount: 1_000, on: reactor)
                    exchange.respond(.ok, body: producer, byteCount: 1_000)
                }
            }, to: [close("/a.txt")]
        ) { reports.append($0) }
        #expect(answers.count == 1 && answers[0].contains("reset"), "\(answers)")
        #expect(reports.count == 1, "\(reports)")
    }

    @Test func `a file of some megabytes arrives whole, by chunks of the kernel's choice`() throws {
        let folder = try Folder()
        let bytes = [UInt8].pattern(count: 3_000_000)
        let file = try #require(fopen(folder.path + "/a.txt", "w"))
        #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
        fclose(file)
        let path = folder.path
        for backend in BackendChoice.tested {
            var count = 0
            try Reactor.run(backend: backend, signals: .ignore) { reactor in
                let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                    .listen(on: reactor, http: HTTPServerOptions()) { FileResponder(folder: path) }
                let counter = Counter {
                    count = $0; reactor.stop(within: .seconds(5))
                }
                ClientEndpoint.address(port.localAddress).connect(on: reactor) { counter }
                    .addCallback { _ in counter.transport?.write(close("/a.txt")) }
                    .whenFailed { _ in reactor.stop() }
            }
            #expect(count > 3_000_000 && count < 3_000_600, "\(backend.name): \(count)")
        }
    }

    @Test func `media types follow the ending of a name, in any case`() {
        #expect(MediaType.ofFile("/a/b.HTML") == "text/html; charset=utf-8")
        #expect(MediaType.ofFile("a.b.png") == "image/png")
        for path in ["a", ".png", "a/.png", "", "a.unknown", "a.b/c"] {
            #expect(MediaType.ofFile(path) == "application/octet-stream", "\(path)")
        }
    }
}

private final class Counter: StreamProtocol {
    private(set) var transport: (any StreamTransport)?
    private var count = 0
    private let done: (Int) -> Void
    init(_ done: @escaping (Int) -> Void) { self.done = done }
    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        count += bytes.byteCount
    }
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        done(count)
    }
}
