// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@Suite struct IOErrorTests {
    @Test func `an error prints as one line that names the address and the reason`() {
        let address = SocketAddress.ipv4(.loopback, port: 80)
        let listening = IOError(.listen, function: "bind", code: .addressInUse, subject: address)
        let reading = IOError(.read, function: "recv", code: .connectionReset, subject: "[::1]:9")
        let text = "cannot listen on 127.0.0.1:80: address already in use (EADDRINUSE)"
        #expect("\(listening)".hasPrefix(text))
        #expect("\(reading)" == "cannot read from [::1]:9: connection reset by peer (ECONNRESET)")
        #expect(listening.debugDescription == "\(listening), bind")
    }

    @Test func `an error without a subject has no preposition left over`() {
        let error = IOError(.accept, function: "accept4", code: .tooManyOpenFiles)
        #expect("\(error)" == "cannot accept: too many open files (EMFILE)")
    }

    @Test func `a number without a word is printed once`() {
        let error = IOError(.write, function: "sendmsg", code: .other(123), subject: "127.0.0.1:9")
        #expect("\(error)" == "cannot write to 127.0.0.1:9: error 123")
        #expect(ErrorCode.other(123).name == "error 123")
    }
}
