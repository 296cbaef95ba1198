// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A program to run as a child process: what, with which arguments, descriptors and surroundings.
///
///     let sort = Command("sort", "-u")
///         .environment(.inherited(adding: ["LC_ALL": "C"]))
///         .standardInput(.stream)
///         .standardOutput(.stream { Lines() })
///     let child = try sort.start(on: reactor, Job())
///
/// A value without effects, usable on any thread and as often as you like. Each method returns a
/// changed copy.
///
/// Unless you say otherwise a child reads from `/dev/null`, writes to what this process's standard
/// output and standard error are, and leads a process group of its own. Ctrl-C at a terminal then
/// reaches this process alone, whose reactor ends its children, and
/// ``ChildProcess/signalGroup(_:)`` reaches whatever the child has started. Other descriptors of
/// this process are closed in the child.
///
/// - SeeAlso: Twisted `IReactorProcess.spawnProcess`; `posix_spawn(3)`.
public struct Command: Sendable {
    /// A path with a slash, or a name that is looked for on this process's `PATH`.
    ///
    /// A relative path is one of the child's working directory.
    public var program: String

    /// The words behind the program's name, each as it is: a shell does not read them.
    public var arguments: [String]

    /// The environment variables of the child.
    public var environment: ChildEnvironment = .inherited

    /// Where the child runs; `nil` is this process's own working directory.
    public var workingDirectory: String?

    /// Which process group the child is in.
    public var group: ChildGroup = .own

    /// How long the child's streams may stay open behind its exit.
    ///
    /// A grandchild that still has them could keep them open without end. A stream that your program
    /// has paused is not given up.
    public var drainTimeout: Duration = .seconds(5)

    /// How long the child may take to end when it was asked to, before it is killed.
    public var endTimeout: Duration = .seconds(5)

    /// How the transports of the child's streams behave: watermarks and timeouts.
    public var streamOptions = StreamOptions()

    /// What was said of each descriptor.
    private(set) var descriptors: [Int32: ChildDescriptor] = [:]

    /// A descriptor's highest number.
    static let lastDescriptor: Int32 = 255

    /// A program and its arguments.
    ///
    /// - Parameters:
    ///   - program: A path with a slash, or a name that is looked for on the `PATH`.
    ///   - arguments: The words behind the program's name.
    public init(_ program: String, _ arguments: String...) {
        self.init(program, arguments: arguments)
    }

    /// A program and a list of arguments.
    ///
    /// - Parameters:
    ///   - program: A path with a slash, or a name that is looked for on the `PATH`.
    ///   - arguments: The words behind the program's name.
    public init(_ program: String, arguments: [String]) {
        self.program = program
        self.arguments = arguments
    }

    // MARK: Changed copies

    /// The same with other environment variables.
    ///
    /// - Parameter environment: The child's.
    /// - Returns: A changed copy.
    public func environment(_ environment: ChildEnvironment) -> Command {
        changed { $0.environment = environment }
    }

    /// The same in another working directory.
    ///
    /// - Parameter path: The child's working directory.
    /// - Returns: A changed copy.
    public func workingDirectory(_ path: String) -> Command {
        changed { $0.workingDirectory = path }
    }

    /// The same in another process group.
    ///
    /// - Parameter group: The child's.
    /// - Returns: A changed copy.
    public func group(_ group: ChildGroup) -> Command { changed { $0.group = group } }

    /// The same with another standard input: descriptor 0.
    ///
    /// - Parameter descriptor: The child's input.
    /// - Returns: A changed copy.
    public func standardInput(_ descriptor: ChildDescriptor) -> Command {
        self.descriptor(0, descriptor)
    }

    /// The same with another standard output: descriptor 1.
    ///
    /// - Parameter descriptor: Where the child writes to.
    /// - Returns: A changed copy.
    public func standardOutput(_ descriptor: ChildDescriptor) -> Command {
        self.descriptor(1, descriptor)
    }

    /// The same with another standard error: descriptor 2.
    ///
    /// - Parameter descriptor: Where the child writes to.
    /// - Returns: A changed copy.
    public func standardError(_ descriptor: ChildDescriptor) -> Command {
        self.descriptor(2, descriptor)
    }

    /// The same with something else behind one of the child's descriptors.
    ///
    /// - Parameters:
    ///   - number: The number in the child, from 0 to 255.
    ///   - descriptor: The file behind it.
    /// - Returns: A changed copy.
    public func descriptor(_ number: Int32, _ descriptor: ChildDescriptor) -> Command {
        require(
            0...Self.lastDescriptor ~= number,
            "Command: descriptors are 0 to \(Self.lastDescriptor), not \(number)")
        return changed { $0.descriptors[number] = descriptor }
    }

    /// The same with a terminal of its own behind descriptors 0, 1 and 2, in a session of its own.
    ///
    /// Its one stream is that of descriptor 0: what you write is typed, what arrives is what the
    /// program shows, with the terminal's own echo and line endings. Write the byte 3 for Ctrl-C, 4
    /// for Ctrl-D. Losing the connection hangs the terminal up: SIGHUP.
    ///
    /// - Parameters:
    ///   - size: In characters.
    ///   - makeProtocol: Makes the stream's protocol, on the reactor; by default the child's
    ///     ``ProcessProtocol`` gets what arrives.
    /// - Returns: A changed copy.
    /// - SeeAlso: `pty(7)`.
    public func terminal(
        _ size: TerminalSize = TerminalSize(), _ makeProtocol: ChildDescriptor.ProtocolMaker? = nil
    ) -> Command {
        changed {
            $0.descriptors[0] = ChildDescriptor(.terminal(size, makeProtocol))
            $0.descriptors[1] = .same(as: 0)
            $0.descriptors[2] = .same(as: 0)
            $0.group = .ownSession
        }
    }

    func changed(_ change: (inout Command) -> Void) -> Command {
        var copy = self
        change(&copy)
        return copy
    }

    /// What a descriptor is if nothing was said.
    static func standard(_ number: Int32) -> ChildDescriptor? {
        switch number {
        case 0: .null
        case 1, 2: .inherited
        default: nil
        }
    }

    /// What is behind a descriptor; nil if it is closed.
    func descriptor(_ number: Int32) -> ChildDescriptor? {
        descriptors[number] ?? Self.standard(number)
    }

    /// How many descriptors there are, gaps included.
    var descriptorCount: Int32 { max(2, descriptors.keys.max() ?? 0) + 1 }
}

extension Command: CustomStringConvertible {
    /// The program and its arguments, with spaces between them: for logs.
    public var description: String { ([program] + arguments).joined(separator: " ") }
}

extension Command {
    /// What addresses and errors call a child's stream: `standard output of sort (2317)`.
    ///
    /// `descriptor`: The number in the child; nil for all of an endpoint's child.
    func name(of descriptor: Int32?, in processID: Int32) -> String {
        let child = "\(program) (\(processID))"
        guard let descriptor else { return child }
        if case .terminal? = self.descriptor(descriptor)?.kind { return "terminal of \(child)" }
        return switch descriptor {
        case 0: "standard input of \(child)"
        case 1: "standard output of \(child)"
        case 2: "standard error of \(child)"
        default: "descriptor \(descriptor) of \(child)"
        }
    }
}

/// The environment variables of a child.
public struct ChildEnvironment: Hashable, Sendable {
    let isInherited: Bool
    let variables: [String: String]
    let removed: [String]

    /// Those of this process, as they are at the start.
    public static let inherited = inherited(adding: [:])

    /// Those of this process, with changes.
    ///
    /// - Parameters:
    ///   - variables: In addition, or in place of those with the same name.
    ///   - removed: Names that the child does not get.
    /// - Returns: The environment.
    public static func inherited(
        adding variables: [String: String], removing removed: [String] = []
    ) -> ChildEnvironment {
        ChildEnvironment(isInherited: true, variables: variables, removed: removed)
    }

    /// Only these.
    ///
    /// - Parameter variables: All that the child gets.
    /// - Returns: The environment.
    public static func only(_ variables: [String: String]) -> ChildEnvironment {
        ChildEnvironment(isInherited: false, variables: variables, removed: [])
    }

    /// Whether each name can be one: the kernel takes any word, and the child would find another
    /// variable, or none.
    var hasValidNames: Bool {
        variables.keys.allSatisfy { !$0.isEmpty && !$0.utf8.contains(UInt8(ascii: "=")) }
    }

    /// As the shim takes them.
    var words: [String] {
        variables.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            + removed.filter { variables[$0] == nil }
    }
}

/// Which process group a child is in: `setpgid(2)`, `setsid(2)`.
public enum ChildGroup: Hashable, Sendable {
    /// That of this process. Processes that the child starts cannot be signalled together with it.
    case inherited
    /// One of its own, which it leads.
    case own
    /// One in a session of its own, which it leads: it is without a terminal, or has one of its
    /// own.
    case ownSession
}

/// How large a terminal is.
public struct TerminalSize: Hashable, Sendable {
    /// Lines, from 1 to 65,535.
    public var rows: Int
    /// Characters in a line, from 1 to 65,535.
    public var columns: Int

    /// 24 lines of 80 characters, unless you say otherwise.
    ///
    /// - Parameters:
    ///   - rows: Lines.
    ///   - columns: Characters in a line.
    public init(rows: Int = 24, columns: Int = 80) {
        require(
            1...65_535 ~= rows && 1...65_535 ~= columns,
            "TerminalSize: need 1 to 65535, got \(rows) rows and \(columns) columns")
        self.rows = rows
        self.columns = columns
    }
}
