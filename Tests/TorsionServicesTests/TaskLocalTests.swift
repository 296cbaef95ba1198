// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionCore

private enum Trace {
    @TaskLocal static var name = "none"
}

/// What was seen at several places.
private final class Notes: Sendable {
    private let seen = Lock<[String: Set<String>]>([:])

    func add(_ place: String) {
        let name = Trace.name
        seen.withLock { seen in _ = seen[place, default: []].insert(name) }
    }

    var all: [String: Set<String>] { seen.withLock { $0 } }
}

private final class Noting: StreamProtocol {
    private let notes: Notes
    init(_ notes: Notes) { self.notes = notes }

    func connectionMade(_ transport: any StreamTransport) { notes.add("made") }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        notes.add("data")
        transport.reactor.spawn { [notes] in notes.add("task of a callback") }
        transport.write(bytes)
        transport.loseConnection()
    }
}

/// Task-locals on reactors' threads.
@Suite struct TaskLocalTests {
    @Test(arguments: BackendChoice.tested)
    func `those of withReactor's caller hold in its body, in callbacks and in tasks`(
        backend: BackendChoice
    ) async throws {
        let notes = Notes()
        try await Trace.$name.withValue("outer") {
            try await withReactor(count: 2, backend: backend, signals: .ignore) { reactor in
                notes.add("body")
                let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                    .listen(on: reactor) { Noting(notes) }
                let client = try await ClientEndpoint.address(port.localAddress)
                    .connect(on: reactor).value
                try await client.write("x")
                let answer1 = try await client.readToEnd(limitBytes: 10)
                #expect(answer1 == "x")
                try await reactor.deferLater(.milliseconds(1)) { notes.add("timer") }.value
                try await reactor.remote.run { _ in notes.add("call") }
                let task = Trace.$name.withValue("inner") {
                    reactor.spawn {
                        notes.add("task")
                        try await reactor.sleep(for: .milliseconds(1))
                        notes.add("task, later")
                    }
                }
                try await task.value
                notes.add("body")
            }
        }
        let outer: Set = ["outer"]
        let expected = [
            "body": outer, "made": outer, "data": outer, "task of a callback": outer,
            "timer": outer, "call": outer, "task": ["inner"], "task, later": ["inner"],
        ]
        #expect(notes.all == expected)
    }

    @Test(arguments: BackendChoice.tested)
    func `a group that is run inside of a task has its task-locals on every thread`(
        backend: BackendChoice
    ) throws {
        let notes = Notes()
        try Trace.$name.withValue("outer") {
            try ReactorGroup.run(count: 3, backend: backend, signals: .ignore) { reactor in
                notes.add("body")
                reactor.callLater(.zero) {
                    notes.add("timer")
                    reactor.stop()
                }
            }
        }
        #expect(notes.all["body"] == ["outer"])
        #expect(notes.all["timer"]?.isSubset(of: ["outer"]) != false)
    }

    @Test func `whoever has none sees the default`() async throws {
        let notes = Notes()
        try await withReactor(backend: .epoll, signals: .ignore) { _ in notes.add("body") }
        #expect(notes.all == ["body": ["none"]])
    }
}
