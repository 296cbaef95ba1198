// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// A client of PostgreSQL's simple query: https://www.postgresql.org/docs/15/protocol-flow.html.
///
/// For a server that trusts its clients, without passwords.
struct PostgresClient {
    struct Failure: Error, Equatable { var message: String }

    typealias Row = [String?]

    /// Each message has its type, then its length, which counts itself.
    private static let format = FrameFormat.header(
        byteCount: 5, length: .uint32, at: 1, counting: 4, limitBytes: 16 << 20)

    private let connection: AsyncConnection

    init(user: String, database: String, over connection: AsyncConnection) async throws {
        self.connection = connection
        let start = Bytes { writer in
            writer.writeInteger(UInt32(3) << 16)
            for word in ["user", user, "database", database] {
                writer.write(word)
                writer.writeByte(0)
            }
            writer.writeByte(0)
        }
        connection.transport.write { $0.writeInteger(UInt32(start.count + 4)) }
        try await connection.write(start)
        _ = try await readUntilReady()
    }

    /// Runs one command or several.
    ///
    /// - Returns: The rows of all of them, as text; nil stands for NULL.
    func query(_ text: String) async throws -> [Row] {
        connection.transport.write { writer in
            writer.writeByte(UInt8(ascii: "Q"))
            writer.writeInteger(UInt32(text.utf8.count + 5))
            writer.write(text)
            writer.writeByte(0)
        }
        return try await readUntilReady()
    }

    func close() async throws {
        try await connection.write([UInt8(ascii: "X"), 0, 0, 0, 4])
        connection.close()
    }

    private func readUntilReady() async throws -> [Row] {
        var rows: [Row] = []
        var failure: Failure?
        for try await frame in connection.frames(Self.format) {
            var reader = frame.reader
            let kind = try reader.readByte()
            try reader.skip(4)
            switch kind {
            case UInt8(ascii: "R"):
                guard try reader.readInteger(UInt32.self) == 0 else {
                    throw Failure(message: "the server wants a password")
                }
            case UInt8(ascii: "D"): rows.append(try readRow(&reader))
            case UInt8(ascii: "E"): failure = Failure(message: try readMessage(&reader))
            case UInt8(ascii: "Z"):
                if let failure { throw failure }
                return rows
            default: break
            }
        }
        throw failure ?? Failure(message: "the server has ended")
    }

    private func readRow(_ reader: inout ByteReader) throws -> Row {
        let count = try reader.readInteger(UInt16.self)
        return try (0..<count).map { _ in
            let length = try reader.readInteger(Int32.self)
            return length < 0 ? nil : String(decoding: try reader.readSpan(length))
        }
    }

    /// Fields behind their types; that of type M is for people.
    private func readMessage(_ reader: inout ByteReader) throws -> String {
        while let kind = try? reader.readByte(), kind != 0 {
            let text = try reader.readString(until: 0)
            if kind == UInt8(ascii: "M") { return text }
        }
        return ""
    }
}
