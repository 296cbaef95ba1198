// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The address of something that is reached over HTTP, as an `http:`, `https:`, `ws:` or `wss:` URL says it.
///
///     let url = try HTTPURL(parsing: "http://example.org:8080/a?b=c")
///     url.host == "example.org" && url.port == 8080 && url.target == "/a?b=c"
///
/// Strict (RFC 3986, RFC 9110 §4.2): an ambiguous URL is refused. Characters outside of ASCII have
/// to be written by percent signs, or `xn--` in a host's name. A plain value, usable on any thread.
public struct HTTPURL: Hashable, Sendable {
    /// The scheme of a URL.
    @nonexhaustive
    public enum Scheme: String, Hashable, Sendable {
        /// `http:`, in the clear.
        case http
        /// `https:`, over TLS.
        case https
        /// `ws:`, a WebSocket in the clear: RFC 6455 §3.
        case ws
        /// `wss:`, a WebSocket over TLS.
        case wss

        /// Whether it is reached over TLS.
        public var isSecure: Bool { self == .https || self == .wss }

        /// The port of a URL that does not name one: 80 or 443.
        public var defaultPort: UInt16 { isSecure ? 443 : 80 }
    }

    /// The scheme.
    public let scheme: Scheme
    /// A name, in small letters, or an address, an IPv6 one without brackets.
    public let host: String
    /// The port that it names, or its scheme's.
    public let port: UInt16
    /// The request's target: a path of at least "/", with a query if there is one.
    public let target: Bytes

    /// Reads a URL.
    ///
    /// - Parameter text: The whole URL. A fragment is dropped, since it is never sent.
    /// - Throws: ``HTTPURLError``, a sentence that says what is wrong.
    public init(parsing text: String) throws(HTTPURLError) {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")),
            let scheme = Scheme(rawValue: text[..<colon].lowercased())
        else { throw HTTPURLError(text, .scheme) }
        let rest = Bytes(String(text[colon...].dropFirst()))
        guard rest.starts(with: "//") else { throw HTTPURLError(text, .authority) }
        try self.init(scheme, rest[2...], text)
    }

    // `rest` stands behind the slashes; `text` is the whole, for errors.
    private init(_ scheme: Scheme, _ rest: Bytes, _ text: String) throws(HTTPURLError) {
        for byte in rest where !Self.isAllowed(byte) { throw HTTPURLError(text, .byte) }
        let end = rest.firstIndex { "/?#".utf8.contains($0) } ?? rest.count
        let authority = rest[..<end]
        if authority.contains(UInt8(ascii: "@")) { throw HTTPURLError(text, .user) }
        guard !authority.isEmpty, !authority.contains(UInt8(ascii: "%")),
            Authority.isValid(authority.span)
        else { throw HTTPURLError(text, .authority) }
        let portStart = Self.portStart(authority)
        guard portStart > 0, let port = Self.port(authority[portStart...], scheme) else {
            throw HTTPURLError(text, .authority)
        }
        var host = String(decoding: authority[..<portStart]).lowercased()
        if host.first == "[" { host = String(host.dropFirst().dropLast()) }
        self.scheme = scheme
        self.host = host
        self.port = port
        target = Self.target(rest[end...])
    }

    init(_ scheme: Scheme, _ host: String, _ port: UInt16, _ target: Bytes) {
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target
    }

    /// Visible ASCII, but for the backslash, in which browsers see a slash.
    private static func isAllowed(_ byte: UInt8) -> Bool {
        (0x21...0x7e).contains(byte) && byte != UInt8(ascii: "\\")
    }

    /// Where the colon in front of the port is, or would be.
    private static func portStart(_ authority: Bytes) -> Int {
        let bracket = authority.firstIndex(of: UInt8(ascii: "]")) ?? 0
        return authority.firstIndex(of: UInt8(ascii: ":"), from: bracket) ?? authority.count
    }

    /// A colon and digits, or a colon, or nothing (RFC 3986 §3.2.3); `nil` for port 0.
    private static func port(_ text: Bytes, _ scheme: Scheme) -> UInt16? {
        guard text.count > 1 else { return scheme.defaultPort }
        let port = UInt16(decimal: text[1...].span)
        return port == 0 ? nil : port
    }

    private static func target(_ rest: Bytes) -> Bytes {
        let whole = rest[..<(rest.firstIndex(of: UInt8(ascii: "#")) ?? rest.count)]
        if whole.first == UInt8(ascii: "/") { return whole }
        return whole.isEmpty ? "/" : "/" + whole
    }

    /// The value of `Host`: the host, in brackets if need be, and the port if it is not the scheme's.
    public var authority: String {
        let host = host.contains(":") ? "[\(host)]" : host
        return port == scheme.defaultPort ? host : "\(host):\(port)"
    }

    /// Whether two are served by the same origin: RFC 9110 §4.3.1.
    ///
    /// - Parameter other: Another URL.
    /// - Returns: Whether host and port are the same, and both are secure or neither is.
    public func isOfSameOrigin(as other: HTTPURL) -> Bool {
        host == other.host && port == other.port && scheme.isSecure == other.scheme.isSecure
    }

    /// The URL of a reference that was found at this URL: RFC 3986 §5.2.
    ///
    /// - Parameter reference: A URL, or what is left of one, as in `Location`.
    /// - Returns: The URL; its path is free of dot segments if the reference was relative.
    /// - Throws: ``HTTPURLError`` for one that is not a URL of a known scheme.
    public func resolving(_ reference: String) throws(HTTPURLError) -> HTTPURL {
        let bytes = Bytes(reference)
        let end = bytes.firstIndex { ":/?#".utf8.contains($0) } ?? bytes.count
        if end < bytes.count, bytes[end] == UInt8(ascii: ":") {
            return try HTTPURL(parsing: reference)
        }
        if bytes.starts(with: "//") { return try HTTPURL(scheme, bytes[2...], reference) }
        for byte in bytes where !Self.isAllowed(byte) { throw HTTPURLError(reference, .byte) }
        let wanted = bytes[..<(bytes.firstIndex(of: UInt8(ascii: "#")) ?? bytes.count)]
        if wanted.isEmpty { return self }
        let path = target[..<(target.firstIndex(of: UInt8(ascii: "?")) ?? target.count)]
        if wanted[0] == UInt8(ascii: "?") { return HTTPURL(scheme, host, port, path + wanted) }
        var whole = wanted
        if wanted[0] != UInt8(ascii: "/") {
            let folder = path.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
            whole = path[..<folder] + wanted
        }
        return HTTPURL(scheme, host, port, Self.withoutDots(whole))
    }

    /// Takes `.` and `..` out of a path: RFC 3986 §5.2.4.
    private static func withoutDots(_ target: Bytes) -> Bytes {
        let end = target.firstIndex(of: UInt8(ascii: "?")) ?? target.count
        let segments = target[1..<end].split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        var kept: [Bytes] = []
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            if segment == ".." { _ = kept.popLast() }
            if segment != "." && segment != ".." {
                kept.append(segment)
            } else if isLast {
                kept.append("")
            }
        }
        return Bytes(joining: kept.flatMap { ["/", $0] as [Bytes] } + [target[end...]])
    }
}

extension HTTPURL: CustomStringConvertible {
    /// The URL; ``init(parsing:)`` makes an equal one of it.
    public var description: String {
        "\(scheme.rawValue)://\(authority)\(String(decoding: target))"
    }
}

/// Why a client cannot use a text as a URL.
public struct HTTPURLError: Error, Hashable, Sendable, CustomStringConvertible {
    enum Cause: Hashable, Sendable {
        case scheme
        case authority
        case user
        case byte
    }

    /// The text.
    public let text: String
    let cause: Cause

    init(_ text: String, _ cause: Cause) {
        self.text = text
        self.cause = cause
    }

    /// A sentence.
    public var description: String {
        switch cause {
        case .scheme: "\"\(text)\" is no URL: it begins with none of http:, https:, ws:, wss:"
        case .authority:
            "\"\(text)\" is no URL: behind its scheme come two slashes, a host and at most a port, "
                + "from 1 to 65535"
        case .user: "\"\(text)\" names a user, which a URL must not: send the field Authorization"
        case .byte:
            "\"\(text)\" is no URL: spaces and what is not ASCII are written with percent signs"
        }
    }
}
