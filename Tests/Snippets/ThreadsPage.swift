// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion

// snippet: blocking
/// Adds up numbers far away from the reactor's thread.
func slowSum(to limit: Int, on reactor: Reactor) -> Deferred<Int> {
    // The closure is Sendable: the compiler refuses one that touches what belongs to the reactor.
    reactor.deferToThread { (1...limit).reduce(0, +) }
}
// snippet end

// snippet: room
/// Belongs to its reactor, so it needs no lock.
final class Room {
    private(set) var lines: [String] = []
    func say(_ line: String) { lines.append(line) }
}

/// Lets any thread speak in a room.
struct Megaphone: Sendable {
    private let room: Remote<Room>

    init(_ room: Room, on reactor: Reactor) { self.room = reactor.remote(to: room) }

    /// Returns at once; the room hears it in a later turn.
    func say(_ line: String) { room.callFromThread { $0.say(line) } }

    /// Asks the room, and waits without holding a thread.
    func lineCount() async throws -> Int { try await room.run { $0.lines.count } }
}
// snippet end

// snippet: siblings
/// Tells the rooms of all reactors.
func announce(_ text: String, on reactor: Reactor) {
    for sibling in reactor.siblings {
        sibling.callFromThread { $0.companion(of: Announcements.self).lines.append(text) }
    }
}
// snippet end

/// Of one reactor.
final class Announcements: ReactorCompanion {
    var lines: [String] = []
    init(on reactor: Reactor) {}
}

// snippet: channel
/// Sends the lines of a client to a reactor that stores them; a client is read as fast as that stores.
final class Recorder: LineProtocol {
    let lines = LineDecoder()
    private let sender: ChannelSender<String>

    init(into lines: ReactorChannel<String>, on reactor: Reactor) {
        sender = lines.sender(on: reactor)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        let text = String(decoding: line)
        if sender.trySend(text) { return }
        transport.pauseProducing()
        sender.send(text)
            .addCallback { transport.resumeProducing() }
            .whenFailed { _ in transport.abortConnection() }
    }
}
// snippet end

// snippet: pool
/// Asks by one of at most four connections, and waits in a line if all are in use.
final class Questions {
    private let pool: ConnectionPool<QuestionLine>

    init(to place: ClientEndpoint, on reactor: Reactor) {
        pool = ConnectionPool(to: place, on: reactor, limit: 4) { QuestionLine() }
    }

    func ask(_ text: String) -> Deferred<String> {
        pool.withConnection { question in question.ask(text) }
    }
}
// snippet end

/// One line at a time, and its answer.
final class QuestionLine: LineProtocol {
    let lines = LineDecoder()
    private var transport: (any StreamTransport)!
    private var answer: Deferred<String>?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func ask(_ text: String) -> Deferred<String> {
        let answer = Deferred<String>(on: transport.reactor)
        self.answer = answer
        transport.write("\(text)\n")
        return answer
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        answer.take()?.succeed(String(decoding: line))
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        answer.take()?.fail(why)
    }
}

@Test func `lines go to another reactor, and questions to a pool`() throws {
    let lines = ReactorChannel<String>(limit: 2)
    var stored: [String] = []
    try Reactor.run(signals: .ignore) { reactor in
        announce("hello", on: reactor)
        lines.receive(on: reactor) { text in stored.append(text) }
        let port = try ServerEndpoint.tcp(port: 0, interface: .loopback).listen(on: reactor) {
            Recorder(into: lines, on: reactor)
        }
        let echo = try ServerEndpoint.tcp(port: 0, interface: .loopback).listen(on: reactor) {
            Echoing()
        }
        let questions = Questions(to: .address(echo.localAddress), on: reactor)
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { Telling() }
            .addCallback { _ in questions.ask("why?") }
            .addCallback { answer in #expect(answer == "why?") }
            .whenFailed { Issue.record("\($0)") }
        let look = LoopingCall(on: reactor) { if stored.count == 5 { reactor.stop() } }
        look.start(every: .milliseconds(1)).whenFailed { Issue.record("\($0)") }
        reactor.callLater(.milliseconds(1)) {
            #expect(reactor.companion(of: Announcements.self).lines == ["hello"])
        }
    }
    #expect(stored == ["1", "2", "3", "4", "5"])
}

private final class Telling: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) { transport.write("1\n2\n3\n4\n5\n") }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

private final class Echoing: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

@Test func `work leaves the reactor's thread, and its result comes back`() throws {
    let room = Room()
    try Reactor.run(signals: .ignore) { reactor in
        let megaphone = Megaphone(room, on: reactor)
        slowSum(to: 1_000, on: reactor)
            .addCallback { sum in
                #expect(sum == 500_500)
                reactor.callInThread { megaphone.say("hello") }
            }
            .whenFailed { Issue.record("\($0)") }
        Task.detached {
            while try await megaphone.lineCount() == 0 { await Task.yield() }
            megaphone.say("and bye")
        }
        let look = LoopingCall(on: reactor) { if room.lines.count == 2 { reactor.stop() } }
        look.start(every: .milliseconds(1)).whenFailed { Issue.record("\($0)") }
    }
    #expect(room.lines == ["hello", "and bye"])
}
