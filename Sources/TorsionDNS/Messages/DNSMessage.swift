// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A message of DNS: a query or a response, RFC 1035 §4, with EDNS of RFC 6891.
///
/// A plain value, usable on any thread.
///
///     let query = DNSMessage(asking: DNSQuestion(name: DNSName("example.org")!, type: .aaaa), id: id)
///     let bytes = try query.encoded()
///     let response = try DNSMessage(decoding: received)
public struct DNSMessage: Hashable, Sendable {
    /// Which response belongs to which query.
    public var id: UInt16
    /// The bits of the header.
    public var flags: Flags
    /// The operation, 0 to 15: 0 is a query, 4 a notification, 5 an update.
    public var operation: UInt8
    /// How the server answered.
    public var responseCode: DNSResponseCode
    /// The questions: one, everywhere but in curiosities.
    public var questions: [DNSQuestion]
    /// The records that answer the question.
    public var answers: [DNSRecord]
    /// The zone's authority: whose answer it is, or the start of a zone that lacks the record.
    public var authorities: [DNSRecord]
    /// Further records, for example the addresses of the names above.
    public var additionals: [DNSRecord]
    /// The options of RFC 6891; nil if the sender does not know EDNS.
    public var edns: DNSExtension?

    /// The bits of a header: RFC 1035 §4.1.1, RFC 4035 §3.
    public struct Flags: OptionSet, Hashable, Sendable {
        /// The bits as they stand in the header's second word.
        public let rawValue: UInt16

        /// Flags of bits; those of other fields are dropped.
        ///
        /// - Parameter rawValue: The header's second word.
        public init(rawValue: UInt16) { self.rawValue = rawValue & 0x87f0 }

        /// A response, not a query: QR.
        public static let response = Flags(rawValue: 0x8000)
        /// The server has the zone itself: AA.
        public static let authoritative = Flags(rawValue: 0x0400)
        /// The message was cut: TC.
        public static let truncated = Flags(rawValue: 0x0200)
        /// The server shall ask others: RD.
        public static let recursionDesired = Flags(rawValue: 0x0100)
        /// The server asks others: RA.
        public static let recursionAvailable = Flags(rawValue: 0x0080)
        /// A bit without a meaning: Z.
        public static let reserved = Flags(rawValue: 0x0040)
        /// The server has verified the records: AD.
        public static let authenticData = Flags(rawValue: 0x0020)
        /// The server need not verify the records: CD.
        public static let checkingDisabled = Flags(rawValue: 0x0010)
    }

    /// An empty message.
    ///
    /// - Parameters:
    ///   - id: Which response belongs to which query.
    ///   - flags: The bits of the header.
    public init(id: UInt16 = 0, flags: Flags = []) {
        self.id = id
        self.flags = flags
        operation = 0
        responseCode = .noError
        questions = []
        answers = []
        authorities = []
        additionals = []
    }

    /// A query to a server that asks others.
    ///
    /// - Parameters:
    ///   - question: The name and the type to ask for.
    ///   - id: A number that others cannot predict.
    ///   - edns: The options of RFC 6891; nil for a server that does not know them.
    public init(asking question: DNSQuestion, id: UInt16, edns: DNSExtension? = nil) {
        self.init(id: id, flags: .recursionDesired)
        questions = [question]
        self.edns = edns
    }

    /// A response to a query, without records: its id, question and options.
    ///
    /// - Parameters:
    ///   - query: The message that it answers.
    ///   - code: How.
    public init(answering query: DNSMessage, _ code: DNSResponseCode = .noError) {
        self.init(
            id: query.id, flags: query.flags.intersection(.recursionDesired).union(.response))
        operation = query.operation
        questions = query.questions
        responseCode = code
        edns = query.edns.map { _ in DNSExtension() }
    }
}

/// The EDNS part of a message: RFC 6891 §6.
public struct DNSExtension: Hashable, Sendable {
    /// The largest datagram that the sender can take, in bytes.
    public var payloadByteCount: UInt16
    /// The version: 0.
    public var version: UInt8
    /// The bits, the highest of which is DO, "send signatures": RFC 3225.
    public var flags: UInt16
    /// Further options.
    public var options: [Option]

    /// One option.
    public struct Option: Hashable, Sendable {
        /// Its number in the registry of IANA.
        public var code: UInt16
        /// Any bytes, by the code.
        public var value: Bytes

        /// An option.
        ///
        /// - Parameters:
        ///   - code: Its number.
        ///   - value: At most 65,531 bytes.
        public init(code: UInt16, value: Bytes) {
            self.code = code
            self.value = value
        }
    }

    /// Options of a message.
    ///
    /// - Parameters:
    ///   - payloadByteCount: The largest datagram that can be received. 1,232 bytes cross every
    ///     usual network unfragmented (DNS flag day 2020).
    ///   - options: Further options.
    public init(payloadByteCount: UInt16 = 1_232, options: [Option] = []) {
        self.payloadByteCount = payloadByteCount
        self.options = options
        version = 0
        flags = 0
    }
}

/// Why bytes are not a message of DNS, or a message cannot be sent.
public struct DNSMessageError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of the error.
    public let problem: Problem
    /// Where: how many bytes stand before; of a message that cannot be sent, how many were written.
    public let position: Int

    /// A kind of error in a message.
    @nonexhaustive
    public enum Problem: String, Hashable, Sendable {
        /// The bytes end within the message.
        case cut = "the bytes end within the message"
        /// There are bytes behind the message.
        case rest = "there are bytes behind the message"
        /// The first two bits of a label are 01 or 10, which are reserved: RFC 6891 §5.
        case label = "a label is of an unknown kind"
        /// A name has more than 255 bytes.
        case nameTooLong = "a name is longer than 255 bytes"
        /// A pointer does not point backwards, or there are too many in a row.
        case pointer = "a pointer does not point backwards, or to pointers without end"
        /// The names are so much longer than the message as only an attack is.
        case expansion = "the names are out of proportion to the message"
        /// The data of a record are not of the length that it says, or not of its type's form.
        case data = "the data of a record do not fit its type"
        /// There are two OPT records, or one that is not the root's.
        case `extension` = "there is more than one OPT record, or not at the root"
        /// A message has more than 65,535 bytes, or a part more than its length can say.
        case tooLong = "the message is longer than 65,535 bytes, or a part than its length says"
    }

    init(_ problem: Problem, at position: Int) {
        self.problem = problem
        self.position = position
    }

    /// A sentence.
    public var description: String { "no message of DNS: \(problem.rawValue), at \(position)" }
}
