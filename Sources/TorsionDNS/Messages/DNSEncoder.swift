// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

extension DNSMessage {
    /// The message as it is sent, without the length that TCP puts before it.
    ///
    /// Names are compressed where RFC 1035 §4.1.4 and RFC 3597 §4 allow it.
    ///
    /// - Returns: At most 65,535 bytes.
    /// - Throws: ``DNSMessageError`` of problem `tooLong`, or `data` for values that do not fit a
    ///   message: an empty text or one of more than 255 bytes, parameters out of order, a response
    ///   code of more than four bits without EDNS.
    /// - Complexity: O(*n*) in the number of bytes.
    public func encoded() throws(DNSMessageError) -> Bytes {
        var problem: DNSMessageError?
        let bytes = Bytes { writer in
            var names = CompressedNames()
            do throws(DNSMessageError) {
                try write(into: &writer, &names)
            } catch {
                problem = error
            }
        }
        if let problem { throw problem }
        guard bytes.count <= UInt16.max else { throw DNSMessageError(.tooLong, at: bytes.count) }
        return bytes
    }

    @_lifetime(writer: copy writer)
    private func write(
        into writer: inout ByteWriter, _ names: inout CompressedNames
    ) throws(DNSMessageError) {
        guard edns != nil || responseCode.rawValue < 16, operation < 16 else {
            throw DNSMessageError(.data, at: 0)
        }
        writer.writeInteger(id)
        writer.writeInteger(flags.rawValue | UInt16(operation) << 11 | responseCode.rawValue & 0xf)
        for count in [
            questions.count, answers.count, authorities.count,
            additionals.count + (edns == nil ? 0 : 1),
        ] {
            guard let count = UInt16(exactly: count) else { throw DNSMessageError(.tooLong, at: 0) }
            writer.writeInteger(count)
        }
        for question in questions {
            names.write(question.name, into: &writer)
            writer.writeInteger(question.type.rawValue)
            writer.writeInteger(question.classNumber)
        }
        for record in answers + authorities + additionals {
            try names.write(record, into: &writer)
            guard writer.byteCount <= UInt16.max else {
                throw DNSMessageError(.tooLong, at: writer.byteCount)
            }
        }
        if let edns { try write(edns, into: &writer) }
    }

    @_lifetime(writer: copy writer)
    private func write(
        _ edns: DNSExtension, into writer: inout ByteWriter
    ) throws(DNSMessageError) {
        writer.writeByte(0)
        writer.writeInteger(DNSRecordType.opt.rawValue)
        writer.writeInteger(edns.payloadByteCount)
        writer.writeByte(UInt8(responseCode.rawValue >> 4))
        writer.writeByte(edns.version)
        writer.writeInteger(edns.flags)
        try writer.writeData { writer throws(DNSMessageError) in
            for option in edns.options {
                writer.writeInteger(option.code)
                try writer.writeCounted(option.value)
            }
        }
    }
}

/// Where the names that were written stand, so that later ones can point to them.
private struct CompressedNames {
    /// The position of each name and of its ends, letters' case included: a response must repeat the
    /// case of the question.
    private var positions: [[UInt8]: UInt16] = [:]

    /// Writes a name, whose end may be a pointer.
    @_lifetime(writer: copy writer)
    mutating func write(_ name: DNSName, into writer: inout ByteWriter) {
        var rest = name.wire[...]
        while let length = rest.first {
            let key = Array(rest)
            if let position = positions[key] {
                writer.writeInteger(0xc000 | position)
                return
            }
            // A pointer has 14 bits.
            if writer.byteCount < 0x4000 { positions[key] = UInt16(writer.byteCount) }
            let end = rest.startIndex + 1 + Int(length)
            writer.write(Array(rest[..<end]))
            rest = rest[end...]
        }
        writer.writeByte(0)
    }

    @_lifetime(writer: copy writer)
    mutating func write(
        _ record: DNSRecord, into writer: inout ByteWriter
    ) throws(DNSMessageError) {
        write(record.name, into: &writer)
        writer.writeInteger(record.type.rawValue)
        writer.writeInteger(record.classNumber)
        writer.writeInteger(record.ttlSeconds)
        let position = writer.byteCount
        writer.writeInteger(0 as UInt16)
        try write(record.data, into: &writer)
        try writer.fillLength(at: position)
    }

    @_lifetime(writer: copy writer)
    private mutating func write(
        _ data: DNSRecordValue, into writer: inout ByteWriter
    ) throws(DNSMessageError) {
        switch data {
        case .a(let address): writer.writeInteger(address.bits)
        case .aaaa(let address):
            writer.writeInteger(address.high)
            writer.writeInteger(address.low)
        case .cname(let name), .ns(let name), .ptr(let name): write(name, into: &writer)
        case .mx(let preference, let exchange):
            writer.writeInteger(preference)
            write(exchange, into: &writer)
        case .srv(let priority, let weight, let port, let target):
            writer.writeInteger(priority)
            writer.writeInteger(weight)
            writer.writeInteger(port)
            // Not compressed: RFC 2782.
            writer.writeWhole(target)
        case .txt(let texts):
            guard !texts.isEmpty else { throw DNSMessageError(.data, at: writer.byteCount) }
            for text in texts { try writer.writeText(text) }
        case .soa(let zone):
            write(zone.primary, into: &writer)
            write(zone.mailbox, into: &writer)
            for number in [
                zone.serial, zone.refreshSeconds, zone.retrySeconds, zone.expireSeconds,
                zone.minimumSeconds,
            ] { writer.writeInteger(number) }
        case .caa(let flags, let tag, let value):
            guard !tag.isEmpty else { throw DNSMessageError(.data, at: writer.byteCount) }
            writer.writeByte(flags)
            try writer.writeText(tag)
            writer.write(value)
        case .svcb(let binding), .https(let binding): try writer.write(binding)
        case .other(_, let bytes): writer.write(bytes)
        }
    }
}

extension ByteWriter {
    /// Writes a length of two bytes, and behind it what `body` writes.
    @_lifetime(self: copy self)
    fileprivate mutating func writeData(
        _ body: (inout ByteWriter) throws(DNSMessageError) -> Void
    ) throws(DNSMessageError) {
        let position = byteCount
        writeInteger(0 as UInt16)
        try body(&self)
        try fillLength(at: position)
    }

    /// Puts the length of what was written since into its place.
    @_lifetime(self: copy self)
    fileprivate mutating func fillLength(at position: Int) throws(DNSMessageError) {
        guard let length = UInt16(exactly: byteCount - position - 2) else {
            throw DNSMessageError(.tooLong, at: position)
        }
        overwriteInteger(at: position, with: length)
    }

    /// Writes bytes behind a length of two bytes.
    @_lifetime(self: copy self)
    fileprivate mutating func writeCounted(_ bytes: Bytes) throws(DNSMessageError) {
        guard let length = UInt16(exactly: bytes.count) else {
            throw DNSMessageError(.tooLong, at: byteCount)
        }
        writeInteger(length)
        write(bytes)
    }

    /// Writes bytes behind a length of one byte.
    @_lifetime(self: copy self)
    fileprivate mutating func writeText(_ bytes: Bytes) throws(DNSMessageError) {
        guard let length = UInt8(exactly: bytes.count) else {
            throw DNSMessageError(.data, at: byteCount)
        }
        writeByte(length)
        write(bytes)
    }

    /// Writes a name without pointers.
    @_lifetime(self: copy self)
    fileprivate mutating func writeWhole(_ name: DNSName) {
        write(name.wire)
        writeByte(0)
    }

    @_lifetime(self: copy self)
    fileprivate mutating func write(_ binding: DNSServiceBinding) throws(DNSMessageError) {
        writeInteger(binding.priority)
        // Not compressed: RFC 9460 §2.2.
        writeWhole(binding.target)
        var last = -1
        for parameter in binding.parameters {
            guard Int(parameter.key) > last else { throw DNSMessageError(.data, at: byteCount) }
            last = Int(parameter.key)
            writeInteger(parameter.key)
            try writeCounted(parameter.value)
        }
    }
}
