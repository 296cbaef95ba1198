// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// The chat servers among the examples, over sockets: each does the same.
@Suite struct ChatTests {
    @Test(arguments: ["ChatCallbacks", "ChatDeferreds"], ["libuv", "epoll"])
    func `members hear when others come, speak and leave`(server: String, backend: String) throws {
        let chat = try RunningChat(server, backend: backend)
        let ann = try chat.enter(as: "ann")
        #expect(ann.readLine() == "ann is here")
        let bob = try chat.enter(as: "bob")
        #expect(ann.readLine() == "bob is here")
        #expect(bob.readLine() == "bob is here")
        ann.write("hello\nhow are you?\n")
        #expect(bob.readLine() == "ann: hello")
        #expect(bob.readLine() == "ann: how are you?")
        bob.write("fine\n")
        #expect(ann.readLine() == "bob: fine")
        bob.endOutput()
        _ = bob.readToEnd()
        #expect(ann.readLine() == "bob has left")
        // Somebody who gives no name was never here.
        let nobody = try chat.connect()
        nobody.endOutput()
        #expect(nobody.readToEnd() == "")
        let eve = try chat.enter(as: "eve")
        #expect(ann.readLine() == "eve is here")
        #expect(chat.stop() == 0)
        for member in [ann, eve] { member.close() }
    }

    @Test func `the chat of tasks hands a line on to the other member`() throws {
        let chat = try RunningChat("ChatAsync", backend: "libuv")
        let ann = try chat.connect(hearing: "welcome, 1 here")
        let bob = try chat.connect(hearing: "welcome, 2 here")
        ann.write("hello\n")
        #expect(bob.readLine().hasSuffix(": hello"))
        for member in [ann, bob] { member.endOutput() }
        #expect(chat.stop() == 0)
        for member in [ann, bob] { member.close() }
    }
}

/// A chat server over a listening socket that it inherited: its clients need not wait for it.
private struct RunningChat {
    private let listener: Socket
    private let program: Program

    init(_ server: String, backend: String) throws {
        listener = try Socket.bound()
        try listener.listen()
        let number = listener.duplicateForChildren()
        defer { close(number) }
        program = try Program(
            server, ["fd:\(number)"], environment: ["TORSION_BACKEND=\(backend)"])
    }

    func enter(as name: String) throws -> Socket {
        let member = try connect()
        member.write(name + "\n")
        return member
    }

    func connect(hearing greeting: String = "Your name?") throws -> Socket {
        let member = try Socket(port: listener.port)
        try #require(member.readLine() == greeting)
        return member
    }

    func stop() -> Int32 {
        program.signal(SIGTERM)
        return program.wait()
    }
}
