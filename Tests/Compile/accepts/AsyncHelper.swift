// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// With `NonisolatedNonsendingByDefault` an async method runs where its caller runs, so that it may
// be called on what belongs to a reactor.
final class Session {
    private let transport: any StreamTransport
    init(_ transport: any StreamTransport) { self.transport = transport }

    func greet() async { transport.write("hello\r\n") }
}

func start(_ session: Session) async {
    await session.greet()
}
