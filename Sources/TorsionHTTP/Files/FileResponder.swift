// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Answers with the files of a folder: what `torsion serve` does.
///
///     let files = FileResponder(folder: "/srv/www")
///     try endpoint.listen(on: reactor, http: HTTPServerOptions()) { files }
///
/// Ranges, conditions and media types are those of ``HTTPExchange/respond(file:beneath:to:_:)``.
/// Files outside of the folder cannot be named, nor can those whose name begins with a dot. A
/// folder is answered with its `index.html`. One object serves any number of connections of its
/// reactor.
public final class FileResponder: HTTPResponder {
    private let folder: String

    /// Serves a folder.
    ///
    /// - Parameter folder: Its path.
    public init(folder: String) { self.folder = folder }

    /// Answers `GET` and `HEAD`.
    ///
    /// - Parameters:
    ///   - head: The request; borrowed until the call returns.
    ///   - exchange: Answered with the file, or with an error's status.
    public func requestReceived(
        _ head: borrowing RequestHead, _ exchange: consuming HTTPExchange
    ) {
        guard head.method == .get || head.method == .head else {
            return exchange.respond(.methodNotAllowed, [.allow: "GET, HEAD"])
        }
        guard var path = FilePath.relative(head.path) else { return exchange.respond(.notFound) }
        if path.isEmpty || path.hasSuffix("/") { path += "index.html" }
        exchange.respond(file: path, beneath: folder, to: head)
    }
}

/// Paths of requests, as those of files.
enum FilePath {
    /// The path of a file, relative to a folder, with percent signs resolved.
    ///
    /// - Parameter path: Of a target, from its first slash on.
    /// - Returns: `nil` for what names no file that is shown: NUL, `..`, and names that begin with a dot.
    static func relative(_ path: RawSpan) -> String? {
        guard path.first == UInt8(ascii: "/"), let bytes = resolved(path) else { return nil }
        var segments: [ArraySlice<UInt8>] = []
        for segment in bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: true) {
            if segment.first == UInt8(ascii: ".") { return nil }
            segments.append(segment)
        }
        let isFolder = bytes.last == UInt8(ascii: "/")
        let joined = segments.joined(separator: [UInt8(ascii: "/")])
        guard
            let text = String(
                validating: Array(joined) + (isFolder && !segments.isEmpty ? [0x2f] : []),
                as: UTF8.self)
        else { return nil }
        return text
    }

    private static func resolved(_ path: RawSpan) -> [UInt8]? {
        var bytes: [UInt8] = []
        var index = 0
        while index < path.byteCount {
            var byte = path[index]
            index += 1
            if byte == UInt8(ascii: "%") {
                guard index + 2 <= path.byteCount,
                    let number = UInt8(hexadecimal: path[index..<(index + 2)])
                else { return nil }
                byte = number
                index += 2
            }
            guard byte != 0 else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    /// Where a client finds a folder that it named without the slash at its end.
    ///
    /// - Parameters:
    ///   - path: Of the target, as it came.
    ///   - query: Of the target.
    /// - Returns: A path on the same host, whatever the target's beginning looks like: one that began
    ///   with two slashes would name another.
    static func withSlash(_ path: RawSpan, _ query: Bytes?) -> Bytes {
        var start = 0
        while start + 1 < path.byteCount, path[start + 1] == UInt8(ascii: "/") { start += 1 }
        let rest = path[start...]
        return Bytes { writer in
            writer.write(rest)
            writer.write("/")
            if let query {
                writer.write("?")
                writer.write(query)
            }
        }
    }
}
