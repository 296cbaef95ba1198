// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionServices

@Suite struct NativeThreadTests {
    @Test func `a thread runs its body, and joining waits for it`() throws {
        let count = Lock(0)
        let threads = try (0..<4).map { _ in
            try NativeThread.start { count.withLock { $0 += 1 } }
        }
        for thread in threads { thread.join() }
        #expect(count.withLock { $0 } == 4)
    }

    @Test func `a thread lets go of what its body held`() throws {
        final class Held: Sendable {}
        weak var held: Held?
        do {
            let object = Held()
            held = object
            try NativeThread.start { _ = object }.join()
        }
        #expect(held == nil)
    }
}
