// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

func send(_ text: String, over transport: any StreamTransport) async { transport.write(text) }

// One after the other, on the thread that both belong to.
func sendBoth(over transport: any StreamTransport) async {
    await send("one", over: transport)
    await send("two", over: transport)
}
