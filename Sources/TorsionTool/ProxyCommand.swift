// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion

/// `torsion proxy`: connects each client to another place.
struct ProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy",
        abstract: "Relay each client to another endpoint until SIGINT or SIGTERM.",
        discussion: """
            Each direction ends by itself, and who reads slowly slows the other end down. A client \
            whose target cannot be reached is aborted, and standard error says why. If one \
            direction has ended and the other carries nothing for five minutes, both connections \
            are closed. Prints one line \
            when it listens: listening on 127.0.0.1:41234 backend=epoll threads=1
            """)

    @Option(help: "Where to listen, for example tcp:8009:interface=127.0.0.1 or unix:/run/proxy.")
    var listen: String

    @Option(help: "Where clients are connected to, for example tcp:example.org:80.")
    var to: String

    @OptionGroup var serving: ServingOptions

    func validate() throws {
        try serving.check()
        _ = try readEndpoint(listen, ServerEndpoint.init(parsing:))
        _ = try readEndpoint(to, ClientEndpoint.init(parsing:))
    }

    func run() throws {
        let endpoint = try readEndpoint(listen, ServerEndpoint.init(parsing:))
        let target = try readEndpoint(to, ClientEndpoint.init(parsing:))
        try serving.run { reactor, announcement in
            let port = try endpoint.listen(on: reactor) {
                Relay(to: target) { result in
                    // How a client ends is its own affair; that the target is away is not.
                    if case .failure(let error as IOError) = result { fail(with: error) }
                }
            }
            announcement.make(for: port)
        }
    }
}
