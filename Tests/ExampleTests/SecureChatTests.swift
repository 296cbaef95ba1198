// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import Glibc
import TestPrograms
import Testing

@Suite(.enabled(if: isInstalled("openssl"))) struct SecureChatTests {
    @Test(arguments: ["libuv", "epoll"])
    func `members who speak TLS hear each other`(backend: String) throws {
        let chat = try Program(
            "SecureChat", ["tls:0:interface=127.0.0.1"],
            environment: ["TORSION_BACKEND=\(backend)"], hasTerminal: true)
        let address = try #require(chat.readLine().split(separator: " ").last)
        func enter(_ count: Int) throws -> Program {
            let member = try Program(
                path: "openssl",
                ["s_client", "-connect", String(address), "-quiet", "-no_ign_eof"])
            #expect(member.readLine() == "welcome by TLSv1.3, you are one of \(count)\r")
            return member
        }
        let ann = try enter(1), bob = try enter(2)
        ann.write("hello\n")
        #expect(bob.readLine().hasSuffix(": hello\r"))
        bob.write("fine\n")
        #expect(ann.readLine().hasSuffix(": fine\r"))
        for member in [ann, bob] {
            member.endInput()
            #expect(member.wait() == 0)
        }
        chat.signal(SIGTERM)
        #expect(chat.wait() == 0)
    }
}

#endif
