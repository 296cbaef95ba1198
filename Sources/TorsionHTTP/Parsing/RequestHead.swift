// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The head of a request, where it has arrived: borrowed, neither copied nor kept.
///
///     func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
///         guard head.path == "/hello" else { return exchange.respond(.notFound) }
///         let agent = head.text(.userAgent) ?? "somebody"
///         exchange.respond(.ok, body: Bytes("Hello, \(agent)!"))
///     }
///
/// It is valid until the call returns that brought it, and the compiler sees to that. Copy what you
/// need longer, by ``copied()`` or a part at a time.
public struct RequestHead: ~Escapable {
    let bytes: RawSpan
    let slots: Span<FieldSlot>
    package let facts: HeadFacts

    @inline(__always)
    @_lifetime(copy bytes, copy slots)
    init(bytes: RawSpan, slots: Span<FieldSlot>, facts: HeadFacts) {
        self.bytes = bytes
        self.slots = slots
        self.facts = facts
    }

    /// The method.
    ///
    /// - Complexity: O(1); an unregistered one is copied.
    public var method: HTTPMethod { HTTPMethod(number: facts.method, token: methodBytes) }

    /// The bytes of the method.
    public var methodBytes: RawSpan {
        @_lifetime(copy self)
        get {
            let start = Int(facts.start)
            return bytes.extracting(start..<start + Int(facts.methodCount))
        }
    }

    /// The request's target, as it was sent: a path with a query as a rule, see RFC 9112 §3.2.
    ///
    /// At least one byte, all of them visible ASCII.
    public var target: RawSpan {
        @_lifetime(copy self)
        get {
            let start = Int(facts.targetStart)
            return bytes.extracting(start..<start + Int(facts.targetCount))
        }
    }

    /// The target without its query, and without scheme and host; percent signs are not resolved.
    ///
    /// Of a target without a path it is empty.
    public var path: RawSpan {
        @_lifetime(copy self)
        get {
            let target = target
            let parts = TargetParts(target, of: facts.method)
            return target.extracting(parts.path)
        }
    }

    /// The part behind the target's question mark, if there is one.
    public var query: RawSpan? {
        @_lifetime(copy self)
        get {
            let target = target
            let parts = TargetParts(target, of: facts.method)
            guard parts.end < target.byteCount else { return nil }
            return target.extracting((parts.end + 1)..<target.byteCount)
        }
    }

    /// The host that the request is for, with a port if it names one.
    ///
    /// That of the target if it has one, else that of `Host` (RFC 9112 §3.3); `nil` for an HTTP/1.0
    /// request without one.
    public var authority: RawSpan? {
        @_lifetime(copy self)
        get {
            let target = target
            if facts.method == HTTPMethod.connect.number { return target }
            if target[0] != UInt8(ascii: "/"), target[0] != UInt8(ascii: "*") {
                let range = TargetForm.authority(ofAbsolute: target) ?? 0..<0
                return target.extracting(range)
            }
            guard facts.hostSlot != 0xff else { return nil }
            return value(Int(facts.hostSlot))
        }
    }

    /// The number behind the point: 1 for HTTP/1.1, 0 for HTTP/1.0.
    public var minorVersion: Int { Int(facts.minorVersion) }

    /// How many bytes of body were announced; `nil` for a body in chunks, of unknown length.
    public var contentLength: Int? {
        facts.flags.contains(.isChunked) ? nil : Int(facts.contentLength)
    }

    /// Whether a body follows, of one byte at least or in chunks.
    public var hasBody: Bool { facts.flags.contains(.isChunked) || facts.contentLength > 0 }

    /// How many field lines there are.
    public var fieldCount: Int { slots.count }

    /// The name of a field.
    ///
    /// - Parameter index: From 0 to ``fieldCount`` - 1; any other traps.
    /// - Returns: The bytes as they were sent.
    @_lifetime(copy self)
    public func fieldName(_ index: Int) -> RawSpan {
        let slot = slots[index]
        let start = Int(slot.nameStart)
        return bytes.extracting(start..<start + Int(slot.nameCount))
    }

    /// The value of a field.
    ///
    /// - Parameter index: From 0 to ``fieldCount`` - 1; any other traps.
    /// - Returns: Its bytes without white space at either end; UTF-8 is usual, and not assured.
    @_lifetime(copy self)
    public func fieldValue(_ index: Int) -> RawSpan { value(index) }

    @inline(__always)
    @_lifetime(copy self)
    private func value(_ index: Int) -> RawSpan {
        let slot = slots[index]
        let start = Int(slot.valueStart)
        return bytes.extracting(start..<start + Int(slot.valueCount))
    }

    /// The value of the first field of this name, or `nil`.
    ///
    /// - Parameter name: Any name.
    /// - Complexity: O(*n*) in the number of fields; a usual name costs a byte's comparison each.
    public subscript(name: FieldName) -> RawSpan? {
        @_lifetime(copy self)
        get {
            guard let index = index(of: name) else { return nil }
            return value(index)
        }
    }

    /// Where the next field of this name is.
    ///
    ///     var next = head.index(of: .cookie)
    ///     while let index = next {
    ///         print(String(decoding: head.fieldValue(index)))
    ///         next = head.index(of: .cookie, from: index + 1)
    ///     }
    ///
    /// - Parameters:
    ///   - name: Any name.
    ///   - start: Where to begin, from 0 to ``fieldCount``; any other traps.
    /// - Returns: A place to use with ``fieldValue(_:)``; `nil` if the field is absent.
    public func index(of name: FieldName, from start: Int = 0) -> Int? {
        for index in start..<slots.count where slots[index].number == name.number {
            if name.number != 0 || fieldName(index).equalsIgnoringCase(name.other.span) {
                return index
            }
        }
        return nil
    }

    /// The value of the first field of this name as text, or `nil`.
    ///
    /// - Parameter name: Any name.
    /// - Returns: A copy, with U+FFFD in place of what is not UTF-8.
    public func text(_ name: FieldName) -> String? {
        guard let index = index(of: name) else { return nil }
        return String(decoding: value(index))
    }

    /// A copy of the authority, to keep.
    var copiedAuthority: Bytes? {
        guard let authority else { return nil }
        return Bytes(authority)
    }

    /// A copy of the first field's value of this name, to keep.
    func copiedValue(_ name: FieldName) -> Bytes? {
        guard let index = index(of: name) else { return nil }
        return Bytes(value(index))
    }

    /// A copy of the fields, which are slices of one copy of the head.
    var fieldList: FieldList {
        let whole = Bytes(bytes.extracting(0..<facts.byteCount))
        var fields = FieldList()
        fields.pairs.reserveCapacity(fieldCount + 1)
        for index in 0..<fieldCount {
            let slot = slots[index]
            let nameStart = Int(slot.nameStart), valueStart = Int(slot.valueStart)
            let name =
                slot.number == 0
                ? FieldName(other: whole[nameStart..<nameStart + Int(slot.nameCount)])
                : FieldName(number: slot.number)
            fields.pairs.append((name, whole[valueStart..<valueStart + Int(slot.valueCount)]))
        }
        return fields
    }

    /// The same with memory of its own, to keep.
    ///
    /// - Returns: A copy of everything.
    public func copied() -> CopiedRequestHead {
        CopiedRequestHead(
            method: method, target: Bytes(target), authority: copiedAuthority,
            minorVersion: minorVersion, fields: fieldList, contentLength: contentLength)
    }
}

/// Where the path of a target is.
private struct TargetParts {
    let path: Range<Int>
    /// The question mark, or the target's end.
    let end: Int

    init(_ target: RawSpan, of method: UInt8) {
        var start = 0
        var authority: Range<Int>?
        if target[0] != UInt8(ascii: "/") {
            authority = TargetForm.authority(ofAbsolute: target)
            start = authority?.upperBound ?? 0
        }
        end = target.firstIndex(of: UInt8(ascii: "?"), from: start) ?? target.byteCount
        // A URL without a path has the path "/" (RFC 9110 §4.2.3), for which the last slash before the
        // authority stands here. To OPTIONS it means the server as a whole (RFC 9112 §3.2.4).
        if let authority, start == end, method != HTTPMethod.options.number {
            path = (authority.lowerBound - 1)..<authority.lowerBound
        } else {
            path = start..<end
        }
    }
}

/// The head of a request as a value: see ``RequestHead/copied()``.
public struct CopiedRequestHead: Sendable, Hashable {
    /// The method.
    public var method: HTTPMethod
    /// The request's target, as it was sent.
    public var target: Bytes
    /// The host that it is for, with a port if it names one.
    public var authority: Bytes?
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    public var minorVersion: Int
    /// Its fields, in order.
    public var fields: FieldList
    /// How many bytes of body were announced; `nil` for a body in chunks.
    public var contentLength: Int?

    /// The target without its query, and without scheme and host.
    public var path: Bytes {
        target[TargetParts(target.span, of: method.number).path]
    }

    /// The part behind the target's question mark, if there is one.
    public var query: Bytes? {
        let parts = TargetParts(target.span, of: method.number)
        return parts.end < target.count ? target[(parts.end + 1)...] : nil
    }
}
