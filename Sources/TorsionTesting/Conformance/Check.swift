// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// One thing that every backend owes the portable code, as a function that throws if it does not
/// hold.
public struct Check: Sendable, CustomStringConvertible {
    /// A sentence of behaviour.
    public let name: String

    /// Whether it moves much data or makes many connections.
    public let isSlow: Bool

    /// Whether it uses pipes and files of the system, which a simulated host does not have.
    public let needsDescriptors: Bool

    private let body: @Sendable (BackendChoice) throws -> Void

    init(
        _ name: String, isSlow: Bool = false, needsDescriptors: Bool = false,
        _ body: @escaping @Sendable (BackendChoice) throws -> Void
    ) {
        self.name = name
        self.isSlow = isSlow
        self.needsDescriptors = needsDescriptors
        self.body = body
    }

    /// The name.
    public var description: String { name }

    /// Runs the check on a backend of its own.
    ///
    /// - Parameter backend: The backend to hold to the contract of `ReactorBackend`.
    /// - Throws: ``CheckFailure``, or what went wrong instead.
    public func run(on backend: BackendChoice) throws { try body(backend) }
}

/// The contract of `ReactorBackend` in code: run these to prove a backend.
///
///     @Test(arguments: ConformanceSuite.checks)
///     func `my backend keeps the contract`(check: Check) throws {
///         try check.run(on: .mine)
///     }
public enum ConformanceSuite {
    /// All checks.
    public static let checks: [Check] =
        timers + wakeUps + connecting + closing + lingering + halfClosing + flow + producing
        + producerWrites
        + reentrancy + accepting + watching + descriptors + datagrams + datagramFlow
        + datagramGroups + faults
}

/// The failure of a check.
public struct CheckFailure: Error, CustomStringConvertible {
    /// The expected and the found value.
    public let description: String
}

/// Fails the check unless the condition holds.
func expect(
    _ condition: Bool, _ message: @autoclosure () -> String = "", line: UInt = #line,
    file: StaticString = #fileID
) throws {
    guard !condition else { return }
    throw CheckFailure(description: "\(file):\(line): \(message())")
}

/// Fails the check unless the two are equal.
func expectEqual<Value: Equatable>(
    _ found: Value, _ expected: Value, line: UInt = #line, file: StaticString = #fileID
) throws {
    try expect(found == expected, "found \(found), expected \(expected)", line: line, file: file)
}
