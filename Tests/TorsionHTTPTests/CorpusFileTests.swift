// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
@testable import TorsionHTTP

@Suite struct CorpusFileTests {
    /// What `make http-corpus` gives to other parsers: a line for each request, with the verdict, the section
    /// and the bytes in hexadecimal digits.
    @Test func `each request of the corpus has a line of its own in its file`() throws {
        let lines = corpus.map { request in
            let bytes = request.text.utf8.map { byte in
                (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
            let verdict = request.error.map { "\($0)" } ?? "accepted"
            return "\(verdict)\t\(request.section)\t\(bytes.joined())"
        }
        #expect(lines.count >= 200 && lines.allSatisfy { $0.split(separator: "\t").count == 3 })
        guard let path = getenv("HTTP_CORPUS") else { return }
        let file = try #require(fopen(path, "w"))
        fputs(lines.joined(separator: "\n") + "\n", file)
        fclose(file)
    }
}
