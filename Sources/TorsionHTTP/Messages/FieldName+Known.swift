// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension FieldName {
    /// The spelling of each name that has a number, which is its place here.
    ///
    /// The first is of none. Those up to `Trailer` say how a message is framed or what becomes of its
    /// connection, and the parser looks at them; so their places are fixed, see ``HeadParser``.
    static let spellings: [StaticString] = [
        "",
        "Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "Upgrade", "TE",
        "Trailer", "Accept", "Accept-Encoding", "Accept-Language", "Accept-Ranges",
        "Access-Control-Allow-Origin", "Access-Control-Request-Headers",
        "Access-Control-Request-Method", "Age", "Allow", "Authorization", "Cache-Control",
        "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Location",
        "Content-Range", "Content-Security-Policy", "Content-Type", "Cookie", "Date", "DNT",
        "Early-Data", "ETag", "Expires", "Forwarded", "From", "HTTP2-Settings", "If-Match",
        "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive",
        "Last-Modified", "Link", "Location", "Max-Forwards", "Origin", "Pragma", "Priority",
        "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Range", "Referer",
        "Refresh", "Retry-After", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform",
        "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User",
        "Sec-WebSocket-Accept", "Sec-WebSocket-Extensions", "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "Server", "Set-Cookie",
        "Strict-Transport-Security", "traceparent", "tracestate", "Upgrade-Insecure-Requests",
        "User-Agent", "Vary", "Via", "Warning", "WWW-Authenticate", "X-Content-Type-Options",
        "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Frame-Options", "X-Real-IP",
        "X-Request-ID", "X-Requested-With",
    ]

    /// `Host`.
    @inlinable public static var host: FieldName { FieldName(number: 1) }

    /// `Content-Length`.
    @inlinable public static var contentLength: FieldName { FieldName(number: 2) }

    /// `Transfer-Encoding`.
    @inlinable public static var transferEncoding: FieldName { FieldName(number: 3) }

    /// `Connection`.
    @inlinable public static var connection: FieldName { FieldName(number: 4) }

    /// `Expect`.
    @inlinable public static var expect: FieldName { FieldName(number: 5) }

    /// `Upgrade`.
    @inlinable public static var upgrade: FieldName { FieldName(number: 6) }

    /// `TE`.
    @inlinable public static var te: FieldName { FieldName(number: 7) }

    /// `Trailer`.
    @inlinable public static var trailer: FieldName { FieldName(number: 8) }

    /// `Accept`.
    @inlinable public static var accept: FieldName { FieldName(number: 9) }

    /// `Accept-Encoding`.
    @inlinable public static var acceptEncoding: FieldName { FieldName(number: 10) }

    /// `Accept-Language`.
    @inlinable public static var acceptLanguage: FieldName { FieldName(number: 11) }

    /// `Accept-Ranges`.
    @inlinable public static var acceptRanges: FieldName { FieldName(number: 12) }

    /// `Access-Control-Allow-Origin`.
    @inlinable public static var accessControlAllowOrigin: FieldName { FieldName(number: 13) }

    /// `Access-Control-Request-Headers`.
    @inlinable public static var accessControlRequestHeaders: FieldName { FieldName(number: 14) }

    /// `Access-Control-Request-Method`.
    @inlinable public static var accessControlRequestMethod: FieldName { FieldName(number: 15) }

    /// `Age`.
    @inlinable public static var age: FieldName { FieldName(number: 16) }

    /// `Allow`.
    @inlinable public static var allow: FieldName { FieldName(number: 17) }

    /// `Authorization`.
    @inlinable public static var authorization: FieldName { FieldName(number: 18) }

    /// `Cache-Control`.
    @inlinable public static var cacheControl: FieldName { FieldName(number: 19) }

    /// `Content-Disposition`.
    @inlinable public static var contentDisposition: FieldName { FieldName(number: 20) }

    /// `Content-Encoding`.
    @inlinable public static var contentEncoding: FieldName { FieldName(number: 21) }

    /// `Content-Language`.
    @inlinable public static var contentLanguage: FieldName { FieldName(number: 22) }

    /// `Content-Location`.
    @inlinable public static var contentLocation: FieldName { FieldName(number: 23) }

    /// `Content-Range`.
    @inlinable public static var contentRange: FieldName { FieldName(number: 24) }

    /// `Content-Security-Policy`.
    @inlinable public static var contentSecurityPolicy: FieldName { FieldName(number: 25) }

    /// `Content-Type`.
    @inlinable public static var contentType: FieldName { FieldName(number: 26) }

    /// `Cookie`.
    @inlinable public static var cookie: FieldName { FieldName(number: 27) }

    /// `Date`.
    @inlinable public static var date: FieldName { FieldName(number: 28) }

    /// `DNT`.
    @inlinable public static var dnt: FieldName { FieldName(number: 29) }

    /// `Early-Data`.
    @inlinable public static var earlyData: FieldName { FieldName(number: 30) }

    /// `ETag`.
    @inlinable public static var etag: FieldName { FieldName(number: 31) }

    /// `Expires`.
    @inlinable public static var expires: FieldName { FieldName(number: 32) }

    /// `Forwarded`.
    @inlinable public static var forwarded: FieldName { FieldName(number: 33) }

    /// `From`.
    @inlinable public static var from: FieldName { FieldName(number: 34) }

    /// `HTTP2-Settings`.
    @inlinable public static var http2Settings: FieldName { FieldName(number: 35) }

    /// `If-Match`.
    @inlinable public static var ifMatch: FieldName { FieldName(number: 36) }

    /// `If-Modified-Since`.
    @inlinable public static var ifModifiedSince: FieldName { FieldName(number: 37) }

    /// `If-None-Match`.
    @inlinable public static var ifNoneMatch: FieldName { FieldName(number: 38) }

    /// `If-Range`.
    @inlinable public static var ifRange: FieldName { FieldName(number: 39) }

    /// `If-Unmodified-Since`.
    @inlinable public static var ifUnmodifiedSince: FieldName { FieldName(number: 40) }

    /// `Keep-Alive`.
    @inlinable public static var keepAlive: FieldName { FieldName(number: 41) }

    /// `Last-Modified`.
    @inlinable public static var lastModified: FieldName { FieldName(number: 42) }

    /// `Link`.
    @inlinable public static var link: FieldName { FieldName(number: 43) }

    /// `Location`.
    @inlinable public static var location: FieldName { FieldName(number: 44) }

    /// `Max-Forwards`.
    @inlinable public static var maxForwards: FieldName { FieldName(number: 45) }

    /// `Origin`.
    @inlinable public static var origin: FieldName { FieldName(number: 46) }

    /// `Pragma`.
    @inlinable public static var pragma: FieldName { FieldName(number: 47) }

    /// `Priority`.
    @inlinable public static var priority: FieldName { FieldName(number: 48) }

    /// `Proxy-Authenticate`.
    @inlinable public static var proxyAuthenticate: FieldName { FieldName(number: 49) }

    /// `Proxy-Authorization`.
    @inlinable public static var proxyAuthorization: FieldName { FieldName(number: 50) }

    /// `Proxy-Connection`.
    @inlinable public static var proxyConnection: FieldName { FieldName(number: 51) }

    /// `Range`.
    @inlinable public static var range: FieldName { FieldName(number: 52) }

    /// `Referer`.
    @inlinable public static var referer: FieldName { FieldName(number: 53) }

    /// `Refresh`.
    @inlinable public static var refresh: FieldName { FieldName(number: 54) }

    /// `Retry-After`.
    @inlinable public static var retryAfter: FieldName { FieldName(number: 55) }

    /// `Sec-CH-UA`.
    @inlinable public static var secCHUA: FieldName { FieldName(number: 56) }

    /// `Sec-CH-UA-Mobile`.
    @inlinable public static var secCHUAMobile: FieldName { FieldName(number: 57) }

    /// `Sec-CH-UA-Platform`.
    @inlinable public static var secCHUAPlatform: FieldName { FieldName(number: 58) }

    /// `Sec-Fetch-Dest`.
    @inlinable public static var secFetchDest: FieldName { FieldName(number: 59) }

    /// `Sec-Fetch-Mode`.
    @inlinable public static var secFetchMode: FieldName { FieldName(number: 60) }

    /// `Sec-Fetch-Site`.
    @inlinable public static var secFetchSite: FieldName { FieldName(number: 61) }

    /// `Sec-Fetch-User`.
    @inlinable public static var secFetchUser: FieldName { FieldName(number: 62) }

    /// `Sec-WebSocket-Accept`.
    @inlinable public static var secWebSocketAccept: FieldName { FieldName(number: 63) }

    /// `Sec-WebSocket-Extensions`.
    @inlinable public static var secWebSocketExtensions: FieldName { FieldName(number: 64) }

    /// `Sec-WebSocket-Key`.
    @inlinable public static var secWebSocketKey: FieldName { FieldName(number: 65) }

    /// `Sec-WebSocket-Protocol`.
    @inlinable public static var secWebSocketProtocol: FieldName { FieldName(number: 66) }

    /// `Sec-WebSocket-Version`.
    @inlinable public static var secWebSocketVersion: FieldName { FieldName(number: 67) }

    /// `Server`.
    @inlinable public static var server: FieldName { FieldName(number: 68) }

    /// `Set-Cookie`.
    @inlinable public static var setCookie: FieldName { FieldName(number: 69) }

    /// `Strict-Transport-Security`.
    @inlinable public static var strictTransportSecurity: FieldName { FieldName(number: 70) }

    /// `traceparent`.
    @inlinable public static var traceparent: FieldName { FieldName(number: 71) }

    /// `tracestate`.
    @inlinable public static var tracestate: FieldName { FieldName(number: 72) }

    /// `Upgrade-Insecure-Requests`.
    @inlinable public static var upgradeInsecureRequests: FieldName { FieldName(number: 73) }

    /// `User-Agent`.
    @inlinable public static var userAgent: FieldName { FieldName(number: 74) }

    /// `Vary`.
    @inlinable public static var vary: FieldName { FieldName(number: 75) }

    /// `Via`.
    @inlinable public static var via: FieldName { FieldName(number: 76) }

    /// `Warning`.
    @inlinable public static var warning: FieldName { FieldName(number: 77) }

    /// `WWW-Authenticate`.
    @inlinable public static var wwwAuthenticate: FieldName { FieldName(number: 78) }

    /// `X-Content-Type-Options`.
    @inlinable public static var xContentTypeOptions: FieldName { FieldName(number: 79) }

    /// `X-Forwarded-For`.
    @inlinable public static var xForwardedFor: FieldName { FieldName(number: 80) }

    /// `X-Forwarded-Host`.
    @inlinable public static var xForwardedHost: FieldName { FieldName(number: 81) }

    /// `X-Forwarded-Proto`.
    @inlinable public static var xForwardedProto: FieldName { FieldName(number: 82) }

    /// `X-Frame-Options`.
    @inlinable public static var xFrameOptions: FieldName { FieldName(number: 83) }

    /// `X-Real-IP`.
    @inlinable public static var xRealIP: FieldName { FieldName(number: 84) }

    /// `X-Request-ID`.
    @inlinable public static var xRequestID: FieldName { FieldName(number: 85) }

    /// `X-Requested-With`.
    @inlinable public static var xRequestedWith: FieldName { FieldName(number: 86) }
}
