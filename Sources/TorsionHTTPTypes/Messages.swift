// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if HTTPTypes

public import HTTPTypes
internal import TorsionCore
public import TorsionHTTP

extension HTTPTypes.HTTPRequest {
    /// Makes a copy of a request's head, to keep.
    ///
    /// `Host` becomes the authority. The path is that of the target with its query, whichever form the
    /// target has; it is `*` for `OPTIONS` of the whole server, and `nil` for `CONNECT`.
    ///
    /// - Parameters:
    ///   - head: The head, which is borrowed.
    ///   - scheme: `https` for a connection over TLS, which the head does not say.
    /// - Complexity: O(*n*) in the bytes of the head; allocates for each field. A server that answers by
    ///   the head alone need not pay for it.
    public init(_ head: borrowing RequestHead, scheme: String = "http") {
        var fields = HTTPFields()
        for index in 0..<head.fieldCount {
            let name = String(decoding: head.fieldName(index))
            let field = HTTPField(name, head.fieldValue(index))
            if field.name.canonicalName != "host" { fields.append(field) }
        }
        var authority: String?
        if let named = head.authority { authority = String(decoding: named) }
        self.init(
            method: Method(head.method), scheme: scheme, authority: authority,
            path: Self.path(of: head), headerFields: fields)
    }

    private static func path(of head: borrowing RequestHead) -> String? {
        if head.method == .connect { return nil }
        var path = String(decoding: head.path)
        if let query = head.query { path += "?" + String(decoding: query) }
        return path.isEmpty ? "*" : path
    }
}

extension HTTPTypes.HTTPResponse {
    /// Makes a copy of an answer's head.
    ///
    /// - Parameter head: The head, with its reason phrase.
    public init(_ head: ResponseHead) {
        let reason = String(decoding: head.reason)
        self.init(
            status: Status(code: head.status.code, reasonPhrase: reason),
            headerFields: HTTPFields(head.fields))
    }
}

extension ClientRequest {
    /// Makes a request of a value.
    ///
    /// - Parameters:
    ///   - request: Its scheme, authority and path make up the URL. `Content-Length` and
    ///     `Transfer-Encoding` are left out, since the connection writes them.
    ///   - body: Its body.
    /// - Throws: `HTTPURLError` if its scheme or authority is missing or malformed.
    public init(_ request: HTTPTypes.HTTPRequest, body: Body = .none) throws(HTTPURLError) {
        let place = "\(request.scheme ?? "")://\(request.authority ?? "")"
        let url = try HTTPURL(parsing: place + (request.path ?? "/"))
        var fields = FieldList(request.headerFields)
        _ = fields.removeFraming()
        self.init(url, method: HTTPMethod(request.method), fields: fields, body: body)
    }
}

#endif
