// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion

/// What systemd is told, on a socket of ours.
@Suite struct SystemdNotifierTests {
    private let folder = TemporaryFolder()

    /// The socket that systemd would have.
    private func open() throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) {
            $0.copyBytes(from: folder.file("notify").utf8)
        }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
        }
        guard code == 0 else { throw CallFailure(call: "bind", code: errno) }
        return descriptor
    }

    /// All that has come.
    private func messages(_ descriptor: Int32) -> [String] {
        var result: [String] = []
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            if count < 0 { return result }
            result.append(String(decoding: bytes.prefix(count), as: UTF8.self))
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `a reactor says that it is ready, alive and stopping`(backend: BackendChoice) throws {
        let descriptor = try open()
        defer { close(descriptor) }
        let path = folder.file("notify")
        var all: [String] = []
        try run(on: backend) { reactor in
            reactor.notifySystemd(path: path, watchdogInterval: .milliseconds(20))
            // The kernel holds ten.
            all += messages(descriptor)
            #expect(all.filter { $0.hasPrefix("READY") } == [])
            LoopingCall(on: reactor) { all += messages(descriptor) }
                .start(every: .milliseconds(15)).ignore()
            reactor.callLater(.milliseconds(100)) { reactor.stop() }
        }
        all += messages(descriptor)
        #expect(
            all.filter { $0 != "WATCHDOG=1" } == ["READY=1\nMAINPID=\(getpid())", "STOPPING=1"])
        #expect(all.count { $0 == "WATCHDOG=1" } >= 4)
    }

    @Test func `a loop that hangs says nothing meanwhile`() throws {
        let descriptor = try open()
        defer { close(descriptor) }
        let path = folder.file("notify")
        try run(on: .epoll) { reactor in
            reactor.notifySystemd(path: path, watchdogInterval: .milliseconds(10))
            reactor.callLater(.milliseconds(30)) {
                _ = messages(descriptor)
                usleep(100_000)
                #expect(messages(descriptor) == [])
                reactor.stop()
            }
        }
    }

    @Test func `a reload is told with its time, and a status is one line`() throws {
        let descriptor = try open()
        defer { close(descriptor) }
        let path = folder.file("notify")
        try run(on: .epoll) { reactor in
            let notifier = try #require(SystemdNotifier(on: reactor, path: path))
            notifier.reloading(status: "reading\nagain")
            notifier.ready(status: "serving")
            reactor.stop()
        }
        let all = messages(descriptor)
        try #require(all.count == 2)
        let lines = all[0].split(separator: "\n")
        try #require(lines.count == 3)
        #expect(lines[0] == "RELOADING=1" && lines[2] == "STATUS=reading again")
        let time = try #require(Int(lines[1].dropFirst("MONOTONIC_USEC=".count)))
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let age = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000 - time
        #expect(0...60_000_000 ~= age)
        #expect(all[1].hasSuffix("STATUS=serving"))
    }

    @Test func `without a socket to tell nothing is done`() throws {
        try run(on: .epoll) { reactor in
            #expect(reactor.notifySystemd(path: "") == nil)
            reactor.stop()
        }
    }

    @Test func `a manager that has gone is reported, and no reason to end`() throws {
        let path = folder.file("nobody")
        let report = "torsion: unhandled error in notifying systemd: cannot connect to \(path): "
        try run(on: .epoll, expecting: [report + "no such file or directory (ENOENT)"]) { reactor in
            #expect(reactor.notifySystemd(path: path) == nil)
            reactor.stop()
        }
    }

    @Test func `a full socket loses a word and waits for nobody`() throws {
        let descriptor = try open()
        defer { close(descriptor) }
        let path = folder.file("notify")
        try run(on: .epoll) { reactor in
            let notifier = try #require(SystemdNotifier(on: reactor, path: path))
            for _ in 0..<2_000 { notifier.alive() }
            reactor.stop()
        }
        #expect(1..<2_000 ~= messages(descriptor).count)
    }
}
