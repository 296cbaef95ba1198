// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

// Reading is linear in the message: a name costs at most 255 bytes and 127 pointers, each of which
// points before the one that led to it, and all names together are bounded by the message's length.

extension DNSMessage {
    /// Reads a message, which must be all of the bytes.
    ///
    /// Any bytes give a message or an error. A response that says it was cut (``Flags/truncated``)
    /// may end within a record, which is dropped with what would follow.
    ///
    /// - Parameter bytes: The message, without the length that TCP puts before it.
    /// - Throws: ``DNSMessageError``, which says what is wrong, and where.
    /// - Complexity: O(*n*) in the number of bytes, in time and in memory.
    public init(decoding bytes: RawSpan) throws(DNSMessageError) {
        var decoder = DNSDecoder(bytes)
        self = try decoder.message()
    }

    /// Reads a message, which must be all of the bytes: see ``init(decoding:)-(RawSpan)``.
    ///
    /// - Parameter bytes: The message, without the length that TCP puts before it.
    /// - Throws: ``DNSMessageError``.
    public init(decoding bytes: Bytes) throws(DNSMessageError) {
        try self.init(decoding: bytes.span)
    }
}

/// Reads one message.
private struct DNSDecoder: ~Escapable {
    var reader: ByteReader
    /// How many bytes all names may still have together.
    ///
    /// The smallest record of a usual answer has 16 bytes, and a name of 255.
    private var nameBudget: Int
    private var extendedCode: UInt16 = 0

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan) {
        reader = ByteReader(bytes)
        nameBudget = 4_096 + 16 * bytes.byteCount
    }

    @_lifetime(self: copy self)
    mutating func message() throws(DNSMessageError) -> DNSMessage {
        let id = try number(UInt16.self)
        let bits = try number(UInt16.self)
        var message = DNSMessage(id: id, flags: DNSMessage.Flags(rawValue: bits))
        message.operation = UInt8(bits >> 11 & 0xf)
        var counts: [UInt16] = []
        for _ in 0..<4 { counts.append(try number(UInt16.self)) }
        do throws(DNSMessageError) {
            // Nothing is reserved by a count, which may be a lie.
            for _ in 0..<counts[0] { message.questions.append(try question()) }
            for _ in 0..<counts[1] { message.answers.append(try record()) }
            for _ in 0..<counts[2] { message.authorities.append(try record()) }
            for _ in 0..<counts[3] { try additional(to: &message) }
            guard reader.isAtEnd else { throw error(.rest) }
        } catch {
            guard message.flags.contains(.truncated), error.problem == .cut else { throw error }
        }
        message.responseCode = DNSResponseCode(rawValue: extendedCode << 4 | bits & 0xf)
        return message
    }

    @_lifetime(self: copy self)
    private mutating func question() throws(DNSMessageError) -> DNSQuestion {
        let name = try name()
        let type = DNSRecordType(rawValue: try number(UInt16.self))
        return DNSQuestion(name: name, type: type, classNumber: try number(UInt16.self))
    }

    @_lifetime(self: copy self)
    private mutating func additional(to message: inout DNSMessage) throws(DNSMessageError) {
        let start = reader.position
        let name = try name()
        guard try number(UInt16.self) == DNSRecordType.opt.rawValue else {
            try move(to: start)
            message.additionals.append(try record())
            return
        }
        guard name.isRoot, message.edns == nil else { throw error(.extension) }
        var found = DNSExtension(payloadByteCount: try number(UInt16.self))
        extendedCode = UInt16(try number(UInt8.self))
        found.version = try number(UInt8.self)
        found.flags = try number(UInt16.self)
        let end = try dataEnd()
        while reader.position < end {
            let code = try number(UInt16.self)
            let value = try bytes(Int(try number(UInt16.self)), within: end)
            found.options.append(DNSExtension.Option(code: code, value: value))
        }
        guard reader.position == end else { throw error(.data) }
        message.edns = found
    }

    @_lifetime(self: copy self)
    private mutating func record() throws(DNSMessageError) -> DNSRecord {
        let name = try name()
        let type = DNSRecordType(rawValue: try number(UInt16.self))
        let classNumber = try number(UInt16.self)
        let ttl = try number(UInt32.self)
        let end = try dataEnd()
        let data =
            classNumber == 1
            ? try self.data(of: type, within: end) : .other(type, try rest(within: end))
        guard reader.position == end else { throw error(.data) }
        return DNSRecord(
            name: name, ttlSeconds: ttl > Int32.max ? 0 : ttl, data: data, classNumber: classNumber)
    }

    // MARK: Data

    @_lifetime(self: copy self)
    private mutating func data(
        of type: DNSRecordType, within end: Int
    ) throws(DNSMessageError) -> DNSRecordValue {
        switch type {
        case .a: return .a(IPv4Address(bits: try number(UInt32.self)))
        case .aaaa:
            let high = try number(UInt64.self)
            return .aaaa(IPv6Address(high: high, low: try number(UInt64.self)))
        case .cname: return .cname(try name())
        case .ns: return .ns(try name())
        case .ptr: return .ptr(try name())
        case .mx:
            let preference = try number(UInt16.self)
            return .mx(preference: preference, exchange: try name())
        case .srv:
            let priority = try number(UInt16.self)
            let weight = try number(UInt16.self)
            let port = try number(UInt16.self)
            return .srv(priority: priority, weight: weight, port: port, target: try name())
        case .txt: return .txt(try texts(within: end))
        case .soa: return .soa(try zoneStart())
        case .caa:
            let flags = try number(UInt8.self)
            let tag = try bytes(Int(try number(UInt8.self)), within: end)
            // RFC 8659 §4.1: a tag has at least one character.
            guard !tag.isEmpty else { throw error(.data) }
            return .caa(flags: flags, tag: tag, value: try rest(within: end))
        case .svcb: return .svcb(try binding(within: end))
        case .https: return .https(try binding(within: end))
        default: return .other(type, try rest(within: end))
        }
    }

    @_lifetime(self: copy self)
    private mutating func texts(within end: Int) throws(DNSMessageError) -> [Bytes] {
        var texts: [Bytes] = []
        repeat {
            texts.append(try bytes(Int(try number(UInt8.self)), within: end))
        } while reader.position < end
        return texts
    }

    @_lifetime(self: copy self)
    private mutating func zoneStart() throws(DNSMessageError) -> DNSZoneStart {
        let primary = try name()
        let mailbox = try name()
        var numbers: [UInt32] = []
        for _ in 0..<5 { numbers.append(try number(UInt32.self)) }
        return DNSZoneStart(
            primary: primary, mailbox: mailbox, serial: numbers[0], refreshSeconds: numbers[1],
            retrySeconds: numbers[2], expireSeconds: numbers[3], minimumSeconds: numbers[4])
    }

    @_lifetime(self: copy self)
    private mutating func binding(within end: Int) throws(DNSMessageError) -> DNSServiceBinding {
        let priority = try number(UInt16.self)
        var binding = DNSServiceBinding(priority: priority, target: try name())
        while reader.position < end {
            let key = try number(UInt16.self)
            let value = try bytes(Int(try number(UInt16.self)), within: end)
            // RFC 9460 §2.2: otherwise the record is malformed.
            if let last = binding.parameters.last, key <= last.key { throw error(.data) }
            binding.parameters.append(DNSServiceBinding.Parameter(key: key, value: value))
        }
        return binding
    }

    // MARK: Names

    /// A name, whose end may be elsewhere: RFC 1035 §4.1.4.
    @_lifetime(self: copy self)
    private mutating func name() throws(DNSMessageError) -> DNSName {
        var wire: [UInt8] = []
        /// Behind the first pointer, which ends the name where it stands.
        var end: Int?
        var pointerCount = 0
        /// Before which a pointer has to point.
        var limit = reader.position
        while true {
            let length = try number(UInt8.self)
            switch length {
            case 0:
                if let end { try move(to: end) }
                nameBudget -= wire.count
                guard nameBudget >= 0 else { throw error(.expansion) }
                return DNSName(checkedWire: wire)
            case 1...63:
                guard wire.count + 1 + Int(length) < DNSName.maximumByteCount else {
                    throw error(.nameTooLong)
                }
                wire.append(length)
                wire += try span(Int(length))
            case 0xc0...:
                let target = Int(length & 0x3f) << 8 | Int(try number(UInt8.self))
                if end == nil { end = reader.position }
                pointerCount += 1
                guard target < limit, pointerCount <= 127 else { throw error(.pointer) }
                limit = target
                try move(to: target)
            default:
                throw error(.label)
            }
        }
    }

    // MARK: Parts

    private func error(_ problem: DNSMessageError.Problem) -> DNSMessageError {
        DNSMessageError(problem, at: reader.position)
    }

    @_lifetime(self: copy self)
    private mutating func number<Number: FixedWidthInteger>(
        _ type: Number.Type
    ) throws(DNSMessageError) -> Number {
        do throws(ByteReaderError) { return try reader.readInteger(type) } catch {
            throw self.error(.cut)
        }
    }

    @_lifetime(self: copy self)
    private mutating func span(_ count: Int) throws(DNSMessageError) -> [UInt8] {
        do throws(ByteReaderError) { return [UInt8](try reader.readSpan(count)) } catch {
            throw self.error(.cut)
        }
    }

    @_lifetime(self: copy self)
    private mutating func move(to position: Int) throws(DNSMessageError) {
        do throws(ByteReaderError) { try reader.move(to: position) } catch {
            throw self.error(.cut)
        }
    }

    /// Where the data end whose length comes next.
    @_lifetime(self: copy self)
    private mutating func dataEnd() throws(DNSMessageError) -> Int {
        let count = Int(try number(UInt16.self))
        guard count <= reader.remainingByteCount else { throw error(.cut) }
        return reader.position + count
    }

    @_lifetime(self: copy self)
    private mutating func bytes(
        _ count: Int, within end: Int
    ) throws(DNSMessageError) -> Bytes {
        guard count <= end - reader.position else { throw error(.data) }
        do throws(ByteReaderError) { return try reader.readBytes(count) } catch {
            throw self.error(.cut)
        }
    }

    @_lifetime(self: copy self)
    private mutating func rest(within end: Int) throws(DNSMessageError) -> Bytes {
        try bytes(end - reader.position, within: end)
    }
}
