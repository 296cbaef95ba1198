// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// What a simulated backend may have something to tell of.
class SimulatedHandle {
    let backend: SimulatedBackend
    fileprivate(set) var isListed = false

    init(backend: SimulatedBackend) {
        self.backend = backend
        backend.openHandleCount += 1
    }

    /// Something happened that is told in the backend's next turn.
    final func becameReady() {
        guard !isListed else { return }
        isListed = true
        backend.ready.append(self)
    }

    /// Tells what happened.
    ///
    /// Called by the backend from inside its turn.
    func poll() { preconditionFailure("SimulatedHandle: poll is abstract") }
}

extension SimulatedBackend {
    /// Tells what is ready, oldest first.
    ///
    /// - Returns: Whether there was anything.
    func deliver() -> Bool {
        guard !ready.isEmpty else { return false }
        var batch: [SimulatedHandle] = []
        swap(&batch, &ready)
        for handle in batch {
            handle.isListed = false
            handle.poll()
        }
        return true
    }
}
