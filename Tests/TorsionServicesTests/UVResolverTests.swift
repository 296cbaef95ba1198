// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import TorsionCore

@testable import TorsionServices

@Suite struct UVResolverTests {
    @Test(arguments: hosts)
    func `the machine's own name for itself has a loopback address`(host: String) throws {
        try run(host) { reactor in
            try reactor.resolver.resolve("localhost", port: 8007).addBoth { result in
                let addresses = try result.get()
                #expect(!addresses.isEmpty)
                #expect(addresses.allSatisfy { $0.isLoopback && $0.port == 8007 })
                #expect(Set(addresses).count == addresses.count)
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: hosts)
    func `an answer wakes a reactor that waits without a deadline`(host: String) throws {
        let reactor = try makeReactor(host)
        try reactor.run(signals: .ignore) { reactor in
            try reactor.resolver.resolve("localhost", port: 1).addBoth { _ in reactor.stop() }
                .whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: hosts)
    func `many look-ups at once all end`(host: String) throws {
        try run(host) { reactor in
            var count = 0
            for port in 1...100 {
                let lookup = try reactor.resolver.resolve("localhost", port: UInt16(port))
                lookup.addCallback { answer in
                    #expect(answer.first?.port == UInt16(port))
                    count += 1
                    if count == 100 { reactor.stop() }
                }.whenFailed { Issue.record($0) }
            }
        }
    }

    @Test func `a numeric address is the answer at once`() throws {
        try run("libuv") { reactor in
            var answers: [[SocketAddress]] = []
            for text in ["127.0.0.1", "::1", "fe80::1%1"] {
                try reactor.resolver.resolve(text, port: 53).addCallback { answers.append($0) }
                    .whenFailed { Issue.record($0) }
            }
            #expect(
                answers == [
                    [.ipv4(.loopback, port: 53)], [.ipv6(.loopback, port: 53)],
                    [.ipv6(IPv6Address(high: 0xfe80 << 48, low: 1, scopeID: 1), port: 53)],
                ])
            reactor.stop()
        }
    }

    @Test(arguments: hosts)
    func `a name that nobody has fails with an error that names it`(host: String) throws {
        // A label of 64 bytes cannot be asked for, so that no server is.
        let name = String(repeating: "a", count: 64) + ".invalid"
        try run(host) { reactor in
            try reactor.resolver.resolve(name, port: 1).addBoth { result in
                let error = try #require(result.error as? IOError)
                #expect(error.operation == .resolve)
                #expect(error.subject == name)
                #expect([.hostNotFound, .resolverFailed, .noAddress].contains(error.code))
                #expect(error.description.hasPrefix("cannot resolve \(name): "))
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: [
        ("", ErrorCode.hostNotFound), (".", .hostNotFound), ("127.1", .hostNotFound),
        ("2130706433", .hostNotFound), ("0x7f000001", .hostNotFound),
        ("017700000001", .hostNotFound), ("127.0.0.1.", .hostNotFound),
        ("evil\0.example", .invalidArgument), ("a b", .invalidArgument),
        ("a\r\nb", .invalidArgument),
        (String(repeating: "a.", count: 128), .nameTooLong),
    ])
    func `a text that is no name is not looked up`(text: String, code: ErrorCode) {
        #expect(HostName.refusal(of: text) == code)
    }

    @Test(arguments: ["localhost", "a", "example.com", "example.com.", "4u.example", "bücher.de"])
    func `a name is looked up`(text: String) {
        #expect(HostName.refusal(of: text) == nil)
    }

    @Test(arguments: hosts)
    func `a look-up that is cancelled fails with CancellationError`(host: String) throws {
        try run(host) { reactor in
            var ends = 0
            for _ in 0..<20 {
                let lookup = try reactor.resolver.resolve("localhost", port: 1)
                lookup.addBoth { result in
                    #expect(result.error is CancellationError)
                    ends += 1
                }.whenFailed { Issue.record($0) }
                lookup.cancel()
            }
            #expect(ends == 20)
            reactor.callLater(.milliseconds(10)) { reactor.stop() }
        }
    }

    @Test(arguments: hosts)
    func `a look-up has a deadline, and leaves nothing when it is over`(host: String) throws {
        let backend = try BackendChoice.named(host, among: BackendChoice.tested)
        // Time is up in the first turn, before any answer.
        let reactor = Reactor(backend: backend) { reactor throws(IOError) in
            try UVServices(on: reactor, lookupLimit: .zero)
        }
        try reactor.run(signals: .ignore) { reactor in
            reactor.callLater(.seconds(10)) { preconditionFailure("the reactor was not stopped") }
            try reactor.resolver.resolve("localhost", port: 1).addBoth { result in
                let error = try #require(result.error as? IOError)
                #expect(error.code == .timedOut)
                #expect(error.subject == "localhost")
                // The answer that comes later finds nobody.
                reactor.callLater(.milliseconds(20)) { reactor.stop() }
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: hosts)
    func `a look-up under way fails when the reactor ends, which does not wait`(
        host: String
    ) throws {
        var error: (any Error)?
        try run(host) { reactor in
            try reactor.resolver.resolve("localhost", port: 1).addBoth { error = $0.error }
                .whenFailed { Issue.record($0) }
            reactor.stop(within: .zero)
        }
        #expect(error is CancellationError)
    }

    @Test(arguments: hosts)
    func `a reactor that runs again resolves again`(host: String) throws {
        let reactor = try makeReactor(host)
        for _ in 0..<3 {
            var count = 0
            try reactor.run(signals: .ignore) { reactor in
                try reactor.resolver.resolve("localhost", port: 1).addCallback {
                    count = $0.count
                    reactor.stop()
                }.whenFailed { Issue.record($0) }
            }
            #expect(count > 0)
        }
    }
}

extension SocketAddress {
    fileprivate var isLoopback: Bool {
        switch self {
        case .ipv4(let address, _): address.isLoopback
        case .ipv6(let address, _): address.isLoopback
        default: false
        }
    }
}

extension Result {
    fileprivate var error: (any Error)? {
        if case .failure(let error) = self { error } else { nil }
    }
}
