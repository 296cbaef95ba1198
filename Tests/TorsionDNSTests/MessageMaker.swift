// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionDNS
import TorsionTesting

/// Messages by the dice, with everything that the codec knows.
struct MessageMaker {
    var dice: SeededDice
    /// A few, so that they share their ends and are compressed.
    private var names: [DNSName] = [.root]

    init(seed: UInt64) { dice = SeededDice(seed: seed) }

    mutating func message() -> DNSMessage {
        names = [.root]
        var message = DNSMessage(id: number(), flags: DNSMessage.Flags(rawValue: number()))
        // A cut message may end anywhere.
        message.flags.subtract(.truncated)
        for _ in 0..<dice.below(3) {
            message.questions.append(DNSQuestion(name: name(), type: .aaaa))
        }
        for _ in 0..<dice.below(5) { message.answers.append(record()) }
        for _ in 0..<dice.below(3) { message.authorities.append(record()) }
        for _ in 0..<dice.below(3) { message.additionals.append(record()) }
        guard dice.percent(50) else {
            message.responseCode = DNSResponseCode(rawValue: UInt16(dice.below(16)))
            return message
        }
        message.responseCode = DNSResponseCode(rawValue: UInt16(dice.below(4_096)))
        var edns = DNSExtension(payloadByteCount: number())
        edns.flags = number()
        for _ in 0..<dice.below(3) {
            edns.options.append(
                DNSExtension.Option(code: 65_001 + UInt16(dice.below(500)), value: bytes(20)))
        }
        message.edns = edns
        return message
    }

    mutating func name() -> DNSName {
        if dice.percent(40) { return names[dice.below(names.count)] }
        var labels = (0..<1 + dice.below(3)).map { _ in label() }
        labels += names[dice.below(names.count)].labels
        guard let made = DNSName(labels: labels) else { return .root }
        names.append(made)
        return made
    }

    private mutating func label() -> [UInt8] {
        let longest = dice.percent(5) ? 63 : 8
        return (0..<1 + dice.below(longest)).map { _ in
            dice.percent(95) ? UInt8(ascii: "a") + UInt8(dice.below(26)) : UInt8(dice.below(256))
        }
    }

    private mutating func number() -> UInt16 { UInt16(truncatingIfNeeded: dice.next()) }

    private mutating func bytes(_ most: Int) -> Bytes {
        Bytes((0..<dice.below(most + 1)).map { _ in UInt8(dice.below(256)) })
    }

    private mutating func record() -> DNSRecord {
        DNSRecord(name: name(), ttlSeconds: UInt32(dice.below(1 << 31)), data: data())
    }

    private mutating func data() -> DNSRecordValue {
        switch dice.below(13) {
        case 0: return .a(IPv4Address(bits: UInt32(truncatingIfNeeded: dice.next())))
        case 1: return .aaaa(IPv6Address(high: dice.next(), low: dice.next()))
        case 2: return .cname(name())
        case 3: return .ns(name())
        case 4: return .ptr(name())
        case 5: return .mx(preference: number(), exchange: name())
        case 6:
            return .srv(priority: number(), weight: number(), port: number(), target: name())
        case 7: return .txt((0..<1 + dice.below(3)).map { _ in bytes(255) })
        case 8:
            return .soa(
                DNSZoneStart(
                    primary: name(), mailbox: name(), serial: .max, refreshSeconds: 7_200,
                    retrySeconds: 60, expireSeconds: 86_400, minimumSeconds: UInt32(number())))
        case 9:
            return .caa(
                flags: UInt8(dice.below(256)), tag: "issue", value: bytes(40))
        case 10: return .svcb(binding())
        case 11: return .https(binding())
        default:
            return .other(DNSRecordType(rawValue: 65_280 + UInt16(dice.below(200))), bytes(60))
        }
    }

    private mutating func binding() -> DNSServiceBinding {
        var parameters: [DNSServiceBinding.Parameter] = []
        func add(_ key: UInt16, _ value: Bytes) {
            parameters.append(DNSServiceBinding.Parameter(key: key, value: value))
        }
        if dice.percent(50) { add(1, [2, 0x68, 0x32]) }
        if dice.percent(50) { add(3, [0x1f, 0x49]) }
        if dice.percent(50) { add(4, [192, 0, 2, 1, 192, 0, 2, 2]) }
        if dice.percent(50) { add(6, Bytes(repeating: 0x20, count: 16)) }
        if dice.percent(50) { add(65_300, bytes(30)) }
        return DNSServiceBinding(
            priority: 1 + number() / 2, target: name(), parameters: parameters)
    }
}
