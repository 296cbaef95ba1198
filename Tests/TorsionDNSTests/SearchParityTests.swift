// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionDNS
import TorsionTesting

/// Which names a name server is asked for: by `getaddrinfo(3)`, and by `DNSResolver`.
///
/// The C library reads `/etc/resolv.conf` and asks port 53, so it runs with a network and files of its own
/// (`unshare(1)`), as far as the machine allows.
@Suite struct SearchParityTests {
    struct Search: CustomStringConvertible {
        var resolvConf: String
        var name: String

        var description: String { "\(name) with \(resolvConf.debugDescription)" }
    }

    private static let searches: [Search] = {
        let domains = [
            "", "search one.test\n", "search one.test two.test\n", "search one.test .\n",
            "domain home.test\n", "search one.test\ndomain home.test\n",
        ]
        let options = ["", "options ndots:0\n", "options ndots:2\n", "options ndots:15\n"]
        let names = ["host", "host.", "a.host", "a.host.", "a.b.c.host", "one.test"]
        return domains.flatMap { domain in
            options.flatMap { option in
                names.map { name in
                    Search(resolvConf: "nameserver 127.0.0.1\n" + domain + option, name: name)
                }
            }
        }
    }()

    /// For each line of its input, prints the names that `getaddrinfo` asked for, each once: where it asks
    /// a second time, `DNSResolver` knows that there is none.
    private static let program = """
        import fcntl, socket, struct, sys, threading
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        fcntl.ioctl(probe, 0x8914, struct.pack('16sH14s', b'lo', 0x41, b''))
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(('127.0.0.1', 53))
        names = []
        def serve():
            while True:
                query, peer = server.recvfrom(4096)
                labels, at = [], 12
                while query[at]:
                    labels.append(query[at + 1:at + 1 + query[at]].decode())
                    at += 1 + query[at]
                name = '.'.join(labels + [''])
                if name not in names: names.append(name)
                server.sendto(query[:2] + b'\\x81\\x83' + query[4:6] + bytes(6) + query[12:at + 5], peer)
        threading.Thread(target=serve, daemon=True).start()
        print('ready', flush=True)
        rounds = 0
        for line in sys.stdin:
            *lines, host = line.rstrip().split('|')
            # The C library reads it again when its size differs.
            rounds += 1
            with open('/etc/resolv.conf', 'w') as file:
                file.write('\\n'.join(lines) + '\\n' + '#' * rounds)
            del names[:]
            try: socket.getaddrinfo(host, 1)
            except OSError: pass
            print(*names, flush=True)
        """

    /// Empty files that are bound over those of the machine go with the name space.
    private static let surroundings = """
        file=$(mktemp) && chmod 644 "$file" && mount --bind "$file" /etc/resolv.conf && rm "$file" &&
        file=$(mktemp) && chmod 644 "$file" && echo 'hosts: files dns' >"$file" &&
        mount --bind "$file" /etc/nsswitch.conf && rm "$file" && exec /usr/bin/python3 -c "$0"
        """

    /// nil where a user may make no name space.
    private static func start() -> TestPrograms.Program? {
        let words = ["-Urnm", "sh", "-c", surroundings, program]
        guard let program = try? TestPrograms.Program(path: "unshare", words),
            program.readLine() == "ready"
        else {
            return nil
        }
        return program
    }

    private static let isPossible: Bool = {
        guard let program = start() else { return false }
        program.endInput()
        return program.wait() == 0
    }()

    @Test(.enabled(if: isPossible, "needs python3 and unshare(1) with name spaces of its own"))
    func `N-84: a server is asked for the same names, in the same order, as by getaddrinfo`() throws
    {
        let system = try #require(Self.start())
        for search in Self.searches {
            let lines = search.resolvConf.split(separator: "\n").joined(separator: "|")
            system.write("\(lines)|\(search.name)\n")
            #expect(try own(search) == system.readLine(), "\(search)")
        }
        system.endInput()
        #expect(system.wait() == 0)
    }

    /// The names that `DNSResolver` asks for.
    private func own(_ search: Search) throws -> String {
        var names: [String] = []
        try runReactor("epoll") { reactor in
            let server = PlayedServer { query, _ in
                let name = "\(query.questions[0].name)".lowercased()
                if !names.contains(name) { names.append(name) }
                return Zone([]).answer(query)
            }
            var configuration = DNSConfiguration(resolvConf: search.resolvConf, hostName: "machine")
            configuration.servers = [try server.listen(on: reactor)]
            DNSResolver(on: reactor, configuration).resolve(search.name, port: 1).addBoth { _ in
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
        return names.joined(separator: " ")
    }
}
