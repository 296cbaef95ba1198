// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Glibc

/// Prints a line at once, also into a file or a pipe.
public func say(_ text: String) {
    print(text)
    fflush(nil)
}

/// The first word behind the program's name as a port, or 8007.
public var portFromArguments: UInt16 {
    CommandLine.arguments.dropFirst().first.flatMap(UInt16.init) ?? 8007
}

/// Makes a TCP socket that listens on a port of this machine; for port 0 the kernel chooses one.
public func listen(onPort port: UInt16) -> Int32 {
    signal(SIGPIPE, SIG_IGN)  // Writing to a client that has gone is an error, not our end.
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    check(listener, "socket")
    var yes: Int32 = 1  // A server that is started again gets its port at once.
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian  // 127.0.0.1
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            check(bind(listener, address, size), "bind")
            check(listen(listener, 16), "listen")
            check(getsockname(listener, address, &size), "getsockname")
        }
    }
    say("listening on port \(UInt16(bigEndian: address.sin_port))")
    return listener
}

/// Takes one client from a listening socket, and makes its calls return at once: O_NONBLOCK.
public func acceptClient(from listener: Int32) -> Int32? {
    let client = accept(listener, nil, nil)
    guard client >= 0 else { return nil }
    _ = fcntl(client, F_SETFL, fcntl(client, F_GETFL) | O_NONBLOCK)
    return client
}

/// Ends the program if a call has failed, with the reason that the kernel gave.
private func check(_ result: Int32, _ call: String) {
    guard result < 0 else { return }
    perror(call)
    exit(1)
}
