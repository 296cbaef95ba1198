// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionHTTP

/// Writes the body of each `PUT` to one file, no faster than the disk takes it.
final class Upload: HTTPResponder {
    private let path: String
    init(to path: String) { self.path = path }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        guard head.method == .put else {
            return exchange.respond(.methodNotAllowed, [.allow: "PUT"])
        }
        let file = FileConsumer(path: path, on: exchange.reactor)
        // What breaks the body fails `written` as well.
        exchange.body.pipe(to: file).whenFailed { _ in }
        exchange.respond(
            when: file.written.addCallback { count in
                HTTPResponse(.created, body: Bytes("\(count) bytes\n"))
            })
    }
}

// HTTPUpload ENDPOINT FILE
Reactor.main { reactor in
    let words = CommandLine.arguments.dropFirst()
    let path = words.dropFirst().first ?? "/tmp/upload"
    let port = try ServerEndpoint(parsing: words.first ?? "tcp:8080")
        .listen(on: reactor, http: HTTPServerOptions()) { Upload(to: path) }
    print("listening on \(port.localAddress)")
}
