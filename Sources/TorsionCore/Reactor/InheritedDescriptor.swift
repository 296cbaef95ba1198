// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A descriptor that the parent opened for the process: systemd's socket activation.
///
/// - SeeAlso: `sd_listen_fds(3)`, `systemd.socket(5)`.
public struct InheritedDescriptor: Hashable, Sendable {
    /// Its number, from 3 on.
    public let number: Int32
    /// `FileDescriptorName=`, which need not be unique; "unknown" without one.
    public let name: String

    /// One of them.
    ///
    /// - Parameters:
    ///   - number: From 3 on.
    ///   - name: `FileDescriptorName=`; "unknown" without one.
    public init(number: Int32, name: String) {
        self.number = number
        self.name = name
    }

    /// More than any unit has; a process has as many descriptors only if it was set up to.
    private static let limit: UInt32 = 4_096

    /// Reads the three variables of the environment.
    ///
    /// - Parameters:
    ///   - processID: This process's.
    ///   - listenPID: `LISTEN_PID`.
    ///   - listenFDs: `LISTEN_FDS`, how many there are.
    ///   - listenFDNames: `LISTEN_FDNAMES`, with a colon between two.
    /// - Returns: The descriptors that they list, in order; empty, if they are missing, were meant
    ///   for another process, or are not in systemd's form: a number is only digits.
    public static func list(
        processID: Int32, listenPID: String?, listenFDs: String?, listenFDNames: String?
    ) -> [InheritedDescriptor] {
        guard let listenPID, let listenFDs,
            decimal(Array(listenPID.utf8)[...], max: UInt32(Int32.max)) == UInt32(processID),
            let count = decimal(Array(listenFDs.utf8)[...], max: limit)
        else { return [] }
        let names = (listenFDNames ?? "").split(
            separator: ":", omittingEmptySubsequences: false)
        return (0..<Int(count)).map { index in
            let name = index < names.count && !names[index].isEmpty ? names[index] : "unknown"
            return InheritedDescriptor(number: Int32(3 + index), name: String(name))
        }
    }
}

extension Reactor {
    /// The descriptors that the parent opened for the process, in order; often empty.
    ///
    /// - Throws: ``IOError`` if the services cannot be made.
    public var inheritedDescriptors: [InheritedDescriptor] {
        get throws(IOError) { try startedServices(for: .open).inheritedDescriptors }
    }

    /// The number, if whoever named it may do so.
    ///
    /// A text comes from somebody who knows only what the process was started with. Any other number
    /// is one that the process has opened itself since, a socket or the poller of the reactor.
    ///
    /// Throws ``IOError`` of operation `open`.
    func usable(_ descriptor: GivenDescriptor) throws(IOError) -> Int32 {
        let number = descriptor.number
        guard descriptor.isOfText, backend.isClosedOnExec(number) else { return number }
        // Those that systemd has passed are closed on exec since they were found.
        let inherited = (try? inheritedDescriptors) ?? []
        guard !inherited.contains(where: { $0.number == number }) else { return number }
        throw IOError(
            .open, function: "", code: .badDescriptor,
            subject: "descriptor \(number), which this process has opened itself and not inherited")
    }

    /// The numbers, if whoever named them may do so; -1 for a direction that is missing.
    func usable(_ pair: OpenPair) throws(IOError) -> (input: Int32, output: Int32) {
        for number in [pair.input, pair.output].compactMap(\.self) {
            _ = try usable(GivenDescriptor(number, isOfText: pair.isOfText))
        }
        return (pair.input ?? -1, pair.output ?? -1)
    }

    /// Finds a socket that is open already.
    func descriptor(of socket: OpenSocket) throws(IOError) -> Int32 {
        let found: Int32? =
            switch socket {
            case .descriptor(let descriptor): try usable(descriptor)
            case .systemd(let name): try inheritedDescriptors.first { $0.name == name }?.number
            case .systemdPlace(let index): try inheritedDescriptors.dropFirst(index).first?.number
            }
        if let found { return found }
        throw IOError(.open, function: "", code: .badDescriptor, subject: "\(socket)")
    }
}

/// Which of the sockets that somebody else opened is meant.
enum OpenSocket: Hashable, Sendable, CustomStringConvertible {
    case descriptor(GivenDescriptor)
    /// The first of this name.
    case systemd(String)
    /// Counted from 0.
    case systemdPlace(Int)

    var description: String {
        switch self {
        case .descriptor(let descriptor): "\(descriptor)"
        case .systemd(let name): "the systemd socket named \(name)"
        case .systemdPlace(let index): "the systemd socket \(index)"
        }
    }
}

/// The number of a descriptor that is open already.
struct GivenDescriptor: Hashable, Sendable, CustomStringConvertible {
    let number: Int32
    /// Whether a text has named it, and not a program.
    ///
    /// A text and a value that name the same are equal.
    let isOfText: Bool

    init(_ number: Int32, isOfText: Bool = false) {
        self.number = number
        self.isOfText = isOfText
    }

    static func == (one: Self, other: Self) -> Bool { one.number == other.number }

    func hash(into hasher: inout Hasher) { hasher.combine(number) }

    var description: String { "descriptor \(number)" }
}

/// Two descriptors that make one stream, or one of them.
struct OpenPair: Hashable, Sendable, CustomStringConvertible {
    let input: Int32?
    let output: Int32?
    /// As of a ``GivenDescriptor``.
    let isOfText: Bool

    static func == (one: Self, other: Self) -> Bool {
        one.input == other.input && one.output == other.output
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(input)
        hasher.combine(output)
    }

    init(input: Int32?, output: Int32?, isOfText: Bool = false) {
        self.isOfText = isOfText
        require(
            (input ?? output) != nil && input ?? 0 >= 0 && output ?? 0 >= 0,
            "an endpoint needs an open descriptor, got input \(input.map { "\($0)" } ?? "none") and"
                + " output \(output.map { "\($0)" } ?? "none")")
        self.input = input
        self.output = output
    }

    var description: String {
        switch (input, output) {
        case (let input?, let output?): "descriptors \(input) and \(output)"
        case (let input, let output): "descriptor \(input ?? output ?? -1)"
        }
    }
}
