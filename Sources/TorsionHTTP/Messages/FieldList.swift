// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Fields of an answer, or a copy of those of a request, in order.
///
///     var fields: FieldList = [.contentType: "text/html; charset=utf-8"]
///     fields.append(.setCookie, Bytes("session=\(number)"))
///
/// A name may come several times. A value with CR, LF or NUL in it never reaches the wire: the
/// answer that has one becomes a 500, and the error is reported (RFC 9110 §5.5). A value, usable on
/// any thread; keep one that many answers share.
public struct FieldList: Sendable {
    /// One field.
    @frozen
    public struct Field: Hashable, Sendable {
        /// Its name.
        public var name: FieldName
        /// Its value, without white space at either end.
        public var value: Bytes

        /// Makes a field.
        ///
        /// - Parameters:
        ///   - name: Its name.
        ///   - value: Its value.
        @inlinable
        public init(_ name: FieldName, _ value: Bytes) {
            self.name = name
            self.value = value
        }
    }

    // Pairs, as a literal brings them, so that none is copied.
    @usableFromInline var pairs: [(FieldName, Bytes)]

    /// Makes an empty value.
    @inlinable
    public init() { pairs = [] }

    /// Adds a field behind the others.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - value: Its value.
    public mutating func append(_ name: FieldName, _ value: Bytes) {
        pairs.append((name, value))
    }

    /// Adds a field behind the others.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - value: The UTF-8 of its value.
    public mutating func append(_ name: FieldName, _ value: String) {
        append(name, Bytes(value))
    }

    /// The value of the first field of this name, or `nil`; setting one removes the others.
    ///
    /// - Parameter name: Case does not count.
    public subscript(name: FieldName) -> Bytes? {
        get { pairs.first { $0.0 == name }?.1 }
        set {
            guard let index = pairs.firstIndex(where: { $0.0 == name }) else {
                if let newValue { append(name, newValue) }
                return
            }
            var next = index
            if let newValue {
                pairs[index] = (name, newValue)
                next += 1
            } else {
                pairs.remove(at: index)
            }
            // Seldom any: one field of a name is usual.
            guard pairs[next...].contains(where: { $0.0 == name }) else { return }
            let others = pairs[next...].filter { $0.0 != name }
            pairs.replaceSubrange(next..., with: others)
        }
    }

    /// Removes the fields whose names meet a condition.
    mutating func removeAll(where shouldRemove: (FieldName) -> Bool) {
        pairs.removeAll { shouldRemove($0.0) }
    }

    /// The values of all fields of this name, in order.
    ///
    /// - Parameter name: The name.
    /// - Returns: Empty if the field is absent.
    public func all(_ name: FieldName) -> [Bytes] {
        pairs.filter { $0.0 == name }.map(\.1)
    }
}

extension FieldList: ExpressibleByDictionaryLiteral {
    /// Makes a list of a literal, in its order.
    ///
    /// - Parameter elements: Any number of fields; names may repeat.
    @inlinable
    public init(dictionaryLiteral elements: (FieldName, Bytes)...) {
        pairs = elements
    }
}

extension FieldList: RandomAccessCollection {
    /// The place of the first field.
    @inlinable
    public var startIndex: Int { 0 }

    /// The place behind the last field.
    @inlinable
    public var endIndex: Int { pairs.count }

    /// The field in a place; any other traps.
    ///
    /// - Parameter position: From 0 to the count less one.
    @inlinable
    public subscript(position: Int) -> Field { Field(pairs[position].0, pairs[position].1) }
}

extension FieldList: Hashable {
    /// Whether two have the same fields in the same order.
    ///
    /// - Parameters:
    ///   - left: A list.
    ///   - right: Another list.
    /// - Returns: Whether names and values are the same.
    public static func == (left: FieldList, right: FieldList) -> Bool { left.elementsEqual(right) }

    /// Feeds the fields to a hasher.
    ///
    /// - Parameter hasher: Fed with names and values, in order.
    public func hash(into hasher: inout Hasher) {
        for field in self { hasher.combine(field) }
    }
}

extension FieldList: CustomStringConvertible {
    /// A line for each field.
    public var description: String {
        map { "\($0.name): \($0.value)" }.joined(separator: "\n")
    }
}

/// An answer as a value: what ``HTTPExchange/respond(when:)`` waits for.
///
///     HTTPResponse(.ok, [.contentType: "application/json"], body: Bytes(text))
public struct HTTPResponse: Sendable, Hashable {
    /// How the request was answered.
    public var status: HTTPStatus
    /// Its fields, without those that the server adds: `Content-Length`, `Date`, `Connection`.
    public var fields: FieldList
    /// Its body.
    public var body: Bytes

    /// Makes an answer.
    ///
    /// - Parameters:
    ///   - status: How the request was answered.
    ///   - fields: Its fields.
    ///   - body: Its body.
    public init(_ status: HTTPStatus, _ fields: FieldList = [:], body: Bytes = Bytes()) {
        self.status = status
        self.fields = fields
        self.body = body
    }
}
