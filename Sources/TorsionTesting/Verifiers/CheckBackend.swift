// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// Runs the whole conformance suite on a backend, and reports everything that does not hold.
///
///     @Test func `my backend keeps the contract`() throws { try checkBackend(.mine) }
///
/// Each check makes reactors and loopback sockets of its own, on the calling thread. With a test
/// framework that has parameters, ``ConformanceSuite/checks`` shows each check as a case instead.
///
/// - Parameters:
///   - backend: The backend to hold to the contract of `ReactorBackend`.
///   - includingSlow: Whether those run that move much data or make many connections.
/// - Throws: ``CheckFailure`` with one line for each check that failed.
public func checkBackend(_ backend: BackendChoice, includingSlow: Bool = true) throws {
    if let reason = backend.unavailableReason() {
        throw CheckFailure(description: "\(backend.name) cannot run here: \(reason)")
    }
    let failures = ConformanceSuite.checks.compactMap { check -> String? in
        guard includingSlow || !check.isSlow else { return nil }
        do { try check.run(on: backend) } catch { return "\(check.name): \(error)" }
        return nil
    }
    guard failures.isEmpty else {
        throw CheckFailure(description: failures.joined(separator: "\n"))
    }
}
