// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What both sides have agreed on about compression: RFC 7692 §7.1.
///
/// Pure: offers in, an agreement out.
package struct CompressionAgreement: Equatable {
    package var serverKeepsContext = true
    package var clientKeepsContext = true
    /// How far back the server refers, as a power of two; `nil` is 15, without a word.
    package var serverWindowBits: Int?
    package var clientWindowBits: Int?

    private static let name = "permessage-deflate"

    private init() {}

    // MARK: A client

    /// What a client offers.
    ///
    /// It bears any window, and asks for none: its own for what the server sends is the largest.
    static func offer(_ wanted: WebSocketCompression) -> String {
        var offer = name + "; client_max_window_bits"
        if !wanted.peerKeepsContext { offer += "; server_no_context_takeover" }
        if !wanted.keepsContext { offer += "; client_no_context_takeover" }
        return offer
    }

    /// What a server has made of the offer; fails if that is no answer to it, and the handshake with it (§7.1).
    ///
    /// - Parameters:
    ///   - answer: The one extension that it has chosen.
    ///   - wanted: What was offered.
    init?(answer: WebSocketExtension, to wanted: WebSocketCompression) {
        guard let terms = Terms(answer, isOffer: false) else { return nil }
        guard terms.serverDropsContext || wanted.peerKeepsContext else { return nil }
        serverKeepsContext = !terms.serverDropsContext
        clientKeepsContext = wanted.keepsContext && !terms.clientDropsContext
        serverWindowBits = terms.serverWindowBits
        clientWindowBits = terms.clientWindowBits ?? nil
    }

    // MARK: A server

    /// Accepts the first offer that can be; fails if there is none.
    ///
    /// - Parameters:
    ///   - offers: All extensions that a client offers, the best first.
    ///   - wanted: What the server's program allows.
    package init?(accepting offers: [WebSocketExtension], _ wanted: WebSocketCompression) {
        let terms = offers.lazy.compactMap { Terms($0, isOffer: true) }.first
        guard let terms else { return nil }
        serverKeepsContext = wanted.keepsContext && !terms.serverDropsContext
        clientKeepsContext = wanted.peerKeepsContext && !terms.clientDropsContext
        serverWindowBits = terms.serverWindowBits
    }

    /// What a server answers with.
    var answer: String {
        var answer = Self.name
        if !serverKeepsContext { answer += "; server_no_context_takeover" }
        if !clientKeepsContext { answer += "; client_no_context_takeover" }
        if let serverWindowBits { answer += "; server_max_window_bits=\(serverWindowBits)" }
        return answer
    }
}

/// The parameters of one offer or answer, valid.
private struct Terms {
    var serverDropsContext = false
    var clientDropsContext = false
    var serverWindowBits: Int?
    /// There, in an offer with or without a value.
    var clientWindowBits: Int??

    init?(_ element: WebSocketExtension, isOffer: Bool) {
        guard element.name == "permessage-deflate" else { return nil }
        var seen: Set<String> = []
        for parameter in element.parameters {
            // Unknown ones, known ones twice, wrong values: each declines the whole (§7.1).
            guard seen.insert(parameter.name).inserted else { return nil }
            let bits = parameter.value.flatMap(Self.windowBits)
            switch (parameter.name, parameter.value) {
            case ("server_no_context_takeover", nil): serverDropsContext = true
            case ("client_no_context_takeover", nil): clientDropsContext = true
            case ("server_max_window_bits", _?) where bits != nil: serverWindowBits = bits
            case ("client_max_window_bits", _?) where bits != nil: clientWindowBits = bits
            case ("client_max_window_bits", nil) where isOffer: clientWindowBits = .some(nil)
            default: return nil
            }
        }
    }

    /// 8 to 15, without zeroes in front: §7.1.2.
    private static func windowBits(_ value: String) -> Int? {
        guard let bits = Int(value), 8...15 ~= bits, value == "\(bits)" else { return nil }
        return bits
    }
}
