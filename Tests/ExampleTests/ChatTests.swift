// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// The chat servers among the examples, over sockets: each does the same.
@Suite struct ChatTests {
    @Test(arguments: ["ChatCallbacks", "ChatDeferreds"], ["libuv", "epoll"])
    func `members hear when others come, speak and leave`(server: String, backend: String) throws {
        let place = "unix:@torsion-\(server)-\(backend)-\(getpid())"
        let chat = try Program(server, [place], environment: ["TORSION_BACKEND=\(backend)"])
        let ann = try enter(place, as: "ann")
        #expect(ann.readLine() == "ann is here\r")
        let bob = try enter(place, as: "bob")
        #expect(ann.readLine() == "bob is here\r")
        #expect(bob.readLine() == "bob is here\r")
        ann.write("hello\nhow are you?\n")
        #expect(bob.readLine() == "ann: hello\r")
        #expect(bob.readLine() == "ann: how are you?\r")
        bob.write("fine\n")
        #expect(ann.readLine() == "bob: fine\r")
        bob.endInput()
        #expect(bob.wait() == 0)
        #expect(ann.readLine() == "bob has left\r")
        // Somebody who gives no name was never here.
        let nobody = try connect(place)
        nobody.endInput()
        #expect(nobody.wait() == 0)
        let eve = try enter(place, as: "eve")
        #expect(ann.readLine() == "eve is here\r")
        chat.signal(SIGTERM)
        #expect(chat.wait() == 0)
        for member in [ann, eve] {
            member.endInput()
            _ = member.wait()
        }
    }

    @Test func `the chat of tasks hands a line on to the other member`() throws {
        let place = "unix:@torsion-ChatAsync-\(getpid())"
        let chat = try Program("ChatAsync", [place])
        let ann = try connect(place, hearing: "welcome, 1 here\r")
        let bob = try connect(place, hearing: "welcome, 2 here\r")
        ann.write("hello\n")
        #expect(bob.readLine().hasSuffix(": hello\r"))
        for member in [ann, bob] { member.endInput() }
        chat.signal(SIGTERM)
        #expect(chat.wait() == 0)
        for member in [ann, bob] { _ = member.wait() }
    }

    private func enter(_ place: String, as name: String) throws -> Program {
        let member = try connect(place)
        member.write(name + "\n")
        return member
    }

    /// Connects; the server may have to begin first.
    private func connect(
        _ place: String, hearing greeting: String = "Your name?\r"
    ) throws -> Program {
        for _ in 0..<200 {
            let member = try Program("torsion", ["connect", place])
            if member.readLine() == greeting { return member }
            member.endInput()
            _ = member.wait()
        }
        throw NotListening()
    }

    private struct NotListening: Error {}
}
