// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionURing

@main
struct TorsionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "torsion",
        abstract: "Serve, connect and measure with the Torsion networking engine.",
        discussion: """
            An endpoint is written tcp:HOST:PORT, tls:HOST:PORT, unix:PATH, stdio:, fd:NUMBER or \
            exec:PROGRAM; where one is asked for, HOST:PORT, :PORT and /path do as well.

            Exit status: 0 all went well; 1 something went wrong, and one line on standard error says \
            what; 2 the other side broke the protocol; 22 (get only) the status of the answer is not \
            2xx; 64 the command line is wrong; 69 the service cannot be reached: its name is not \
            found, or the connection is refused or takes too long; 130 and 143 a second SIGINT or \
            SIGTERM ended the command.

            With --json a command prints objects, one a line (doctor and backends one array), and an \
            error is an object on standard error. Where standard output has the other side's bytes, \
            with connect, listen and get, one object is the last line on standard error; ws prints \
            each message as an object. \
            Colour is for terminals only, and not if NO_COLOR is set.
            """,
        version: "0.2.0",
        subcommands: [
            ConnectCommand.self, ListenCommand.self, RelayCommand.self, EchoCommand.self,
            ProxyCommand.self, SendCommand.self, ReceiveCommand.self, ServeCommand.self,
            GetCommand.self, WSCommand.self, BenchCommand.self, ProbeCommand.self,
            DoctorCommand.self, BackendsCommand.self, NewCommand.self,
        ])

    static func main() {
        let words = Array(CommandLine.arguments.dropFirst())
        if let word = words.first, let near = Suggestion.near(word, among: subcommandNames) {
            let sentence = "there is no command '\(word)'. Did you mean '\(near)'?"
            refuse(
                words, sentence,
                "Error: \(sentence)\n  See 'torsion --help' for all of them.")
            exit(withError: ExitCode(ExitStatus.usage))
        }
        do {
            let dies = BrokenPipeSignal.isDefault
            var command = try parseAsRoot(words)
            try command.run()
            try finishOutput(dies: dies)
        } catch {
            // Help and the like is output too.
            if exitCode(for: error) == .success {
                let dies = BrokenPipeSignal.isDefault
                print(fullMessage(for: error))
                do { try finishOutput(dies: dies) } catch { exit(withError: error) }
                exit(withError: nil)
            }
            // Empty if the reason stands on standard error.
            let text = fullMessage(for: error)
            if !text.isEmpty { refuse(words, message(for: error), text) }
            exit(withError: ExitCode(exitCode(for: error).rawValue))
        }
    }

    /// Says what is wrong with a command line, as it asks for it: it could not be read, so the option is
    /// looked for among the words.
    ///
    /// - Parameters:
    ///   - words: The command line.
    ///   - sentence: What is wrong.
    ///   - text: The same for a reader, with what to do.
    private static func refuse(_ words: [String], _ sentence: String, _ text: String) {
        if words.prefix(while: { $0 != "--" }).contains("--json") {
            return fail(with: CommandLineError(description: sentence), asJSON: true)
        }
        writeAllToStandardError(withoutControls(text) + "\n")
    }

    /// What was printed has been taken: a status of 0 says so.
    ///
    /// - Parameter dies: Whether whoever writes to a pipe that nobody reads ends by SIGPIPE.
    /// - Throws: `ExitCode`, when the reason stands on standard error.
    private static func finishOutput(dies: Bool) throws {
        // The variable itself is none that Swift 6 lets us read.
        let output = dlsym(nil, "stdout")?.load(as: UnsafeMutablePointer<FILE>?.self)
        let hasFailed = output.map { ferror($0) != 0 } ?? false
        let code: Int32? = fflush(nil) == 0 ? nil : errno
        guard hasFailed || code != nil else { return }
        if code == EPIPE, dies { BrokenPipeSignal.raise() }
        var sentence = "cannot write to standard output"
        if let code {
            errno = code
            sentence = IOError.ofFile("write", "standard output", .write).sentence
        }
        writeAllToStandardError(sentence + "\n")
        throw ExitCode(ExitStatus.failed)
    }

    private static var subcommandNames: [String] {
        var names = ["help"]
        // A key path to it crashes the compiler of Swift 6.3.
        for command in configuration.subcommands {
            if let name = command.configuration.commandName { names.append(name) }
        }
        return names
    }
}

extension BackendChoice {
    /// The backends that the command links.
    static let all = linked + [.ioURing]

    /// The backend of an option, else the one that the environment names.
    ///
    /// - Throws: `ValidationError`, which ends the command with status 64.
    static func chosen(_ name: String?) throws -> BackendChoice {
        let choice: BackendChoice
        do throws(UnknownBackend) {
            if let name {
                choice = try named(name, among: all)
            } else {
                choice = try fromEnvironment(among: all)
            }
        } catch {
            throw ValidationError("\(error)")
        }
        guard let reason = choice.unavailableReason() else { return choice }
        throw ValidationError("\(choice.name) cannot run here: \(reason)")
    }
}

/// What was meant by a server's address before its port, `udp:127.0.0.1:53`.
private func meantInterface(_ text: String, _ host: String) -> String? {
    let words = text.split(separator: ":")
    guard words.count == 3, words[1] == host, words[2].allSatisfy(\.isNumber) else { return nil }
    return "\(words[0]):\(words[2]):interface=\(host == "localhost" ? "127.0.0.1" : host)"
}

/// Reads an endpoint of the command line.
///
/// - Throws: `ValidationError`, which ends the command with status 64.
func readEndpoint<Endpoint>(
    _ text: String, _ make: (String) throws(EndpointError) -> Endpoint
) throws -> Endpoint {
    do throws(EndpointError) {
        return try make(text)
    } catch {
        guard let other = meantEndpoint(text, error) else { throw ValidationError("\(error)") }
        throw ValidationError("\(error). Did you mean '\(other)'?")
    }
}

/// What was meant by a port or a host without a type.
private func meantEndpoint(_ text: String, _ error: EndpointError) -> String? {
    if case .invalid("port", let host, _) = error { return meantInterface(text, host) }
    guard case .unknownType(let type, let allowed) = error else { return nil }
    func isNumber(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text.allSatisfy(\.isNumber)
    }
    let rest = text.dropFirst(type.count)
    if isNumber(type) { return rest.isEmpty ? ":\(type)" : nil }
    // Of a server it would be an interface.
    guard allowed.contains("exec") else { return nil }
    if rest.isEmpty {
        return type == "localhost" || type.contains(".") ? "\(type):PORT" : "tcp:\(type):PORT"
    }
    return rest.first == ":" && isNumber(rest.dropFirst()) ? "tcp:\(text)" : nil
}

/// Runs a command's work; an error of the world is one sentence on standard error, an object with it
/// if `asJSON` is set, and the status that `status` says.
func reportingErrors(
    asJSON: Bool = false, status: (any Error) -> Int32 = ExitStatus.of, _ body: () throws -> Void
) throws {
    do { try body() } catch {
        fail(with: error, asJSON: asJSON)
        throw ExitCode(status(error))
    }
}

/// The words of a command line cannot be read.
private struct CommandLineError: Error, CustomStringConvertible {
    let description: String
}

private struct FailureObject: Encodable {
    let error: String
    let advice: String?
}

/// An error in a sentence, and what to do instead.
func sentences(_ error: any Error) -> (sentence: String, advice: String?) {
    (error as? IOError).map { ($0.sentence, $0.advice) } ?? ("\(error)", nil)
}

/// Prints a value as a line of JSON on standard error.
func printErrorJSON(_ value: some Encodable) throws {
    writeAllToStandardError(try json(value) + "\n")
}

/// Prints the sentence of an error, and on a line of its own what to do instead: other tools read
/// the first line.
fileprivate func fail(with error: any Error, asJSON: Bool) {
    let (sentence, advice) = sentences(error)
    if asJSON, let text = try? json(FailureObject(error: sentence, advice: advice)) {
        return writeAllToStandardError(text + "\n")
    }
    let lines = [sentence, advice].compactMap(\.self)
    writeAllToStandardError(withoutControls(lines.joined(separator: "\n")) + "\n")
}

/// A text of several lines whose characters a terminal shows: it may quote what a peer said, or a word of
/// the command line.
private func withoutControls(_ text: String) -> String {
    text.unicodeScalars.map { $0 == "\n" ? "\n" : $0.terminalText }.joined()
}

/// Lets the process open as many descriptors as the system allows it: `setrlimit(2)`.
func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
