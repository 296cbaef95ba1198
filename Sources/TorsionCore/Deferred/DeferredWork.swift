// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Work in steps whose result is a Deferred: when that is cancelled, what the work waits for is given
/// up as well.
///
/// Kept alive by what it waits for.
class DeferredWork<Value> {
    let reactor: Reactor
    private var result: Deferred<Value>?
    /// The step that is waited for.
    private var awaited: AnyDeferred?

    init(on reactor: Reactor) { self.reactor = reactor }

    /// Whether the result is still owed: neither there nor cancelled.
    final var isUnderWay: Bool { result != nil }

    /// Makes the result.
    final func begin() -> Deferred<Value> {
        let result = Deferred<Value>(on: reactor) { [self] _ in cancelled() }
        self.result = result
        return result
    }

    /// Waits for one step, whose failure is the work's.
    ///
    /// - Parameters:
    ///   - step: Cancelled when the result is.
    ///   - goOn: Called with the step's value, also if the result was cancelled meanwhile.
    final func wait<Step>(for step: Deferred<Step>, _ goOn: @escaping (Step) -> Void) {
        wait(forOutcomeOf: step) { [self] outcome in
            switch outcome {
            case .success(let value): goOn(value)
            case .failure(let error): finish(.failure(error))
            }
        }
    }

    /// Waits for one step, whatever its outcome.
    ///
    /// - Parameters:
    ///   - step: Cancelled when the result is.
    ///   - goOn: Called with the step's outcome, also if the result was cancelled meanwhile.
    final func wait<Step>(
        forOutcomeOf step: Deferred<Step>, _ goOn: @escaping (Result<Step, any Error>) -> Void
    ) {
        let link = step.addBoth { [self] outcome in
            awaited = nil
            goOn(outcome)
        }
        if link.isPending { awaited = link }
    }

    /// Cancels the step that is waited for, which then goes on with `CancellationError`.
    final func stopWaiting() {
        let awaited = awaited.take()
        awaited?.cancel()
    }

    /// The result is there; does nothing if it was cancelled.
    func finish(_ outcome: Result<Value, any Error>) {
        guard let result = result.take() else { return }
        switch outcome {
        case .success(let value): result.succeed(value)
        case .failure(let error): result.fail(error)
        }
    }

    /// Gives up what is under way besides a step that is waited for: the result was cancelled, and
    /// fails by itself.
    func giveUp() {}

    private func cancelled() {
        result = nil
        stopWaiting()
        giveUp()
    }
}
