// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import BookSockets
import Glibc

/// Sends back what a client sends, until it ends.
func serve(_ client: Int32) {
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
        // Waits until something has arrived. 0 is the client's end, a negative number an error.
        let count = read(client, &buffer, buffer.count)
        guard count > 0 else { return }
        var sentCount = 0
        while sentCount < count {
            // Waits until the kernel has room, which may be for a part.
            let taken = buffer[sentCount..<count].withUnsafeBytes {
                write(client, $0.baseAddress, $0.count)
            }
            guard taken > 0 else { return }
            sentCount += taken
        }
    }
}

let listener = listen(onPort: portFromArguments)
var clientCount = 0
while true {
    let client = accept(listener, nil, nil)  // Waits until a client has connected.
    guard client >= 0 else { continue }
    clientCount += 1
    say("client \(clientCount) is served")
    serve(client)
    close(client)
    say("client \(clientCount) has gone")
}
