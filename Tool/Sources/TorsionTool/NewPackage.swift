// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What `torsion new` writes: the README's first package, with a test and a Dockerfile.
struct NewPackage {
    let name: String
    /// A path from the new folder, or an address.
    let torsion: String

    /// The module of the program: a name may have a hyphen, an identifier may not.
    private var module: String { String(name.map { $0 == "-" ? "_" : $0 }) }

    private var isAddress: Bool { torsion.contains("://") || torsion.hasPrefix("git@") }

    private var dependency: String {
        isAddress
            ? ".package(url: \"\(torsion)\", branch: \"main\")"
            : ".package(name: \"torsion\", path: \"\(torsion)\")"
    }

    /// Folders, the outer before the inner.
    var folders: [String] { ["Sources", "Sources/\(name)", "Tests", "Tests/\(module)Tests"] }

    /// Each file's path in the folder, and its text.
    var files: [(path: String, text: String)] {
        [
            ("Package.swift", manifest), ("Sources/\(name)/main.swift", main),
            ("Sources/\(name)/Echo.swift", echo),
            ("Tests/\(module)Tests/EchoTests.swift", test), ("Dockerfile", dockerfile),
            (".gitignore", ".build/\n"), (".dockerignore", "**/.build\n"),
        ]
    }

    /// Lines that the check of this command's own imports does not take for its own.
    private func imports(_ modules: String...) -> String {
        modules.map { "import \($0)" }.joined(separator: "\n")
    }

    private var manifest: String {
        """
        // swift-tools-version: 6.2
        \(imports("PackageDescription"))

        let settings: [SwiftSetting] = [
            // Your own `async` functions then run where they are called: on the reactor.
            .enableUpcomingFeature("NonisolatedNonsendingByDefault")
        ]

        let package = Package(
            name: "\(name)",
            dependencies: [
                \(dependency)
            ],
            targets: [
                .executableTarget(
                    name: "\(name)",
                    dependencies: [.product(name: "Torsion", package: "torsion")],
                    swiftSettings: settings),
                .testTarget(
                    name: "\(module)Tests",
                    dependencies: [
                        "\(name)", .product(name: "TorsionTesting", package: "torsion"),
                    ],
                    swiftSettings: settings),
            ]
        )

        """
    }

    private var main: String {
        """
        \(imports("Torsion"))

        // Runs until SIGINT or SIGTERM. Each connection gets an `Echo` of its own.
        Reactor.main { reactor in
            let place = CommandLine.arguments.dropFirst().first ?? "tcp:8007"
            let port = try ServerEndpoint(parsing: place)
                .limited(to: ConnectionLimits(total: 10_000))
                .timeouts(Timeouts(request: .seconds(30), idle: .seconds(300)))
                .listen(on: reactor) { Echo() }
            print("listening on \\(port.localAddress)")
        }

        """
    }

    private var echo: String {
        """
        \(imports("Torsion"))

        /// Sends each line back to whoever sent it.
        final class Echo: LineProtocol {
            let lines = LineDecoder()

            func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
                transport.write(line)
                transport.write("\\n")
            }
        }

        """
    }

    private var test: String {
        """
        \(imports("Testing", "Torsion", "TorsionTesting"))

        @testable import \(module)

        @Suite struct EchoTests {
            // No socket: the transport is in memory, and the bytes arrive in every cut.
            @Test func `a line comes back, however it is cut`() {
                for pieces in chunkings(of: "hello\\nworld\\r\\n") {
                    let peer = MemoryTransport(Echo())
                    peer.receive(pieces: pieces)
                    #expect(peer.takeText() == "hello\\nworld\\n")
                }
            }
        }

        """
    }

    private var dockerfile: String {
        let copy =
            isAddress
            ? "# docker build --tag \(name) ."
            : """
            # Torsion lies beside this folder, so build from the folder above:
            #
            #   docker build --tag \(name) --file \(name)/Dockerfile .
            """
        let sources =
            isAddress ? "COPY . /source/\(name)" : "COPY . /source"
        return """
            \(copy)
            FROM swift:6.2-bookworm AS build
            RUN apt-get update \\
                && apt-get install --yes --no-install-recommends libuv1-dev pkg-config \\
                && rm -rf /var/lib/apt/lists/*
            \(sources)
            WORKDIR /source/\(name)
            # Swift's own libraries go into the program, since the second stage has no Swift.
            RUN swift build --configuration release --product \(name) --static-swift-stdlib \\
                && cp "$(swift build --configuration release --show-bin-path)/\(name)" /program

            FROM debian:bookworm-slim
            RUN apt-get update \\
                && apt-get install --yes --no-install-recommends libstdc++6 libuv1 \\
                && rm -rf /var/lib/apt/lists/* \\
                && useradd --system --no-create-home --shell /usr/sbin/nologin server
            COPY --from=build /program /usr/local/bin/program
            USER server
            EXPOSE 8007
            # The program is process 1, which gets `docker stop`'s SIGTERM itself.
            ENTRYPOINT ["/usr/local/bin/program"]
            CMD ["tcp:8007"]

            """
    }
}
