// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// How one question is brought to an answer: which server is asked when, and which response counts.
///
/// Pure: bytes and time go in, actions come out. Whoever carries them out opens a port of its own for
/// each `send`, connected to the server, and keeps it until `finish`: an answer that comes late
/// still counts.
///
/// Off the path to a server a liar must guess the port, which the kernel draws, the id, and the case
/// of each letter of the name (0x20: draft-vixie-dnsext-dns0x20). What differs in the id, the
/// question or the sender is passed over. After 32 of them, and when nothing but letters' case is
/// wrong or the rest behind the question cannot be read, which is also how an odd server answers, the
/// same server is asked over TCP, where nobody can guess.
struct Resolution {
    enum Action: Equatable {
        /// Ask from a new port, and report what arrives there by `received`.
        case send(Bytes, to: SocketAddress, attempt: Int)
        /// Ask over a connection; report by `received`, or by `failed`.
        case connect(Bytes, to: SocketAddress, attempt: Int)
        /// Report `timePassed` then; replaces the time before.
        case wait(until: MonotonicInstant)
        /// Close everything.
        case finish(Result<DNSAnswer, DNSLookupError>)
    }

    /// How a server is asked.
    private struct Attempt {
        let server: Int
        let id: UInt16
        let question: DNSQuestion
        let isOverTCP: Bool
        let hasEDNS: Bool
        /// Whether its response is still waited for.
        var isOpen = true
        var strangeCount = 0
    }

    private struct Server {
        let address: SocketAddress
        var knowsEDNS = true
        /// Whether it has answered in a way that leaves nothing to ask it again for.
        var hasFailed = false
    }

    static let aliasLimit = 16
    static let strangeLimit = 32
    static let serverLimit = 16
    /// What a datagram may have that crosses every usual network whole.
    static let payloadByteCount: UInt16 = 1_232

    let question: DNSQuestion
    private let configuration: DNSConfiguration
    private let deadline: MonotonicInstant
    private var servers: [Server]
    private var attempts: [Attempt] = []
    /// The attempt that is under way, and until when.
    private var current = -1
    private var currentDeadline: MonotonicInstant
    /// Which server is next, counted through all rounds.
    private var turn = 0
    private var aliases: [DNSName] = []
    private var lastFailure = DNSLookupError.Reason.timedOut
    private var lastServer: SocketAddress?
    private(set) var isFinished = false

    /// Ready to start.
    ///
    /// `firstServer`: Which server of the list is asked first.
    /// `deadline`: When it fails at the latest.
    init(
        _ question: DNSQuestion, _ configuration: DNSConfiguration, firstServer: Int,
        deadline: MonotonicInstant
    ) {
        self.question = question
        self.configuration = configuration
        self.deadline = deadline
        currentDeadline = deadline
        let list = configuration.servers.prefix(Self.serverLimit)
        let first = list.isEmpty ? 0 : firstServer % list.count
        servers = (list[first...] + list[..<first]).map { Server(address: $0) }
    }

    /// The name that is asked for now: the question's own, or the last alias.
    private var name: DNSName { aliases.last ?? question.name }

    /// How many responses in all were passed over since they were not ours.
    var strangeCount: Int { attempts.reduce(0) { $0 + $1.strangeCount } }

    // MARK: Events

    mutating func start(
        now: MonotonicInstant, _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        guard !servers.isEmpty else {
            return fail(.unreachable(.destinationRequired))
        }
        return askNext(now, &random)
    }

    mutating func timePassed(
        now: MonotonicInstant, _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        guard !isFinished else { return [] }
        guard now < deadline else { return fail(lastFailure) }
        guard now >= currentDeadline else { return [.wait(until: currentDeadline)] }
        return askNext(now, &random)
    }

    /// The attempt could not be made, its connection ended, or nobody listens there.
    mutating func failed(
        attempt: Int, _ code: ErrorCode, now: MonotonicInstant,
        _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        guard !isFinished, attempts[attempt].isOpen else { return [] }
        attempts[attempt].isOpen = false
        // It may listen again in the next round.
        if case .timedOut = lastFailure { lastFailure = .unreachable(code) }
        return attempt == current ? askNext(now, &random) : []
    }

    /// Something arrived at the port or the connection of an attempt.
    ///
    /// `source`: Whose datagram it is, or the peer of the connection.
    mutating func received(
        _ bytes: RawSpan, from source: SocketAddress, attempt number: Int, now: MonotonicInstant,
        _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        guard !isFinished, attempts[number].isOpen else { return [] }
        let attempt = attempts[number]
        let server = servers[attempt.server].address
        // A connected port gets nothing from others; this does not depend on it.
        guard source == server, bytes.integer(at: 0, as: UInt16.self) == attempt.id else {
            return strange(number, now, &random)
        }
        guard let response = try? DNSMessage(decoding: bytes) else {
            // It has the id; but a liar that guessed it could end the look-up by nonsense. With the
            // name's letters as well it is the server's own, most likely.
            guard repeats(attempt.question, bytes), !attempt.isOverTCP else {
                return strange(number, now, &random)
            }
            lastFailure = .unreadable
            lastServer = server
            return askOverTCP(number, now, &random)
        }
        guard response.flags.contains(.response), response.operation == 0,
            isAbout(attempt.question, response)
        else { return strange(number, now, &random) }
        let isExact = response.questions.first?.name.isIdentical(to: attempt.question.name)
        if isExact == false, !attempt.isOverTCP { return askOverTCP(number, now, &random) }
        lastServer = server
        return judge(inOwnCase(bytes, attempt.question) ?? response, number, now, &random)
    }

    /// Whether a response that cannot be read has the question's name, letter by letter.
    private func repeats(_ asked: DNSQuestion, _ bytes: RawSpan) -> Bool {
        let place = 12..<12 + asked.name.wire.count
        guard place.upperBound <= bytes.byteCount, bytes[2] & 0x80 != 0 else { return false }
        return [UInt8](bytes[place]).elementsEqual(asked.name.wire)
    }

    /// The response with its question as the caller spells it, and so are the names that end in a
    /// pointer to it: the random case is nobody's business.
    private func inOwnCase(_ bytes: RawSpan, _ asked: DNSQuestion) -> DNSMessage? {
        var own = [UInt8](bytes)
        let place = 12..<12 + asked.name.wire.count
        guard place.upperBound <= own.count, own[place].elementsEqual(asked.name.wire) else {
            return nil
        }
        own.replaceSubrange(place, with: name.wire)
        return try? DNSMessage(decoding: Bytes(own))
    }

    /// Some servers answer FORMERR without the question.
    private func isAbout(_ question: DNSQuestion, _ response: DNSMessage) -> Bool {
        if response.questions.isEmpty {
            return response.responseCode == .formatError && response.answers.isEmpty
        }
        return response.questions == [question]
    }

    // MARK: Judging

    private mutating func judge(
        _ response: DNSMessage, _ number: Int, _ now: MonotonicInstant,
        _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        let attempt = attempts[number]
        switch response.responseCode {
        case .noError, .nameError: break
        case .formatError, .notImplemented, .badVersion:
            guard attempt.hasEDNS else { fallthrough }
            // It does not know EDNS: RFC 6891 §7.
            servers[attempt.server].knowsEDNS = false
            attempts[number].isOpen = false
            return ask(attempt.server, overTCP: attempt.isOverTCP, now, &random)
        default:
            return passOver(number, .serverFailure(response.responseCode), now, &random)
        }
        if response.flags.contains(.truncated) {
            guard attempt.isOverTCP else { return askOverTCP(number, now, &random) }
            return passOver(number, .serverFailure(.formatError), now, &random)
        }
        return read(response, number, now, &random)
    }

    /// Follows the aliases within a response: RFC 1034 §3.6.2, RFC 2308 §2.
    private mutating func read(
        _ response: DNSMessage, _ number: Int, _ now: MonotonicInstant,
        _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        let records = response.answers.filter { $0.classNumber == question.classNumber }
        var found = aliases
        var end = name
        var ttl = UInt32.max
        if question.type != .cname, question.type != .any {
            // The last of several, so that a search is linear.
            var links: [DNSName: (target: DNSName, ttl: UInt32)] = [:]
            for record in records {
                if case .cname(let target) = record.data {
                    links[record.name] = (target, record.ttlSeconds)
                }
            }
            while let link = links[end] {
                found.append(link.target)
                end = link.target
                ttl = min(ttl, link.ttl)
                guard found.count <= Self.aliasLimit else {
                    return fail(.aliasLoop)
                }
            }
        }
        var answers = records.filter { record in
            record.name == end && (record.type == question.type || question.type == .any)
        }
        if !answers.isEmpty, response.responseCode == .noError {
            // An answer lives as long as the way to it.
            for index in answers.indices {
                answers[index].ttlSeconds = min(answers[index].ttlSeconds, ttl)
            }
            isFinished = true
            close()
            let answer = DNSAnswer(
                question: question, records: answers, aliases: found,
                server: servers[attempts[number].server].address,
                isOverTCP: attempts[number].isOverTCP)
            return [.finish(.success(answer))]
        }
        return readNothing(response, number, found, end, ttl, now, &random)
    }

    private mutating func readNothing(
        _ response: DNSMessage, _ number: Int, _ found: [DNSName], _ end: DNSName,
        _ ttl: UInt32, _ now: MonotonicInstant, _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        let negativeTTL = response.authorities.compactMap { record -> UInt32? in
            guard case .soa(let zone) = record.data, end.isWithin(record.name) else { return nil }
            return min(record.ttlSeconds, zone.minimumSeconds, ttl)
        }.first
        if response.responseCode == .nameError {
            return fail(.noSuchName, negativeTTL)
        }
        if negativeTTL != nil { return fail(.noRecords, negativeTTL) }
        // The alias leads out of what the server has looked at.
        if found.count > aliases.count {
            aliases = found
            close()
            turn = 0
            return ask(attempts[number].server, overTCP: false, now, &random)
        }
        // A server that neither asks others nor has the zone says only where else to ask.
        let isOfUse = !response.flags.isDisjoint(with: [.recursionAvailable, .authoritative])
        guard isOfUse else { return passOver(number, .serverFailure(.refused), now, &random) }
        return fail(.noRecords)
    }

    // MARK: Asking

    private mutating func strange(
        _ number: Int, _ now: MonotonicInstant, _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        attempts[number].strangeCount += 1
        let isOverTCP = attempts[number].isOverTCP
        if isOverTCP { return passOver(number, .serverFailure(.formatError), now, &random) }
        guard attempts[number].strangeCount >= Self.strangeLimit else { return [] }
        return askOverTCP(number, now, &random)
    }

    /// The server is of no use for this question.
    private mutating func passOver(
        _ number: Int, _ reason: DNSLookupError.Reason, _ now: MonotonicInstant,
        _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        attempts[number].isOpen = false
        servers[attempts[number].server].hasFailed = true
        lastFailure = reason
        guard number == current || servers.allSatisfy(\.hasFailed) else { return [] }
        return askNext(now, &random)
    }

    private mutating func askOverTCP(
        _ number: Int, _ now: MonotonicInstant, _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        attempts[number].isOpen = false
        return ask(attempts[number].server, overTCP: true, now, &random)
    }

    private mutating func askNext(
        _ now: MonotonicInstant, _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        while turn < servers.count * configuration.attempts {
            let server = turn % servers.count
            turn += 1
            guard !servers[server].hasFailed else { continue }
            return ask(server, overTCP: configuration.usesTCPOnly, now, &random)
        }
        // An earlier server may answer yet, but nobody would wait for that much longer.
        return fail(lastFailure)
    }

    private mutating func ask(
        _ server: Int, overTCP isOverTCP: Bool, _ now: MonotonicInstant,
        _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        let hasEDNS = servers[server].knowsEDNS
        let asked = DNSQuestion(
            name: name.inRandomCase(&random), type: question.type,
            classNumber: question.classNumber)
        let attempt = Attempt(
            server: server, id: UInt16(truncatingIfNeeded: random.next()), question: asked,
            isOverTCP: isOverTCP, hasEDNS: hasEDNS)
        let query = DNSMessage(
            asking: asked, id: attempt.id,
            edns: hasEDNS ? DNSExtension(payloadByteCount: Self.payloadByteCount) : nil)
        // A query has nothing that cannot be sent.
        guard let bytes = try? query.encoded(), attempts.count < 100 else {
            return fail(lastFailure)
        }
        current = attempts.count
        attempts.append(attempt)
        currentDeadline = min(now.advanced(by: configuration.timeout), deadline)
        let address = servers[server].address
        return [
            isOverTCP
                ? .connect(bytes, to: address, attempt: current)
                : .send(bytes, to: address, attempt: current),
            .wait(until: currentDeadline),
        ]
    }

    private mutating func close() {
        for index in attempts.indices { attempts[index].isOpen = false }
    }

    private mutating func fail(
        _ reason: DNSLookupError.Reason, _ negativeTTL: UInt32? = nil
    ) -> [Action] {
        isFinished = true
        close()
        let error = DNSLookupError(
            question: question, reason: reason, server: lastServer, negativeTTLSeconds: negativeTTL)
        return [.finish(.failure(error))]
    }
}

extension DNSName {
    /// The same name with each letter large or small.
    func inRandomCase(_ random: inout some RandomNumberGenerator) -> DNSName {
        var bits: UInt64 = 0
        var bitCount = 0
        let wire = self.wire.map { byte in
            let small = byte.asciiLowercased
            guard (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(small) else { return byte }
            if bitCount == 0 {
                bits = random.next()
                bitCount = 64
            }
            bitCount -= 1
            defer { bits >>= 1 }
            return bits & 1 == 1 ? small.asciiUppercased : small
        }
        return DNSName(checkedWire: wire)
    }
}
