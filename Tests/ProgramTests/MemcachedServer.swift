// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// What the clients of a small memcached share; it holds no more than its limit.
final class Cache {
    let limitBytes: Int
    private(set) var byteCount = 0
    private var items: [Bytes: (flags: UInt32, value: Bytes)] = [:]

    init(limitBytes: Int = 64 << 20) { self.limitBytes = limitBytes }

    subscript(key: Bytes) -> (flags: UInt32, value: Bytes)? { items[key] }

    func set(_ key: Bytes, _ value: Bytes, flags: UInt32) -> Bool {
        _ = remove(key)
        guard byteCount + key.count + value.count <= limitBytes else { return false }
        byteCount += key.count + value.count
        items[key] = (flags, value)
        return true
    }

    func remove(_ key: Bytes) -> Bool {
        guard let old = items.removeValue(forKey: key) else { return false }
        byteCount -= key.count + old.value.count
        return true
    }
}

/// get, set and delete of memcached's text protocol: a line, for `set` followed by a value.
final class MemcachedServer: LineProtocol {
    let lines = LineDecoder(limitBytes: 2_048)
    private static let valueLimitBytes = 1 << 20
    private let cache: Cache
    /// The key, flags and length of the value that arrives; nil if it is refused.
    private var header: (key: Bytes, flags: UInt32, length: Int)?
    private var value: [UInt8] = []

    init(_ cache: Cache) { self.cache = cache }

    func connectionMade(_ transport: any StreamTransport) {
        // A client that does not read is not read from.
        transport.registerProducer(transport)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        var reader = line.reader
        guard let verb = try reader.readWord() else { return transport.write("ERROR\r\n") }
        switch verb {
        case "get":
            while let word = try reader.readWord() { get(Bytes(word), transport) }
            transport.write("END\r\n")
        case "set": try set(&reader, transport)
        case "delete":
            guard let key = try reader.readWord() else { return transport.write("ERROR\r\n") }
            transport.write(cache.remove(Bytes(key)) ? "DELETED\r\n" : "NOT_FOUND\r\n")
        case "quit": transport.loseConnection()
        default: transport.write("ERROR\r\n")
        }
    }

    private func get(_ key: Bytes, _ transport: any StreamTransport) {
        guard let item = cache[key] else { return }
        transport.write("VALUE \(key) \(item.flags) \(item.value.count)\r\n")
        transport.write(item.value)
        transport.write("\r\n")
    }

    /// `set KEY FLAGS SECONDS LENGTH`, then so many bytes.
    private func set(_ reader: inout ByteReader, _ transport: any StreamTransport) throws {
        guard let word = try reader.readWord() else { return transport.write("ERROR\r\n") }
        let key = Bytes(word)
        guard key.count <= 250, let flags = try readNumber(&reader), try readNumber(&reader) != nil,
            let length = try readNumber(&reader), reader.isAtEnd
        else { return transport.write("CLIENT_ERROR bad data chunk\r\n") }
        header = length <= Self.valueLimitBytes ? (key, flags, Int(length)) : nil
        value = []
        lines.expect(rawBytes: Int(length) + 2)
        if header == nil { transport.write("SERVER_ERROR object too large for cache\r\n") }
    }

    private func readNumber(_ reader: inout ByteReader) throws -> UInt32? {
        guard let word = try reader.readWord() else { return nil }
        return UInt32(decimal: word)
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        guard let header else { return }
        value += bytes
        guard !lines.isRaw else { return }
        self.header = nil
        guard value.suffix(2) == [13, 10] else {
            return transport.write("CLIENT_ERROR bad data chunk\r\n")
        }
        let isStored = cache.set(
            header.key, Bytes(value.dropLast(2)), flags: header.flags)
        transport.write(isStored ? "STORED\r\n" : "SERVER_ERROR out of memory storing object\r\n")
    }
}
