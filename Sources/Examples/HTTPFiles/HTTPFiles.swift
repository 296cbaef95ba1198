// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionHTTP

/// Prints a line for each request.
final class Log: HTTPServerObserver {
    func requestDidEnd(_ record: HTTPRequestRecord) {
        let status = record.status.map { "\($0.code)" } ?? "-"
        let method = record.method.map { "\($0)" } ?? "-"
        print("\(method) \(record.target) \(status) \(record.sentByteCount)")
    }
}

// HTTPFiles ENDPOINT FOLDER
Reactor.main { reactor in
    let words = CommandLine.arguments.dropFirst()
    let endpoint = try ServerEndpoint(parsing: words.first ?? "tcp:8080")
    let files = FileResponder(folder: words.dropFirst().first ?? ".")
    var options = HTTPServerOptions()
    options.observer = Log()
    let port = try endpoint.listen(on: reactor, http: options) { files }
    print("listening on \(port.localAddress)")
}
