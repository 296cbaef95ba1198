// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Torsion

// What a person types at a prompt is shorter than what a program keeps in its configuration, so the
// command knows three shorthands. The library knows none: there a text has one meaning for ever.

/// A place to connect to, as the library reads it: `HOST:PORT`, `:PORT` on this machine, `/path`.
func clientText(_ text: String) -> String {
    if let path = unixText(text) { return path }
    guard let (host, port) = hostAndPort(text) else { return text }
    return "tcp:\(host.isEmpty ? "localhost" : host):\(port)"
}

/// A place to listen at: `ADDRESS:PORT`, `:PORT` on every interface, `/path`.
func serverText(_ text: String) -> String {
    if let path = unixText(text) { return path }
    guard let (host, port) = hostAndPort(text) else { return text }
    if host.isEmpty { return "tcp:\(port)" }
    return "tcp:\(port):interface=\(host == "localhost" ? "127.0.0.1" : host)"
}

private func unixText(_ text: String) -> String? {
    guard text.hasPrefix("/") || text.hasPrefix("./") else { return nil }
    let escaped = text.flatMap { $0 == ":" || $0 == "\\" ? ["\\", $0] : [$0] }
    return "unix:" + String(escaped)
}

/// The two halves of `HOST:PORT`, where the host may be empty, or an IPv6 address in brackets.
///
/// A host is told from a type of endpoint by a dot, as of a name or an address, or by being
/// `localhost`: `tcp:8080` stays what it is.
private func hostAndPort(_ text: String) -> (host: String, port: String)? {
    guard let colon = text.lastIndex(of: ":") else { return nil }
    let host = String(text[..<colon]), port = String(text[text.index(after: colon)...])
    // No type of endpoint has an empty name: what follows is a port, or a wrong one.
    if host.isEmpty { return (host, port) }
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
    let isName = !host.contains(":") && (host.contains(".") || host == "localhost")
    return isBracketed || isName ? (host, port) : nil
}
