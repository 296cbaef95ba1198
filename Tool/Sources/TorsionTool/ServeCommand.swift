// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Torsion
internal import TorsionHTTP

/// `torsion serve`: serves the files of a folder over HTTP.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve the files of a folder over HTTP/1.1 until SIGINT or SIGTERM.",
        discussion: """
            Prints one line when it listens: \
            listening on 127.0.0.1:41234 backend=epoll threads=1. \
            Nothing outside of the folder is served, nor what begins with a dot.
            """)

    @Argument(help: "The folder.")
    var folder: String

    @Option(help: "Where to listen, for example :8080 or tls:8443:certificate=cert.pem.")
    var listen = "tcp:8080:interface=127.0.0.1"

    @OptionGroup var tls: TLSOptions

    @OptionGroup var serving: ServingOptions

    func validate() throws {
        try serving.check()
        _ = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
    }

    /// - Throws: Why it cannot be served, before anybody asks for a file.
    private func checkFolder(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw IOError.ofFile("open", path) }
        close(descriptor)
    }

    func run() throws {
        let endpoint = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
        let folder = folder
        try reportingErrors(asJSON: serving.json) { try checkFolder(folder) }
        try tls.announce()
        try serving.run { reactor, announcement in
            let files = FileResponder(folder: folder)
            let port = try endpoint.listen(on: reactor, http: HTTPServerOptions()) { files }
            announcement.make(for: port)
        }
    }
}
