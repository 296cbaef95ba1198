// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Synchronization
import Torsion

/// What all threads share: Sendable, because every change of the number is atomic.
final class Total: Sendable { let lineCount = Atomic<Int>(0) }

/// What the connections of one reactor share: one thread uses it, so it needs no lock.
final class Desk {
    let total: Total
    var lineCount = 0
    init(_ total: Total) { self.total = total }
}

/// Numbers each line, among those of its reactor and among all.
final class Clerk: LineProtocol {
    let lines = LineDecoder()
    private let desk: Desk

    init(_ desk: Desk) { self.desk = desk }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        desk.lineCount += 1
        let (_, all) = desk.total.lineCount.add(1, ordering: .relaxed)
        transport.write(
            "reactor \(transport.reactor.number): line \(desk.lineCount) here, \(all) in all\r\n")
    }
}

let total = Total()
// The closure runs four times, on four threads, each time with a reactor and a desk of its own.
ReactorGroup.main(count: 4) { [total] reactor in
    let desk = Desk(total)
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8007"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { Clerk(desk) }
    print("reactor \(reactor.number) listens on \(port.localAddress)")
}
