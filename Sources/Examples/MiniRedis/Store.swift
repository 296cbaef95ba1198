// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// What the connections of a small Redis share: values and channels.
///
/// Its memory is bounded: beyond the limit nothing more is stored.
final class Store {
    /// The most that keys and values may take, in bytes, those that keep an entry counted.
    let limitBytes: Int
    @exclusivity(unchecked) private(set) var byteCount = 0

    private let reactor: Reactor
    @exclusivity(unchecked) private var values: [Bytes: Bytes] = [:]
    private var expiries: [Bytes: DelayedCall] = [:]
    private var channels: [Bytes: [any StreamTransport]] = [:]

    init(on reactor: Reactor, limitBytes: Int = 256 << 20) {
        self.reactor = reactor
        self.limitBytes = limitBytes
    }

    func value(of key: RawSpan) -> Bytes? { values[Bytes(key)] }

    /// Stores a value, which then never expires.
    ///
    /// - Returns: False if there is no room for it; then nothing has changed.
    func set(_ key: RawSpan, to value: RawSpan) -> Bool {
        let key = Bytes(key)
        guard store(Bytes(value), for: key) else { return false }
        if !expiries.isEmpty { expiries.removeValue(forKey: key)?.cancel() }
        return true
    }

    /// Adds one to a number; a key that is not there counts as 0.
    func increment(_ key: RawSpan) throws(Refusal) -> Int64 {
        let key = Bytes(key)
        var number: Int64 = 0
        if let value = values[key] {
            guard let present = Int64(decimal: value.span) else { throw .notANumber }
            number = present
        }
        let (sum, overflows) = number.addingReportingOverflow(1)
        guard !overflows else { throw .notANumber }
        guard store(Bytes { $0.writeDecimal(sum) }, for: key) else { throw .outOfMemory }
        return sum
    }

    /// Has a key removed after some seconds; with 0 or less at once.
    func expire(_ key: RawSpan, afterSeconds seconds: Int) -> Bool {
        let key = Bytes(key)
        guard values[key] != nil else { return false }
        expiries.removeValue(forKey: key)?.cancel()
        if seconds > 0 {
            expiries[key] = reactor.callLater(.seconds(seconds)) { [unowned self] in remove(key) }
        } else {
            remove(key)
        }
        return true
    }

    private func remove(_ key: Bytes) {
        expiries[key] = nil
        guard let value = values.removeValue(forKey: key) else { return }
        byteCount -= size(key, value)
    }

    private func size(_ key: Bytes, _ value: Bytes) -> Int { key.count + value.count + 64 }

    private func store(_ value: Bytes, for key: Bytes) -> Bool {
        if byteCount + size(key, value) > limitBytes {
            let old = values[key].map { size(key, $0) } ?? 0
            guard byteCount - old + size(key, value) <= limitBytes else { return false }
        }
        byteCount += size(key, value)
        if let old = values.updateValue(value, forKey: key) { byteCount -= size(key, old) }
        return true
    }

    func subscribe(_ member: any StreamTransport, to channel: Bytes) {
        channels[channel, default: []].append(member)
    }

    func unsubscribe(_ member: any StreamTransport, from channel: Bytes) {
        channels[channel]?.removeAll { $0.id == member.id }
        if channels[channel]?.isEmpty == true { channels[channel] = nil }
    }

    /// Sends a message to all who have subscribed; one who does not read is disconnected at the limit
    /// of its queue.
    func publish(_ message: RawSpan, to channel: RawSpan) -> Int {
        guard let members = channels[Bytes(channel)] else { return 0 }
        let reply = Bytes { writer in
            writer.write("*3\r\n$7\r\nmessage\r\n")
            writer.writeBulk(channel)
            writer.writeBulk(message)
        }
        for member in members { member.write(reply) }
        return members.count
    }
}

/// What a client is told in place of an answer.
enum Refusal: String, Error {
    case notANumber = "ERR value is not an integer or out of range"
    case outOfMemory = "OOM command not allowed when used memory > 'maxmemory'."
    case unknownCommand = "ERR unknown command"
    case wrongArgumentCount = "ERR wrong number of arguments"
    case tooManyChannels = "ERR too many channels"
    case subscribed = "ERR only (P|S)SUBSCRIBE / PING are allowed in this context"
}

extension ByteWriter {
    @_lifetime(self: copy self)
    mutating func writeBulk(_ bytes: RawSpan) {
        writeByte(UInt8(ascii: "$"))
        writeDecimal(bytes.byteCount)
        write("\r\n")
        write(bytes)
        write("\r\n")
    }
}
