// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// An echo server that can be measured: a command that prints
/// `listening on 127.0.0.1:PORT backend=NAME threads=1` and ends on SIGTERM.
struct Server: Sendable {
    enum Kind: Sendable { case twin, torsion, peer }

    let name: String
    let kind: Kind
    /// Whether it is another face of an engine, or serves what others do not, for one scenario only.
    var isFace = false
    /// Set for it, beside what the harness itself has.
    var environment: [String: String] = [:]
    /// What is started, for what the scenario sends.
    let command: @Sendable (Framing) -> [String]

    /// Bytes of a TCP stream, lines of one to a server of lines, UDP's datagrams, bytes over TLS, a
    /// WebSocket's messages, or HTTP's requests for files, where `raw` is for its hello.
    enum Framing: Sendable { case raw, lines, datagrams, secure, webSocket, files }

    /// Whether a machine may be unable to run it: containers often forbid io_uring.
    var isOptional: Bool { kind == .peer || name == "torsion-io_uring" || name == "uring-c" }
}

extension Server {
    /// The same, with an option more.
    func with(_ option: String) -> Server {
        Server(name: name, kind: kind, isFace: true) { [command] in command($0) + [option] }
    }

    static func twin(_ name: String, programs: String, isFace: Bool = false) -> Server {
        Server(name: name, kind: .twin, isFace: isFace) { _ in ["\(programs)/\(name)", "0"] }
    }

    /// Torsion's echo: with callbacks, or in the face that `style` names.
    static func torsion(backend: String, style: String? = nil, command: String) -> Server {
        Server(
            name: "torsion-\(style ?? backend)", kind: .torsion, isFace: style != nil
        ) { framing in
            let type =
                switch framing {
                case .raw, .lines, .webSocket, .files: "tcp"
                case .datagrams: "udp"
                case .secure: "tls"
                }
            return [command, "echo", "--listen", "\(type):0:interface=127.0.0.1"]
                + ["--backend", backend] + (style.map { ["--style", $0] } ?? [])
                + (framing == .lines ? ["--framing", "lines"] : [])
                + (framing == .webSocket ? ["--framing", "http"] : [])
                + (framing == .secure ? ["--self-signed"] : [])
        }
    }

    /// The example HTTPHello over epoll, which answers every request with the same 13 bytes.
    static func httpHello(command: String) -> Server {
        Server(
            name: "torsion-http", kind: .torsion, isFace: true,
            environment: ["TORSION_BACKEND": "epoll"]
        ) { _ in [command, "tcp:0:interface=127.0.0.1"] }
    }

    /// The command's `serve` over epoll, of the files in a folder.
    static func serve(folder: String, command: String) -> Server {
        Server(name: "torsion-serve", kind: .torsion, isFace: true) { _ in
            [command, "serve", folder, "--listen", "tcp:0:interface=127.0.0.1"]
                + ["--backend", "epoll"]
        }
    }

    /// The C server of HTTP: of its hello, or of the files in a folder.
    static func httpTwin(folder: String, programs: String) -> Server {
        Server(name: "http-c", kind: .twin, isFace: true) { framing in
            ["\(programs)/http-c", "0"] + (framing == .files ? ["--files", folder] : [])
        }
    }

    /// The example MiniRedis.
    static func miniRedis(command: String) -> Server {
        Server(name: "mini-redis", kind: .torsion, isFace: true) { _ in
            [command, "tcp:0:interface=127.0.0.1"]
        }
    }

    /// A server that speaks HTTP, or Redis's protocol, and so takes part in its scenarios alone.
    static func facePeer(_ name: String, command: [String]) -> Server {
        Server(name: name, kind: .peer, isFace: true) { _ in command }
    }

    /// The same, with more arguments for files.
    static func facePeer(_ name: String, command: [String], files: [String]) -> Server {
        Server(name: name, kind: .peer, isFace: true) { framing in
            framing == .files ? command + files : command
        }
    }

    static func peer(_ name: String, command: [String]) -> Server {
        Server(name: name, kind: .peer) { _ in command }
    }

    /// SwiftNIO's echo: of TCP, or of UDP with as many datagrams to a read as `vectored` says.
    static func nio(_ name: String, command: String, vectored: Bool = false) -> Server {
        Server(name: name, kind: .peer, isFace: vectored) { framing in
            switch framing {
            case .raw, .lines, .secure, .webSocket, .files: [command]
            case .datagrams: [command, "--udp"] + (vectored ? ["--vectored"] : [])
            }
        }
    }
}

/// A server that runs and has said where it listens.
final class RunningServer {
    let port: Int
    /// The server itself, which is a child of what wraps it under strace.
    let pid: pid_t
    private let process: ChildProcess

    /// Starts `server` on `cores`, the first unless they are others, behind `wrapper`, a command that runs the one after it.
    ///
    /// `wrapperForks` says that the server is then the wrapper's child, as under strace.
    convenience init(
        _ server: Server, framing: Server.Framing = .raw, wrapper: [String] = [],
        wrapperForks: Bool = false, environment: [String: String] = [:],
        cores: [String] = Cores.server
    ) throws {
        try self.init(
            command: wrapper + server.command(framing), wrapperForks: wrapperForks,
            environment: server.environment.merging(environment) { $1 }, cores: cores)
    }

    init(
        command: [String], wrapperForks: Bool, environment: [String: String],
        cores: [String] = Cores.server
    ) throws {
        process = try ChildProcess(cores + command, environment: environment)
        let line = try process.readLine(within: .seconds(60))
        guard line.hasPrefix("listening on "),
            let address = line.split(separator: " ").dropFirst(2).first,
            let port = address.split(separator: ":").last.flatMap({ Int($0) })
        else { throw BenchError("\(command[0]): expected 'listening on …', got '\(line)'") }
        self.port = port
        pid = wrapperForks ? try RunningServer.onlyChild(of: process.pid) : process.pid
    }

    /// Ends the server as its user would, so that what is written at exit is written.
    func stop() throws {
        guard process.stop(within: .seconds(20), signalling: pid) else {
            throw BenchError("the server did not end within 20 s of SIGTERM")
        }
    }

    private static func onlyChild(of parent: pid_t) throws -> pid_t {
        let children = try readText("/proc/\(parent)/task/\(parent)/children")
        guard let child = children.split(separator: " ").first.flatMap({ pid_t($0) }) else {
            throw BenchError("process \(parent) has no child")
        }
        return child
    }
}

/// Which cores the two sides are pinned to: on one core they would take turns, and on floating ones
/// the scheduler's moves would be measured.
enum Cores {
    static let server = pinned(to: 0)
    static let load = pinned(to: 1)

    /// Both on the first, each until it has nothing to do (`SCHED_BATCH`): how many events share a
    /// call is then up to the two programs alone.
    static let shared = ["taskset", "-c", "0", "chrt", "--batch", "0"]

    static let areSeparate = sysconf(CInt(_SC_NPROCESSORS_ONLN)) >= 2

    private static func pinned(to core: Int) -> [String] {
        areSeparate ? ["taskset", "-c", "\(core)"] : []
    }
}
