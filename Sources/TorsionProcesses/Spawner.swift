// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionProcesses
@_spi(Backend) internal import TorsionCore
internal import TorsionSockets

/// Starts one process: makes what its descriptors are, spawns, and makes streams of our ends.
///
/// Whatever fails closes all of it, so that a failed start leaves nothing behind.
struct Spawner {
    private let command: Command
    private let reactor: Reactor
    private let count: Int32
    /// What the child gets, by its numbers; -1 is a closed one.
    ///
    /// Each is above ``count``, so that none is overwritten before it was moved to its place.
    private var sources: [Int32]
    /// Our ends, by the child's numbers.
    private var ends: [(number: Int32, descriptor: Int32, kind: EndKind)] = []
    private var terminalPath: String?
    private var terminal: Int32 = -1

    private enum EndKind { case readable, writable, socket, terminal }

    private init(_ command: Command, on reactor: Reactor) {
        self.command = command
        self.reactor = reactor
        count = command.descriptorCount
        sources = Array(repeating: -1, count: Int(count))
    }

    /// Starts a child, with a stream for each of its descriptors that has one.
    ///
    /// `isJoined`: Descriptors 0 and 1 are pipes, and make one stream.
    static func spawn(
        _ command: Command, isJoined: Bool, on reactor: Reactor
    ) throws(IOError) -> (any ChildCarrier, ChildStreams) {
        var spawner = Spawner(command, on: reactor)
        do throws(IOError) {
            try spawner.checkWords()
            try spawner.openDescriptors()
            let child = try spawner.start()
            spawner.closeSources()
            let streams = try spawner.openStreams(isJoined: isJoined)
            for (number, stream) in streams.streams {
                (stream as? any NamedStream)?.name = command.name(
                    of: isJoined && number == 0 ? nil : number, in: child.processID)
            }
            return (child, streams)
        } catch {
            spawner.closeSources()
            spawner.closeEnds()
            throw error
        }
    }

    private func failure(
        _ function: String, _ code: ErrorCode, _ addition: String = ""
    ) -> IOError {
        IOError(.spawn, function: function, code: code, subject: command.program + addition)
    }

    /// What C cannot say.
    private func checkWords() throws(IOError) {
        guard torsion_process_children_are_kept() != 0 else {
            throw failure(
                "sigaction", .notPermitted,
                ", as this process ignores SIGCHLD and would never know how it ended")
        }
        let words = [command.program, command.workingDirectory ?? ""] + command.arguments
        guard !(words + command.environment.words).contains(where: { $0.utf8.contains(0) }) else {
            throw failure("posix_spawn", .invalidArgument, ", with a zero byte in a word")
        }
        guard command.environment.hasValidNames else {
            throw failure(
                "posix_spawn", .invalidArgument,
                ", with a variable whose name is empty or has an equals sign")
        }
        guard !command.program.isEmpty else { throw failure("posix_spawn", .noSuchFile, "''") }
    }

    // MARK: Descriptors

    private mutating func openDescriptors() throws(IOError) {
        for number in 0..<count {
            guard let descriptor = command.descriptor(number) else { continue }
            try open(descriptor.kind, as: number)
        }
        for number in 0..<count {
            guard case .same(let other)? = command.descriptor(number)?.kind else { continue }
            let isOpen = 0..<count ~= other && sources[Int(other)] >= 0
            require(isOpen, "Command: descriptor \(number) cannot be the same as \(other)")
            try setSource(
                number, torsion_process_duplicate(sources[Int(other)], count + 1), "fcntl")
        }
    }

    private mutating func open(_ kind: ChildDescriptor.Kind, as number: Int32) throws(IOError) {
        switch kind {
        case .closed, .same:
            break
        case .null:
            try setSource(
                number, torsion_process_open("/dev/null", TORSION_PROCESS_FILE_BOTH), "open",
                ", as /dev/null cannot be opened")
        case .file(let path, let appending):
            let mode =
                appending
                ? TORSION_PROCESS_FILE_APPEND
                : number == 0 ? TORSION_PROCESS_FILE_READ : TORSION_PROCESS_FILE_REPLACE
            try setSource(
                number, torsion_process_open(path, mode), "open",
                " with descriptor \(number) at \(path)")
        case .inherited(let own):
            try setSource(
                number, torsion_process_duplicate(own ?? number, count + 1), "fcntl",
                " with descriptor \(own ?? number) of this process")
        case .pipe(let direction, _):
            try openPipe(number, isRead: direction == .childReads || number == 0)
        case .socket:
            var pair: [Int32] = [-1, -1]
            try check(torsion_process_socket_pair(&pair), "socketpair")
            ends.append((number, pair[0], .socket))
            try setSource(number, pair[1], "fcntl")
        case .terminal(let size, _):
            try openTerminal(number, size)
        }
    }

    private mutating func openPipe(_ number: Int32, isRead: Bool) throws(IOError) {
        var pair: [Int32] = [-1, -1]
        try check(torsion_process_pipe(&pair, isRead ? 1 : 0), "pipe2")
        ends.append((number, pair[isRead ? 1 : 0], isRead ? .writable : .readable))
        try setSource(number, pair[isRead ? 0 : 1], "fcntl")
    }

    private mutating func openTerminal(_ number: Int32, _ size: TerminalSize) throws(IOError) {
        var path = [CChar](repeating: 0, count: 64)
        var ours: Int32 = -1, theirs: Int32 = -1
        try check(
            torsion_process_terminal(
                Int32(size.rows), Int32(size.columns), &ours, &theirs, &path, path.count),
            "posix_openpt")
        ends.append((number, ours, .terminal))
        terminalPath = path.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        try setSource(number, theirs, "fcntl")
        terminal = torsion_process_duplicate(ours, count + 1)
        try check(terminal < 0 ? -terminal : 0, "fcntl")
    }

    /// Keeps what the child gets under a number that is out of its way.
    private mutating func setSource(
        _ number: Int32, _ descriptor: Int32, _ function: String, _ addition: String = ""
    ) throws(IOError) {
        guard descriptor >= 0 else {
            throw failure(function, ErrorCode(errno: -descriptor), addition)
        }
        guard descriptor <= count else {
            sources[Int(number)] = descriptor
            return
        }
        let other = torsion_process_duplicate(descriptor, count + 1)
        torsion_process_close(descriptor)
        guard other >= 0 else { throw failure("fcntl", ErrorCode(errno: -other)) }
        sources[Int(number)] = other
    }

    private func check(_ code: Int32, _ function: String) throws(IOError) {
        if code != 0 { throw failure(function, ErrorCode(errno: code)) }
    }

    private mutating func closeSources() {
        for source in sources where source >= 0 { torsion_process_close(source) }
        sources = []
    }

    private mutating func closeEnds() {
        for end in ends { torsion_process_close(end.descriptor) }
        ends = []
        if terminal >= 0 { torsion_process_close(terminal) }
        terminal = -1
    }

    // MARK: The process

    private mutating func start() throws(IOError) -> SystemChild {
        var process: Int32 = 0, pidfd: Int32 = -1
        var step: UnsafePointer<CChar>?
        let code = withWords([command.program] + command.arguments) { arguments in
            withWords(command.environment.words) { environment in
                withOptionalCString(command.workingDirectory) { folder in
                    withOptionalCString(terminalPath) { terminal in
                        sources.withUnsafeBufferPointer { sources in
                            var plan = torsion_process_plan(
                                program: arguments[0]!, arguments: arguments,
                                environment: environment,
                                inherits_environment: command.environment.isInherited ? 1 : 0,
                                folder: folder, sources: sources.baseAddress!, count: count,
                                group: command.group.forShim, terminal: terminal)
                            return torsion_process_spawn(&plan, &process, &pidfd, &step)
                        }
                    }
                }
            }
        }
        guard code == 0 else {
            throw reason(of: code, step.map { String(cString: $0) } ?? "posix_spawn")
        }
        defer { terminal = -1 }
        return SystemChild(process, pidfd: pidfd, terminal: terminal, of: command, on: reactor)
    }

    /// `posix_spawn` returns one number for all that it does in the child.
    private func reason(of code: Int32, _ function: String) -> IOError {
        guard function == "posix_spawn" else { return failure(function, ErrorCode(errno: code)) }
        if let folder = command.workingDirectory {
            let code = torsion_process_check_folder(folder)
            if code != 0 {
                return failure(
                    "chdir", ErrorCode(errno: code), " in the working directory \(folder)")
            }
        }
        let error = ErrorCode(errno: code)
        let exists = withOptionalCString(command.workingDirectory) {
            torsion_process_has_program(command.program, $0) != 0
        }
        let lacksInterpreter = error == .noSuchFile && exists
        return failure(function, error, lacksInterpreter ? ", whose interpreter is missing" : "")
    }

    // MARK: Streams

    private mutating func openStreams(isJoined: Bool) throws(IOError) -> ChildStreams {
        var result = ChildStreams()
        do throws(IOError) {
            if isJoined {
                let input = ends.first { $0.number == 1 }?.descriptor ?? -1
                let output = ends.first { $0.number == 0 }?.descriptor ?? -1
                let stream = try reactor.backend.open(input: input, output: output)
                ends.removeAll { $0.number == 0 || $0.number == 1 }
                result.streams.append((0, stream))
            }
            while let end = ends.first {
                let stream = try open(end.descriptor, end.kind)
                ends.removeFirst()
                result.streams.append((end.number, stream))
            }
            return result
        } catch {
            result.close()
            throw error
        }
    }

    private func open(_ descriptor: Int32, _ kind: EndKind) throws(IOError) -> any BackendStream {
        switch kind {
        case .readable:
            return try reactor.backend.open(input: descriptor, output: -1)
        case .writable:
            return try reactor.backend.open(input: -1, output: descriptor)
        case .terminal:
            return try reactor.backend.open(input: descriptor, output: descriptor)
        case .socket:
            let adopted = try reactor.backend.adopt(
                descriptor, options: command.streamOptions, receiver: NoClients())
            guard case .stream(let stream) = adopted else {
                throw failure("socketpair", .notSupported)
            }
            // The stream works with a duplicate.
            torsion_process_close(descriptor)
            return stream
        }
    }
}

/// A connected socket has none.
private final class NoClients: ListenerReceiver {
    func listenerDidAccept(_ stream: any BackendStream) { stream.close() }
    func listenerDidFail(_ code: ErrorCode) {}
}

extension ChildGroup {
    fileprivate var forShim: torsion_process_group {
        switch self {
        case .inherited: TORSION_PROCESS_GROUP_INHERITED
        case .own: TORSION_PROCESS_GROUP_OWN
        case .ownSession: TORSION_PROCESS_SESSION_OWN
        }
    }
}

/// Words as C has them, ended by a null pointer.
private func withWords<Result>(
    _ words: [String],
    _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result
) -> Result {
    let bytes = words.map { Array($0.utf8CString) }
    let storage = bytes.flatMap { $0 }
    return storage.withUnsafeBufferPointer { storage in
        var start = 0
        var pointers: [UnsafePointer<CChar>?] = []
        for word in bytes {
            pointers.append(storage.baseAddress! + start)
            start += word.count
        }
        pointers.append(nil)
        return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
    }
}

private func withOptionalCString<Result>(
    _ text: String?, _ body: (UnsafePointer<CChar>?) -> Result
) -> Result {
    guard let text else { return body(nil) }
    return text.withCString { body($0) }
}
