// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
public import Testing

/// Runs a test on threads of its own.
///
/// Tests share as many threads as there are cores, and one that waits for the kernel holds its thread.
/// Those that wait for a second or more would make all others wait as well; so would a serialized suite
/// of many that wait a little, which takes one thread in all.
public struct OwnThreadTrait: TestTrait, SuiteTrait, TestScoping {
    /// A suite's is each of its tests'.
    public var isRecursive: Bool { true }

    /// Called by the library for each case.
    @concurrent
    public func provideScope(
        for test: Test, testCase: Test.Case?,
        performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        try await withTaskExecutorPreference(OwnThreads()) { try await function() }
    }
}

extension Trait where Self == OwnThreadTrait {
    /// For a test that waits long.
    public static var onItsOwnThread: Self { OwnThreadTrait() }
}

/// Gives each job a thread, which ends with it.
private final class OwnThreads: TaskExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
        let work = Work(UnownedJob(job), on: self)
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        var thread = pthread_t()
        let code = pthread_create(
            &thread, &attributes,
            { context in
                Unmanaged<Work>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(work).toOpaque())
        precondition(code == 0, "pthread_create: \(code)")
    }

    private final class Work {
        let job: UnownedJob
        let executor: OwnThreads

        init(_ job: UnownedJob, on executor: OwnThreads) {
            self.job = job
            self.executor = executor
        }

        func run() { job.runSynchronously(on: executor.asUnownedTaskExecutor()) }
    }
}
