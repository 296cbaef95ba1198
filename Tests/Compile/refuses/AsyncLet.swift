// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

func send(_ text: String, over transport: any StreamTransport) async { transport.write(text) }

// `async let` runs its body on another thread, beside ours.
func sendBoth(over transport: any StreamTransport) async {
    // expect: sending 'transport' risks causing data races
    async let sent: Void = send("one", over: transport)
    await send("two", over: transport)
    await sent
}
