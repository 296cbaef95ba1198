// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if HTTPTypes

public import HTTPTypes
public import TorsionCore
public import TorsionHTTP

extension HTTPExchange {
    /// Answers with a head of swift-http-types and bytes for a body.
    ///
    /// `Content-Length` and `Transfer-Encoding` are left out, since the connection writes them: the length
    /// is that of `body`. An answer to `HEAD` announces the length that `response` announces.
    ///
    /// - Parameters:
    ///   - response: Its status is from 200 to 599; any other traps.
    ///   - body: The body.
    public consuming func respond(_ response: HTTPTypes.HTTPResponse, body: Bytes = Bytes()) {
        var fields = FieldList(response.headerFields)
        let announced = fields.removeFraming()
        let status = HTTPStatus(response.status)
        guard body.isEmpty, let announced, announced > 0 else {
            return respond(status, fields, body: body)
        }
        // A body that should be there and is not aborts the connection; `HEAD` has none.
        begin(status, fields, byteCount: announced).finish()
    }

    /// Begins an answer whose body comes piece by piece.
    ///
    /// - Parameter response: Its `Content-Length` announces how many bytes the body will have; without it
    ///   they are sent in chunks.
    /// - Returns: What takes the body.
    public consuming func begin(_ response: HTTPTypes.HTTPResponse) -> ResponseWriter {
        var fields = FieldList(response.headerFields)
        let announced = fields.removeFraming()
        return begin(HTTPStatus(response.status), fields, byteCount: announced)
    }

    /// Sends an interim answer.
    ///
    /// - Parameter response: Its status is from 102 to 199; any other traps.
    public func inform(_ response: HTTPTypes.HTTPResponse) {
        inform(HTTPStatus(response.status), FieldList(response.headerFields))
    }
}

extension PendingExchange {
    /// Answers with a head of swift-http-types and bytes for a body; see
    /// `HTTPExchange.respond(_:body:)`.
    ///
    /// - Parameters:
    ///   - response: Its status is from 200 to 599; any other traps.
    ///   - body: The body.
    public func respond(_ response: HTTPTypes.HTTPResponse, body: Bytes = Bytes()) {
        var fields = FieldList(response.headerFields)
        let announced = fields.removeFraming()
        let status = HTTPStatus(response.status)
        guard body.isEmpty, let announced, announced > 0 else {
            return respond(status, fields, body: body)
        }
        begin(status, fields, byteCount: announced).finish()
    }

    /// Begins an answer whose body comes piece by piece.
    ///
    /// - Parameter response: Its `Content-Length` announces how many bytes the body will have; without it
    ///   they are sent in chunks.
    /// - Returns: What takes the body.
    public func begin(_ response: HTTPTypes.HTTPResponse) -> ResponseWriter {
        var fields = FieldList(response.headerFields)
        let announced = fields.removeFraming()
        return begin(HTTPStatus(response.status), fields, byteCount: announced)
    }
}

#endif
