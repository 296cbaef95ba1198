// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

extension HTTPExchange {
    /// Answers with a file of a folder, or a part of it.
    ///
    ///     exchange.respond(file: "logo.png", beneath: "/srv/www", to: head)
    ///
    /// A worker thread opens it; to a plain connection it goes by `sendfile(2)`. `Range` is heeded for
    /// one range, and the conditions `If-Match`, `If-None-Match`, `If-Modified-Since`,
    /// `If-Unmodified-Since` and `If-Range` are (RFC 9110 §13, §14): `ETag` is strong, made of the
    /// file's number, length and time. Without the file the answer is 404, for a folder 301 to its path
    /// with a slash. A file that shrinks while it is sent aborts the connection.
    ///
    /// - Parameters:
    ///   - path: Relative to the folder; the path cannot lead out of it, not even by links
    ///     (`openat2(2)`).
    ///   - folder: The folder.
    ///   - head: The request: its conditions are copied now.
    ///   - fields: Added as they are; `Content-Type` replaces that of the file's name.
    public consuming func respond(
        file path: String, beneath folder: String, to head: borrowing RequestHead,
        _ fields: FieldList = [:]
    ) {
        let conditions = FileConditions(head)
        let location = FilePath.withSlash(head.path, head.copiedQuery)
        let reactor = reactor
        let pending = later()
        do {
            let files = try reactor.files
            reactor.deferToThread { () throws -> (any OpenFile, FileStatus) in
                try files.open(path, beneath: folder)
            }.addCallback { file, status in
                let answer = FileAnswer(path, file, status, fields, on: reactor)
                answer.send(conditions, to: pending)
            }.whenFailed { error in
                pending.respond(fileFailure: error, location)
            }
        } catch {
            pending.respond(fileFailure: error, location)
        }
    }
}

extension RequestHead {
    fileprivate var copiedQuery: Bytes? {
        guard let query else { return nil }
        return Bytes(query)
    }
}

extension PendingExchange {
    fileprivate func respond(fileFailure error: any Error, _ location: Bytes) {
        guard let error = error as? IOError else {
            return respond(when: Deferred<HTTPResponse>.failed(error, on: reactor))
        }
        switch error.code {
        case .isDirectory: respond(.movedPermanently, [.location: location])
        case .noSuchFile, .notDirectory, .nameTooLong, .symbolicLinkLoop, .invalidArgument,
            .notSupported, .noSuchDevice:
            respond(.notFound)
        case .accessDenied, .notPermitted: respond(.forbidden)
        default: respond(when: Deferred<HTTPResponse>.failed(error, on: reactor))
        }
    }
}

/// An open file on its way to a client.
private struct FileAnswer {
    private let path: String
    private let file: any OpenFile
    private let status: FileStatus
    private var fields: FieldList
    private let tag: Bytes
    private let reactor: Reactor

    init(
        _ path: String, _ file: any OpenFile, _ status: FileStatus, _ fields: FieldList,
        on reactor: Reactor
    ) {
        self.path = path
        self.file = file
        self.status = status
        self.fields = fields
        self.reactor = reactor
        // Of another file, length or time it is another: hence strong (RFC 9110 §8.8.3).
        tag = Bytes { writer in
            writer.write("\"")
            writer.writeHexadecimal(status.inode)
            writer.write("-")
            writer.writeHexadecimal(UInt64(bitPattern: status.byteCount))
            writer.write("-")
            writer.writeHexadecimal(UInt64(bitPattern: status.modified.seconds))
            writer.write(".")
            writer.writeHexadecimal(UInt32(bitPattern: status.modified.nanoseconds))
            writer.write("\"")
        }
    }

    func send(_ conditions: FileConditions, to pending: PendingExchange) {
        var fields = fields
        fields.append(.etag, tag)
        fields.append(.lastModified, HTTPDate(seconds: status.modified.seconds).bytes)
        switch conditions.verdict(status, tag: tag, now: try? reactor.wallTime()) {
        case .notModified:
            // What is about the bytes that are not sent is left out (RFC 9110 §15.4.5).
            fields[.contentType] = nil
            pending.respond(.notModified, fields)
        case .preconditionFailed: pending.respond(.preconditionFailed)
        case .rangeNotSatisfiable:
            pending.respond(
                .rangeNotSatisfiable, [.contentRange: Bytes("bytes */\(status.byteCount)")])
        case .whole: send(0..<status.byteCount, .ok, &fields, to: pending)
        case .part(let part):
            let range = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(status.byteCount)"
            fields.append(.contentRange, range)
            send(part, .partialContent, &fields, to: pending)
        }
    }

    private func send(
        _ part: Range<Int64>, _ status: HTTPStatus, _ fields: inout FieldList,
        to pending: PendingExchange
    ) {
        if fields[.contentType] == nil { fields.append(.contentType, MediaType.ofFile(path)) }
        fields.append(.acceptRanges, "bytes")
        let producer = FileProducer(
            file: file, path: path, offset: part.lowerBound, byteCount: Int64(part.count),
            on: reactor)
        pending.respond(status, fields, body: producer, byteCount: part.count)
    }
}
