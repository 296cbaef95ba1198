// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// What the command line asks for.
struct Options {
    enum Command { case run, counts, parts, flow, budget, page, list, help }

    static let usage = """
        usage: torsion-bench run [--quick | --full] [OPTION ...]
               torsion-bench counts [OPTION ...]      counts against budgets; fails on a miss
               torsion-bench parts [OPTION ...]       pieces of the engine against others'; fails on a miss
               torsion-bench flow [OPTION ...]        a proxy and a sender against socat, HAProxy and C
               torsion-bench budget [OPTION ...]      what those three wrote, line by line
               torsion-bench page [OPTION ...]        results that were written before, as HTML
               torsion-bench list                     the scenarios
               torsion-bench help                     this text

          --scenarios NAME,...    only these
          --only NAME,...         only these servers
          --peers NAME,...        of nio, hummingbird, tokio, hyper, go (built in Benchmarks/), nginx,
                                  node, redis, uring (io_uring)
          --server NAME=COMMAND   one more; prints 'listening on ADDRESS:PORT ...' and ends on SIGTERM
          --rounds N              instead of 5 (quick) or 15 (full)
          --no-counts             without system calls and allocations
          --short                 of counts: smaller crowd, fewer rounds, as CI takes them
          --json PATH             results, .build/bench.json unless given
          --html PATH             the results as one page with charts, none unless given
          --http PATH             the example HTTPHello, .build/release/HTTPHello unless given
          --torsion PATH          the command, Tool/.build/release/torsion unless given
          --programs DIR          the C programs, .build/bench unless given

        """

    var command = Command.run
    var isFull = false
    /// Whether the counts are those of CI.
    var isShort = false
    var counts = true
    var json = ".build/bench.json"
    var html: String?
    var torsion = "Tool/.build/release/torsion"
    var http = ".build/release/HTTPHello"
    var programs = ".build/bench"
    var peers: [String] = []
    var scenarios: [String] = []
    var only: [String] = []
    var extra: [Server] = []
    var rounds: Int?

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        switch rest.popFirst() {
        case "run": command = .run
        case "counts": command = .counts
        case "parts": command = .parts
        case "flow": command = .flow
        case "budget": command = .budget
        case "page": command = .page
        case "list": command = .list
        case "help", "--help", "-h": command = .help
        case let other: throw BenchError("unknown command '\(other ?? "")'\n" + Options.usage)
        }
        while let name = rest.popFirst() { try parse(name, &rest) }
    }

    private mutating func parse(_ name: String, _ rest: inout ArraySlice<String>) throws {
        func value() throws -> String {
            guard let value = rest.popFirst() else { throw BenchError("\(name) needs a value") }
            return value
        }
        func list() throws -> [String] { try value().split(separator: ",").map(String.init) }
        switch name {
        case "--quick": isFull = false
        case "--full": isFull = true
        case "--short": isShort = true
        case "--no-counts": counts = false
        case "--rounds":
            guard let count = Int(try value()), count > 0 else {
                throw BenchError("--rounds needs a number above 0")
            }
            rounds = count
        case "--json": json = try value()
        case "--html": html = try value()
        case "--http": http = try value()
        case "--torsion": torsion = try value()
        case "--programs": programs = try value()
        case "--peers": peers += try list()
        case "--scenarios": scenarios += try list()
        case "--only": only += try list()
        case "--server": extra.append(try Options.parseServer(value()))
        default: throw BenchError("unknown option '\(name)'\n" + Options.usage)
        }
    }

    private static func parseServer(_ text: String) throws -> Server {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { throw BenchError("--server needs NAME=COMMAND") }
        return .peer(parts[0], command: parts[1].split(separator: " ").map(String.init))
    }

    /// Where the file is that servers of files are asked for.
    var files: String { programs + "/files" }

    /// The results of another command, beside those of `run`: `bench-counts.json`.
    func json(of command: String) -> String {
        json.hasSuffix(".json") ? json.dropLast(5) + command + ".json" : json + command
    }

    func selectedScenarios() throws -> [Scenario] {
        for name in scenarios where !Scenario.all.contains(where: { $0.name == name }) {
            throw BenchError("unknown scenario '\(name)'; see `torsion-bench list`")
        }
        return Scenario.all.filter {
            scenarios.isEmpty ? isFull || !$0.isSlow : scenarios.contains($0.name)
        }
    }

    func selectedParts() throws -> [Part] {
        for name in scenarios where !Part.all.contains(where: { $0.name == name }) {
            throw BenchError("unknown part '\(name)'; see `torsion-bench list`")
        }
        return Part.all.filter { scenarios.isEmpty || scenarios.contains($0.name) }
    }

    /// Returns the servers to measure, each C server before the backends that are held to it.
    func servers() throws -> [Server] {
        var all: [Server] = [
            .twin("libuv-c", programs: programs),
            .torsion(backend: "libuv", command: torsion),
            .twin("epoll-c", programs: programs),
            .torsion(backend: "epoll", command: torsion),
            .twin("udp-c", programs: programs, isFace: true),
            .twin("tls-c", programs: programs, isFace: true),
            .torsion(backend: "libuv", style: "async", command: torsion),
            .torsion(backend: "libuv", style: "async-read", command: torsion),
            .httpHello(command: http),
            .serve(folder: files, command: torsion),
            .httpTwin(folder: files, programs: programs),
        ]
        for peer in peers {
            switch peer {
            case "uring":
                all.append(.twin("uring-c", programs: programs))
                all.append(.torsion(backend: "io_uring", command: torsion))
            case "nio":
                let path = "Benchmarks/PeerNIO/.build/release/nio-echo"
                all.append(.nio("nio", command: path))
                all.append(.nio("nio-vectored", command: path, vectored: true))
                all.append(.peer("nio-async", command: [path, "--async"]))
                all += nioFaces
            case "hummingbird":
                let path = "Benchmarks/PeerHummingbird/.build/release/hummingbird-hello"
                all.append(.facePeer("hummingbird", command: [path]))
            case "go":
                let path = "Benchmarks/PeerGo/.build/go-hello"
                all.append(.facePeer("go", command: [path], files: [files]))
            case "node":
                all.append(.facePeer("node", command: ["node", "Benchmarks/PeerNode/hello.js"]))
            case "nginx":
                let path = "Benchmarks/PeerNginx/nginx-hello"
                all.append(.facePeer("nginx", command: [path], files: [files]))
            case "hyper":
                let path = "Benchmarks/PeerHyper/.build/release/hyper-hello"
                all.append(.facePeer("hyper", command: [path]))
            case "redis":
                // Its server is built with these peers alone.
                all.append(.miniRedis(command: ".build/release/MiniRedis"))
                all.append(.facePeer("redis", command: ["Benchmarks/PeerRedis/redis"]))
                let path = "Benchmarks/PeerNIO/.build/release/nio-redis"
                all.append(.facePeer("nio-redis", command: [path]))
            case "tokio":
                let path = "Benchmarks/PeerTokio/.build/release/tokio-echo"
                all.append(.peer("tokio", command: [path]))
            default:
                throw BenchError(
                    "unknown peer '\(peer)': go, hummingbird, hyper, nginx, nio, node, redis, tokio,"
                        + " uring")
            }
        }
        all += extra
        for name in only where !all.contains(where: { $0.name == name }) {
            throw BenchError("unknown server '\(name)': " + all.map(\.name).joined(separator: ", "))
        }
        return all.filter { only.isEmpty || only.contains($0.name) }
    }

    /// SwiftNIO's servers of what lies above TCP.
    private var nioFaces: [Server] {
        let folder = "Benchmarks/PeerNIO/.build/release"
        let identity = [programs + "/certificate.pem", programs + "/key.pem"]
        return [
            .facePeer("nio-http", command: [folder + "/nio-http"], files: ["--files", files]),
            .facePeer("nio-websocket", command: [folder + "/nio-websocket"]),
            .facePeer("nio-tls", command: [folder + "/nio-tls"] + identity),
        ]
    }
}
