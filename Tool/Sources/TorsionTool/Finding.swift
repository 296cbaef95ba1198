// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
internal import Torsion
internal import TorsionURing

/// One thing of a machine that matters for a server.
struct Finding: Codable, CustomStringConvertible {
    enum Verdict: String, Codable, Comparable {
        case ok, note, bad

        static func < (one: Verdict, other: Verdict) -> Bool { one.rank < other.rank }

        var colour: Colour {
            switch self {
            case .ok: .green
            case .note: .yellow
            case .bad: .red
            }
        }

        private var rank: Int {
            switch self {
            case .ok: 0
            case .note: 1
            case .bad: 2
            }
        }
    }

    let name: String
    let value: String
    let verdict: Verdict
    /// Why it matters, and what to do where it is not as it should be.
    let reason: String

    init(_ name: String, _ value: String, _ verdict: Verdict, _ reason: String) {
        self.name = name
        self.value = value
        self.verdict = verdict
        self.reason = reason
    }

    var description: String { "\(verdict.rawValue): \(text)" }

    /// For people, in colour where that is wanted.
    var line: String {
        let space = String(repeating: " ", count: 5 - verdict.rawValue.count)
        return verdict.colour(verdict.rawValue) + space + text
    }

    private var text: String { "\(name): \(value) (\(reason))" }
}

extension Finding {
    /// All that is looked at; reads files of `/proc` only.
    static func ofThisMachine() -> [Finding] {
        system() + backends() + [descriptors(), memory()] + network()
    }

    // MARK: What it runs on

    private static func system() -> [Finding] {
        var names = utsname()
        uname(&names)
        let release = withUnsafeBytes(of: names.release) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        let version = numbers(in: release) + [0, 0]
        let isOld = (version[0], version[1]) < (5, 11)
        return [
            Finding(
                "kernel", release, isOld ? .note : .ok,
                "5.11 has epoll_pwait2, which waits to the nanosecond; the io_uring backend needs 6.1"
            ),
            Finding("C library", libraryVersion(), .ok, "Torsion needs glibc 2.34 or later"),
            library("OpenSSL", named("OpenSSL_version", 6), tested: "3.0.", "TLS"),
            library("zlib", named("zlibVersion", 0), tested: "1.2.13", "compression"),
        ].compactMap(\.self)
    }

    private static func library(
        _ name: String, _ version: String?, tested: String, _ use: String
    ) -> Finding? {
        guard let version else { return nil }
        let isTested = version.hasPrefix(tested)
        return Finding(
            name, "\(name) \(version), \(isTested ? "tested" : "not tested")",
            isTested ? .ok : .note,
            "for \(use) alone; a later version of the same major number should do as well")
    }

    /// What a function of a library that is linked says of its version.
    private static func named(_ function: String, _ argument: Int32) -> String? {
        guard let symbol = dlsym(nil, function) else { return nil }
        // One that takes no argument does not look at it.
        typealias Version = @convention(c) (Int32) -> UnsafePointer<CChar>
        return String(cString: unsafeBitCast(symbol, to: Version.self)(argument))
    }

    /// `gnu_get_libc_version(3)`, which the module of the C library leaves out.
    private static func libraryVersion() -> String {
        guard let symbol = dlsym(nil, "gnu_get_libc_version") else { return "not glibc" }
        typealias Version = @convention(c) () -> UnsafePointer<CChar>
        return "glibc " + String(cString: unsafeBitCast(symbol, to: Version.self)())
    }

    private static func backends() -> [Finding] {
        BackendChoice.all.flatMap { choice -> [Finding] in
            let refusal = choice.unavailableReason()
            // A program that does not ask for io_uring needs none.
            let severity = choice.name == BackendChoice.ioURing.name ? Verdict.note : .bad
            let backend = Finding(
                "backend \(choice.name)", refusal.map { "not available: \($0)" } ?? "available",
                refusal == nil ? .ok : severity, "TORSION_BACKEND or --backend chooses it")
            guard let library = choice.library() else { return [backend] }
            return [
                backend,
                Finding(
                    library.name, "\(library)", library.isTested ? .ok : .note,
                    "with a version that was not tested the backend goes a slower, documented way"),
            ]
        } + [ringPermission()]
    }

    /// `io_uring_disabled`, since 6.6: 0 for all, 1 for a group, 2 for nobody.
    private static func ringPermission() -> Finding {
        let value = setting("kernel/io_uring_disabled")?.first
        let isOff = value == 2
        return Finding(
            "io_uring permission",
            value.map { "kernel.io_uring_disabled = \($0)" } ?? "not limited",
            isOff ? .note : .ok,
            "2 forbids it, 1 allows it to CAP_SYS_ADMIN and kernel.io_uring_group; containers often"
                + " forbid it by seccomp")
    }

    // MARK: What it may use

    private static func descriptors() -> Finding {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let few = limit.rlim_max < 10_000
        return Finding(
            "descriptors", "\(limit.rlim_cur), at most \(limit.rlim_max)", few ? .note : .ok,
            "each connection takes one, a proxied one two; raise LimitNOFILE= of the unit, or"
                + " ulimit -n, to serve more than the limit")
    }

    private static func memory() -> Finding {
        let statistics = setting("vm/overcommit_memory")?.first
        return Finding(
            "memory", "vm.overcommit_memory = \(statistics.map(String.init) ?? "unknown")",
            statistics == 2 ? .note : .ok,
            "2 lets an allocation fail where memory is short, which ends a program;"
                + " Reactor.queueLimitBytes bounds what connections queue")
    }

    // MARK: The network's settings

    private static func network() -> [Finding] {
        [
            atLeast(
                "net/core/somaxconn", 4_096,
                "the most clients that wait to be accepted: more that come at once wait for their"
                    + " retransmission, a second or longer"),
            atLeast(
                "net/ipv4/tcp_max_syn_backlog", 1_024,
                "the most handshakes in progress on a port, beyond which SYN cookies begin"),
            ports(),
            atLeast(
                "net/core/rmem_max", 212_992,
                "the most that a datagram socket may hold unread: what comes in a burst is lost"
                    + " beyond it"),
            atLeast(
                "fs/pipe-user-pages-soft", 16_384,
                "pages of pipes a user may have: each proxied connection that moves bulk by splice"
                    + " takes 16 to 256, and copies where there are none"),
        ].compactMap(\.self)
    }

    private static func ports() -> Finding? {
        guard let range = setting("net/ipv4/ip_local_port_range"), range.count == 2 else {
            return nil
        }
        let count = range[1] - range[0] + 1
        return Finding(
            "net.ipv4.ip_local_port_range", "\(range[0]) to \(range[1]), \(count) ports",
            count < 10_000 ? .note : .ok,
            "each connection that this machine opens to one address and port takes one, and holds"
                + " it for a minute behind its close")
    }

    private static func atLeast(_ path: String, _ least: Int, _ reason: String) -> Finding? {
        guard let value = setting(path)?.first else { return nil }
        return Finding(
            path.split(separator: "/").joined(separator: "."), "\(value)",
            value < least ? .note : .ok,
            value < least ? "\(reason); at least \(least) is usual" : reason)
    }

    /// The numbers of a file below `/proc/sys`; nil if there is none, as in some containers.
    private static func setting(_ path: String) -> [Int]? {
        guard let file = fopen("/proc/sys/" + path, "re") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = fread(&bytes, 1, bytes.count, file)
        let found = numbers(in: String(decoding: bytes[..<count], as: UTF8.self))
        return found.isEmpty ? nil : found
    }

    private static func numbers(in text: String) -> [Int] {
        text.split { !$0.isASCII || !$0.isNumber }.compactMap { Int($0) }
    }
}
