// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

private let backends = ["libuv", "epoll", "io_uring"]

/// Programs under parents that leave them less than a shell does.
@Suite(.serialized) struct ParentTests {
    /// What the test process has open for others is none of the program's.
    private static let closing = "for n in {3..99}; do eval \"exec $n>&-\"; done; "

    /// Starts the command by a shell, which prepares what a parent would.
    private func start(
        _ preparation: String, _ command: String, _ redirections: String = ""
    ) throws -> Program {
        let words = "\(preparation)exec \(Program.folder)/torsion \(command) \(redirections)"
        return try Program(path: "bash", ["-c", words])
    }

    /// A server that was given its listening socket, so that its clients need not wait for a line.
    private func startServer(
        _ preparation: String, _ command: String, _ redirections: String,
        _ body: (Program, UInt16) throws -> Void
    ) throws {
        let listener = try Socket.bound()
        try listener.listen()
        let number = listener.duplicateForChildren()
        defer { close(number) }
        try body(
            try start(preparation, "\(command) --listen fd:\(number)", redirections), listener.port)
    }

    private func isEchoed(by port: UInt16) throws -> Bool {
        let client = try Socket(port: port)
        client.write("hello\n")
        return client.readLine() == "hello"
    }

    private func expectEcho(by port: UInt16) throws {
        let isEchoed = try isEchoed(by: port)
        #expect(isEchoed)
    }

    private func expectRefusal(by port: UInt16) throws {
        let client = try Socket(port: port)
        #expect(client.readToEnd() == "")
    }

    // MARK: Standard streams

    /// Case P4.
    @Test(arguments: backends, ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
    func `no descriptor of ours gets the number of a closed standard stream`(
        backend: String, closing: String
    ) throws {
        try startServer("", "echo --backend \(backend)", closing) { echo, port in
            try expectEcho(by: port)
            for (number, name) in ["0<&-", "1>&-", "2>&-"].enumerated() where closing.contains(name)
            {
                #expect(echo.target(ofDescriptor: Int32(number)) == "/dev/null")
            }
            echo.signal(SIGTERM)
            #expect(echo.wait() == 0)
        }
    }

    /// Case P4.
    @Test(arguments: backends, ["0<&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"])
    func `connect without standard input passes on its end, and ends`(
        backend: String, closing: String
    ) throws {
        let server = try Socket.bound()
        try server.listen()
        let connect = try start(
            "", "connect tcp:127.0.0.1:\(server.port) --backend \(backend)", closing)
        let client = try server.accept()
        #expect(client.readToEnd() == "")
        client.close()
        #expect(connect.readOutput() == "")
        #expect(connect.wait() == 0)
    }

    @Test func `connect without standard output does not drop what comes in silence`() throws {
        let server = try Socket.bound()
        try server.listen()
        let connect = try start("", "connect tcp:127.0.0.1:\(server.port)", "1>&-")
        let client = try server.accept()
        client.write("lost")
        client.close()
        #expect(connect.readErrors().contains("standard output is closed: there is nowhere"))
        #expect(connect.wait() == 1)
    }

    /// Case P5.
    @Test(arguments: backends)
    func `a full standard error that nobody reads holds up nothing`(backend: String) throws {
        let full = try FullPipe()
        defer { full.close() }
        let target = try Socket.bound()
        let command = "proxy --to tcp:127.0.0.1:\(target.port) --backend \(backend)"
        try startServer("", command, "2>&\(full.input)") { proxy, port in
            // Each is refused, with a line that finds no room.
            for _ in 0..<20 { try expectRefusal(by: port) }
            #expect(!full.isNonBlocking, "other writers would lose what they write")
            proxy.signal(SIGTERM)
            #expect(proxy.wait() == 0)
        }
    }

    /// A pair of stream sockets, of which the second one, for a child, takes a part of most texts.
    private func tinySocket() throws -> [Int32] {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        var least: Int32 = 1
        setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &least, 4)
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        return ends
    }

    @Test func `the report of a conversation is a line of its own, whatever was cut before it`()
        throws
    {
        let ends = try tinySocket()
        defer { close(ends[0]) }
        let server = try Socket.bound()
        try server.listen()
        let connect = try start(
            "", "connect :\(server.port) --log hex --json", "2>&\(ends[1])")
        close(ends[1])
        let peer = try server.accept()
        peer.write(String(repeating: "x", count: 40_000))
        peer.close()
        // Nothing was read until now, so what it shows is cut.
        #expect(connect.readOutput().utf8.count == 40_000)
        var shown: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while case let count = read(ends[0], &bytes, bytes.count), count > 0 {
            shown += bytes[..<count]
        }
        let rows = String(decoding: shown, as: UTF8.self).split(separator: "\n")
        let last = try #require(rows.last)
        #expect(last.hasPrefix("{\"") && last.hasSuffix("}"), "\(last)")
        #expect(rows.count > 10)
        _ = connect.wait()
    }

    /// A stream socket takes a part of a text.
    @Test(arguments: backends)
    func `what standard error took a part of is cut, and the next row begins a line`(
        backend: String
    ) throws {
        let ends = try tinySocket()
        defer { close(ends[0]) }
        let server = try Socket.bound()
        try server.listen()
        let relay = try start(
            "", "relay 127.0.0.1:0 :\(server.port) --log hex --backend \(backend)", "2>&\(ends[1])")
        close(ends[1])
        let words = relay.readLine().split(separator: " ")
        let port = try #require(UInt16(words[2].split(separator: ":").last ?? ""))
        let client = try Socket(port: port)
        let peer = try server.accept()
        var shown: [UInt8] = []
        let piece = String(repeating: "x", count: 2_000)
        for _ in 0..<200 {
            client.write(piece)
            #expect(peer.readBytes(piece.utf8.count).count == piece.utf8.count)
            var bytes = [UInt8](repeating: 0, count: 1_500)
            let count = recv(ends[0], &bytes, bytes.count, Int32(MSG_DONTWAIT))
            if count > 0 { shown += bytes[..<count] }
        }
        client.close()
        relay.signal(SIGTERM)
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while case let count = read(ends[0], &bytes, bytes.count), count > 0 {
            shown += bytes[..<count]
        }
        #expect(relay.wait() == 0)
        let rows = String(decoding: shown, as: UTF8.self).split(separator: "\n")
        let whole = "1 > 00000000  \(String(repeating: "78 ", count: 16)) |xxxxxxxxxxxxxxxx|"
        let short = rows.filter { $0.hasPrefix("1 > 0") && $0.utf8.count < whole.utf8.count }
        #expect(rows.count > 200 && !short.isEmpty, "nothing was cut")
        #expect(rows.contains { $0.hasSuffix("lines left out)") })
        #expect(rows.filter { $0.utf8.count > whole.utf8.count || !$0.hasPrefix("1") } == [])
    }

    /// Case P5.
    @Test func `the same trouble is one line, and a count at the end`() throws {
        let target = try Socket.bound()
        try startServer("", "proxy --to tcp:127.0.0.1:\(target.port)", "") { proxy, port in
            for _ in 0..<20 { try expectRefusal(by: port) }
            proxy.signal(SIGTERM)
            #expect(
                proxy.readErrors()
                    == "cannot connect to 127.0.0.1:\(target.port): connection refused"
                    + " (ECONNREFUSED)\ntorsion: (19 more)\n")
            #expect(proxy.wait() == 0)
        }
    }

    /// Case P6.
    @Test(arguments: backends)
    func `a terminal is never made non-blocking for who shares it`(backend: String) throws {
        let terminal = try SharedTerminal()
        defer { terminal.close() }
        let server = try Socket.bound()
        try server.listen()
        // Two of one number, one behind the other, may be one.
        for signals in [[SIGTERM, SIGINT], [SIGKILL]] {
            let connect = try start(
                "", "connect tcp:127.0.0.1:\(server.port) --backend \(backend)",
                "0<&\(terminal.slave) 1>&\(terminal.slave)")
            let client = try server.accept()
            terminal.type("typed\n")
            #expect(client.readLine() == "typed")
            client.write("shown\n")
            #expect(terminal.readLine() == "shown")
            #expect(!terminal.isNonBlocking)
            for signal in signals { connect.signal(signal) }
            // The first of two may have ended it before the second came.
            let status = connect.wait()
            #expect(status < 0 || status == 0 && signals.count > 1)
            #expect(!terminal.isNonBlocking)
        }
    }

    /// Case P6.
    @Test(arguments: backends, ["yes", "cat /dev/zero | tr '\\0' '\\n'"])
    func `connect ends by SIGPIPE when its reader has gone, and says nothing`(
        backend: String, endless: String
    ) throws {
        let (echo, endpoint) = try startEcho("", backend)
        // Its input never ends.
        let line =
            "\(endless) | \(Program.folder)/torsion connect \(endpoint) --backend \(backend)"
            + " | head -1 > /dev/null; echo ${PIPESTATUS[-2]}"
        let pipeline = try Program(path: "bash", ["-c", line])
        #expect(pipeline.readOutput() == "\(128 + SIGPIPE)\n")
        #expect(pipeline.readErrors() == "")
        #expect(pipeline.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test func `where SIGPIPE is ignored, a reader that has gone is an error`() throws {
        let (echo, endpoint) = try startEcho("", "epoll")
        let line =
            "trap '' PIPE; yes 2>/dev/null | \(Program.folder)/torsion connect \(endpoint)"
            + " | head -1 > /dev/null; echo ${PIPESTATUS[1]}"
        let pipeline = try Program(path: "bash", ["-c", line])
        #expect(pipeline.readOutput() == "1\n")
        #expect(pipeline.readErrors().hasSuffix("broken pipe (EPIPE)\n"))
        #expect(pipeline.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    // MARK: Signals

    private func startEcho(
        _ preparation: String, _ backend: String
    ) throws -> (program: Program, endpoint: String) {
        let echo = try start(preparation, "echo --port 0 --backend \(backend)")
        let words = echo.readLine().split(separator: " ").map(String.init)
        try #require(words.count == 5, "\(words)")
        return (echo, "tcp:" + words[2])
    }

    /// Case P6.
    @Test(arguments: [("INT", SIGINT, SIGTERM), ("TERM", SIGTERM, SIGINT)])
    func `a signal that the parent ignored stays ignored`(
        name: String, ignored: Int32, other: Int32
    ) throws {
        try startServer("trap '' \(name); ", "echo", "") { echo, port in
            #expect(echo.readLine().hasPrefix("listening"))
            echo.signal(ignored)
            echo.signal(ignored)
            try expectEcho(by: port)
            echo.signal(other)
            #expect(echo.wait() == 0)
        }
    }

    // MARK: Descriptors

    /// Case P7: whatever is missing, it is said.
    @Test(arguments: backends)
    func `with too few descriptors to start it says so, with status 1`(backend: String) throws {
        var startedCount = 0
        for limit in 4...26 {
            let echo = try start(
                Self.closing + "ulimit -n \(limit); ", "echo --port 0 --backend \(backend)")
            if echo.readLine().hasPrefix("listening on") {
                startedCount += 1
                echo.signal(SIGTERM)
                #expect(echo.wait() == 0, "with \(limit)")
                continue
            }
            let errors = echo.readErrors()
            #expect(errors.contains("too many open files (EMFILE)"), "with \(limit): \(errors)")
            let status = echo.wait()
            // 127: the dynamic linker could not open a library; 64: it cannot be probed.
            #expect([1, 64, 127].contains(status), "with \(limit): status \(status), \(errors)")
            #expect(startedCount == 0, "\(limit) are too few, and fewer were not")
        }
        #expect(startedCount >= 3)
    }

    /// Case P8.
    @Test(arguments: backends, ["127.0.0.1", "localhost"])
    func `a proxy leaves room for its other side`(backend: String, host: String) throws {
        let (echo, endpoint) = try startEcho("", backend)
        let port = endpoint.split(separator: ":").last!
        let command =
            "proxy --listen tcp:0:interface=127.0.0.1 --to tcp:\(host):\(port) --backend \(backend)"
        let proxy = try start(Self.closing + "ulimit -n 60; ", command)
        let words = proxy.readLine().split(separator: ":")
        let own = try #require(UInt16(words[1].prefix { $0 != " " }))
        let clients = try (0..<300).map { _ in try Socket(port: own) }
        for client in clients { client.write("hello\n") }
        let servedCount = clients.count { $0.readLine() == "hello" }
        // Of 60, 16 to 20 are the reactor's own, and some are left to look names up.
        #expect(16...20 ~= servedCount, "\(servedCount)")
        for client in clients { client.close() }
        // Their descriptors are free again, as soon as the proxy has heard of it.
        #expect(try (0..<1_000).contains { _ in try isEchoed(by: own) })
        proxy.signal(SIGTERM)
        let lines = proxy.readErrors().split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0] == "\(servedCount) clients are all that there are descriptors for")
        #expect(lines[1].hasPrefix("torsion: (") && lines[1].hasSuffix(" more)"))
        #expect(proxy.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }
}

/// A terminal whose near side the test keeps open, as a shell does.
private final class SharedTerminal {
    let slave: Int32
    private let master: Int32

    init() throws {
        var ends: (Int32, Int32) = (0, 0)
        var settings = termios()
        guard openpty(&ends.0, &ends.1, nil, nil, nil) == 0, tcgetattr(ends.1, &settings) == 0
        else {
            throw CallFailure(call: "openpty", code: errno)
        }
        (master, slave) = ends
        _ = fcntl(master, F_SETFD, FD_CLOEXEC)
        settings.c_lflag &= ~tcflag_t(ECHO)
        settings.c_oflag &= ~tcflag_t(OPOST)
        guard tcsetattr(slave, TCSANOW, &settings) == 0 else {
            throw CallFailure(call: "tcsetattr", code: errno)
        }
    }

    func type(_ text: String) {
        let bytes = Array(text.utf8)
        _ = write(master, bytes, bytes.count)
    }

    func readLine() -> String {
        var line: [UInt8] = [], byte: UInt8 = 0
        while read(master, &byte, 1) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
        return String(decoding: line, as: UTF8.self)
    }

    var isNonBlocking: Bool { fcntl(slave, F_GETFL) & O_NONBLOCK != 0 }

    func close() { for end in [master, slave] { Glibc.close(end) } }
}
