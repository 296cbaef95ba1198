// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// Who returns bytes returns the owned ones; who gets them borrows again.
func greeting() -> Bytes { "hello" }

func greet(_ transport: any StreamTransport) {
    let bytes = greeting()
    transport.write(bytes.span.extracting(0..<4))
}
