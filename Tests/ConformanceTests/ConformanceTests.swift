// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTesting
import TorsionUV

/// One backend under test, with a name that a test runner can show.
struct BackendUnderTest: CustomStringConvertible, Sendable {
    let description: String
    private let make: @Sendable () -> BackendChoice

    init(_ make: @autoclosure @escaping @Sendable () -> BackendChoice) {
        self.make = make
        description = make().name
    }

    /// Made anew for each test: a plan of faults begins at its seed, whatever ran before or beside it.
    var choice: BackendChoice { make() }

    static let all = BackendChoice.tested.map { choice in BackendUnderTest(choice) }

    /// Cutting is the same above each; the simulator takes the least time.
    static let irregular =
        (TestScope.isWhole ? BackendChoice.tested + [.simulated] : [.simulated])
        .map { choice in BackendUnderTest(.faulty(choice, .irregular(seed: 1))) }

    /// The simulator with everything that a right program does not notice.
    static let gentle = (1...(TestScope.isWhole ? 3 : 1)).map { seed in
        BackendUnderTest(.simulated(seed: seed, faults: .gentle))
    }

    /// Whether the descriptors of the system can be given to it.
    var hasDescriptors: Bool { !description.contains("simulated") }
}

struct ConformanceTests {
    @Test(arguments: ConformanceSuite.checks.filter { !$0.isSlow }, BackendUnderTest.all)
    func `every backend keeps the contract`(check: Check, backend: BackendUnderTest) throws {
        try check.run(on: backend.choice)
    }

    /// What is slow is so by its numbers: a million calls, a hundred megabytes.
    @Test(
        arguments: ConformanceSuite.checks.filter(\.isSlow),
        TestScope.isWhole ? BackendUnderTest.all : [BackendUnderTest(.epoll)])
    func `every backend keeps the contract at length`(check: Check, backend: BackendUnderTest)
        throws
    {
        try check.run(on: backend.choice)
    }

    /// As with a libuv that was not tested.
    @Test(.enabled(if: TestScope.isWhole), arguments: ConformanceSuite.checks.filter { !$0.isSlow })
    func `libuv keeps the contract by what it documents alone`(check: Check) throws {
        try check.run(on: .plainLibuv)
    }

    /// The fake is a verified fake: it keeps the whole contract but what takes descriptors.
    @Test(
        arguments: ConformanceSuite.checks.filter {
            !$0.needsDescriptors && (!$0.isSlow || TestScope.isWhole)
        })
    func `the simulated backend keeps the contract`(check: Check) throws {
        try check.run(on: .simulated)
    }

    @Test(
        arguments: ConformanceSuite.checks.filter { !$0.needsDescriptors && !$0.isSlow },
        BackendUnderTest.gentle)
    func `the simulated backend keeps the contract when it is cut, late and slow`(
        check: Check, backend: BackendUnderTest
    ) throws {
        try check.run(on: backend.choice)
    }

    /// What is missing says so: an error, never a trap or a wait without end.
    @Test(arguments: ConformanceSuite.checks.filter(\.needsDescriptors))
    func `the simulated backend refuses descriptors and files`(check: Check) throws {
        do {
            try check.run(on: .simulated)
            Issue.record("it passes: it needs no descriptors")
        } catch let error as IOError {
            #expect(error.code == .notSupported)
        } catch let failure as CheckFailure {
            // A simulated UNIX port has a name and no file.
            #expect(failure.description.contains("Datagrams.swift"))
        }
    }

    /// A backend may deliver in pieces, take less than it was offered, and be late: no check may
    /// depend on the kernel being generous.
    @Test(arguments: ConformanceSuite.checks.filter { !$0.isSlow }, BackendUnderTest.irregular)
    func `the contract holds when calls are cut and late`(
        check: Check, backend: BackendUnderTest
    ) throws {
        guard backend.hasDescriptors || !check.needsDescriptors else { return }
        try check.run(on: backend.choice)
    }
}
