// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import TorsionCore
import TorsionDNS
import TorsionTesting

@Suite struct CodecTests {
    private let question = DNSQuestion(name: DNSName("example.org")!, type: .aaaa)

    @Test func `N-1: what is written is read as the same, letters' case included`() throws {
        var maker = MessageMaker(seed: 1)
        for _ in 0..<1_000 {
            let message = maker.message()
            let bytes = try message.encoded()
            let read = try DNSMessage(decoding: bytes)
            #expect(read == message)
            #expect(read.questions.map(\.name.labels) == message.questions.map(\.name.labels))
        }
    }

    @Test func `N-2: every cut of a message is an error, and no trap`() throws {
        var maker = MessageMaker(seed: 2)
        for _ in 0..<60 {
            let bytes = try maker.message().encoded()
            for count in 0..<bytes.count {
                #expect(throws: DNSMessageError.self) {
                    try DNSMessage(decoding: bytes.prefix(count))
                }
            }
            #expect(throws: DNSMessageError.self) { try DNSMessage(decoding: bytes + [0]) }
        }
    }

    @Test func `N-3: a response that was cut gives the records that are whole`() throws {
        var message = DNSMessage(answering: DNSMessage(asking: question, id: 7))
        message.flags.insert(.truncated)
        let record = DNSRecord(
            name: question.name, ttlSeconds: 60, data: .aaaa(.loopback))
        message.answers = [record, record]
        let bytes = try message.encoded()
        let read = try DNSMessage(decoding: bytes.dropLast(1))
        #expect(read.answers == [record])
        #expect(read.flags.contains(.truncated))
        // The header and its question have to be whole at any rate.
        #expect(throws: DNSMessageError.self) { try DNSMessage(decoding: bytes.prefix(11)) }
    }

    @Test func `N-4: bytes with single changes are a message or an error`() throws {
        var maker = MessageMaker(seed: 3)
        var readable = 0
        for _ in 0..<2_000 {
            var bytes = Array(try maker.message().encoded())
            for _ in 0..<1 + maker.dice.below(4) {
                bytes[maker.dice.below(bytes.count)] = UInt8(maker.dice.below(256))
            }
            guard let read = try? DNSMessage(decoding: Bytes(bytes)) else { continue }
            readable += 1
            // What was read can be sent, and is then read as the same.
            if let sent = try? read.encoded() { #expect(try DNSMessage(decoding: sent) == read) }
        }
        #expect(readable > 100)
    }

    @Test func `N-5: pointers forwards, to themselves and in circles are refused`() {
        func problem(_ name: [UInt8]) -> DNSMessageError.Problem? {
            let header: [UInt8] = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
            do {
                _ = try DNSMessage(decoding: Bytes(header + name + [0, 1, 0, 1]))
                return nil
            } catch {
                return error.problem
            }
        }
        #expect(problem([0xc0, 12]) == .pointer)
        #expect(problem([0xc0, 14]) == .pointer)
        #expect(problem([1, 0x61, 0xc0, 12]) == .pointer)
        #expect(problem([0xff, 0xff]) == .pointer)
        #expect(problem([0x40, 0]) == .label)
        #expect(problem([0x80, 0]) == .label)
        #expect(problem([63]) == .cut)
        // Five labels of 62 bytes are too long, four of them and one of 1 are not.
        let label = [62] + [UInt8](repeating: 0x61, count: 62)
        #expect(problem(label + label + label + label + [1, 0x61, 0]) == nil)
        #expect(problem(label + label + label + label + [2, 0x61, 0x61, 0]) == .nameTooLong)
    }

    @Test func `N-6: names out of all proportion to the message are refused`() {
        // Names of 254 bytes by a pointer each, in records of 14 bytes that hold a second one.
        let label = [62] + [UInt8](repeating: 0x61, count: 62)
        var bytes: [UInt8] = [0, 0, 0x80, 0, 0, 1, 0x0f, 0xa0, 0, 0, 0, 0]
        bytes += label + label + label + label + [0, 0, 1, 0, 1]
        for _ in 0..<4_000 {
            bytes += [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, 2, 0xc0, 12]
        }
        #expect(throws: DNSMessageError.self) { try DNSMessage(decoding: Bytes(bytes)) }
    }

    @Test func `N-7: what no message can say is refused when it is sent`() {
        func problem(_ data: DNSRecordValue) -> DNSMessageError.Problem? {
            var message = DNSMessage()
            message.answers = [DNSRecord(name: .root, ttlSeconds: 0, data: data)]
            do {
                _ = try message.encoded()
                return nil
            } catch {
                return error.problem
            }
        }
        let long = Bytes(repeating: 1, count: 256)
        #expect(problem(.txt([])) == .data)
        #expect(problem(.txt([long])) == .data)
        #expect(problem(.caa(flags: 0, tag: long, value: "")) == .data)
        #expect(problem(.other(.any, Bytes(repeating: 0, count: 65_536))) == .tooLong)
        #expect(problem(.other(.any, Bytes(repeating: 0, count: 65_530))) == .tooLong)
        let parameter = DNSServiceBinding.Parameter(key: 1, value: "")
        let binding = DNSServiceBinding(
            priority: 1, target: .root, parameters: [parameter, parameter])
        #expect(problem(.svcb(binding)) == .data)
        var message = DNSMessage()
        message.responseCode = .badVersion
        #expect(throws: DNSMessageError.self) { try message.encoded() }
    }

    @Test(arguments: [
        ("example.org", "example.org."), (".", "."), (#"a\.b.c"#, #"a\.b.c."#),
        (#"\097\000"#, #"a\000."#), ("bücher.de", #"b\195\188cher.de."#),
    ])
    func `N-8: a name is read and written as in zone files`(text: String, written: String) throws {
        let name = try #require(DNSName(text))
        #expect(name.description == written)
        #expect(DNSName(written) == name)
    }

    @Test(arguments: [
        "", "..", "a..b", ".a", "a..", #"\"#, #"\25"#, #"\256"#, #"\2x5"#,
        String(repeating: "a", count: 64), String(repeating: "a.", count: 128),
    ])
    func `N-9: a text that is no name is refused`(text: String) {
        #expect(DNSName(text) == nil)
    }

    @Test func `N-10: names are equal whatever their letters' case`() throws {
        let name = try #require(DNSName("WwW.Example.ORG"))
        let other = try #require(DNSName("www.example.org."))
        #expect(name == other)
        #expect(name.hashValue == other.hashValue)
        #expect(!name.isIdentical(to: other))
        #expect(name.isWithin(DNSName("example.org")!))
        #expect(!name.isWithin(DNSName("ample.org")!))
        #expect(
            DNSName(reverse: .ipv4(IPv4Address(192, 0, 2, 1), port: 0))
                == DNSName("1.2.0.192.in-addr.arpa"))
        #expect(
            DNSName(reverse: .ipv6(.loopback, port: 0))
                == DNSName("1." + String(repeating: "0.", count: 31) + "ip6.arpa"))
    }

    /// dnspython, by which it reads and writes what stands on each line of its input.
    private static let program = """
        import sys, dns.message
        for line in sys.stdin:
            try:
                message = dns.message.from_wire(bytes.fromhex(line), one_rr_per_rrset=True)
                print(message.to_wire(max_size=65535).hex(), flush=True)
            except Exception as error:
                print('error ' + type(error).__name__, flush=True)
        """

    static let hasDNSPython: Bool = {
        guard let python = try? Program(path: "/usr/bin/python3", ["-c", "import dns.message"])
        else { return false }
        python.endInput()
        return python.wait() == 0
    }()

    @Test(.enabled(if: hasDNSPython, "python3-dnspython is not installed"))
    func `N-11: dnspython reads what we write, and we read what it writes`() throws {
        let python = try Program(path: "/usr/bin/python3", ["-c", Self.program])
        var maker = MessageMaker(seed: 4)
        var agreed = 0
        for round in 0..<TestScope.seeds(all: 5_000, few: 500, variable: "DNS_MESSAGES").upperBound
        {
            let message = maker.message()
            var bytes = Array(try message.encoded())
            let isWhole = round % 2 == 0
            if !isWhole {
                bytes[maker.dice.below(bytes.count)] = UInt8(maker.dice.below(256))
            }
            python.write(hexadecimal(bytes) + "\n")
            let line = python.readLine()
            let ours = try? DNSMessage(decoding: Bytes(bytes))
            guard let theirs = binary(line) else {
                #expect(!isWhole, "dnspython refuses a message of ours: \(line) \(message)")
                continue
            }
            // It is stricter in some data, we in others: where both read, both read the same.
            guard let ours else {
                #expect(!isWhole)
                continue
            }
            // It follows pointers in data of other classes, which mean nothing there.
            if !isWhole, !ours.isOfInternetClass { continue }
            // dnspython writes no bit without a meaning, and no second question with TC.
            agreed += 1
            var read = try DNSMessage(decoding: Bytes(theirs))
            read.flags.formUnion(ours.flags.intersection(.reserved))
            #expect(read == ours, "\(round): \(hexadecimal(bytes))")
        }
        #expect(agreed > 300)
        python.endInput()
        #expect(python.wait() == 0)
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    let digits = Array("0123456789abcdef".utf8)
    for byte in bytes { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
    return String(decoding: text, as: UTF8.self)
}

private func binary(_ text: String) -> [UInt8]? {
    let digits = text.utf8.compactMap(\.hexadecimalDigitValue)
    guard digits.count == text.utf8.count, digits.count % 2 == 0, digits.count >= 24 else {
        return nil
    }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

extension DNSMessage {
    /// Whether no record is of another class than the Internet's.
    fileprivate var isOfInternetClass: Bool {
        (answers + authorities + additionals).allSatisfy { $0.classNumber == 1 }
    }
}
