// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import NIOCore
import NIOPosix

// Parts of SwiftNIO, as `torsion-parts` measures those of Torsion: on an event loop's own thread.

@main
struct NIOParts {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3, let count = Int(arguments[2]) else {
            fatalError("usage: nio-parts chain|chain-waiting COUNT")
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let measure: @Sendable () throws -> Double
        switch arguments[1] {
        case "chain": measure = { time(count) { chain(on: loop) } }
        case "chain-waiting": measure = { time(count) { waitingChain(on: loop) } }
        default: fatalError("nio-parts: unknown part \(arguments[1])")
        }
        print(try loop.submit(measure).wait())
        try group.syncShutdownGracefully()
    }
}

/// Nanoseconds for one of `count` runs, after a tenth as many that are not counted.
func time(_ count: Int, _ body: () -> Void) -> Double {
    for _ in 0..<count / 10 { body() }
    let start = NIODeadline.now()
    for _ in 0..<count { body() }
    return Double((NIODeadline.now() - start).nanoseconds) / Double(count)
}

/// A promise, ten maps that add one, and a value.
func chain(on loop: any EventLoop) {
    let promise = loop.makePromise(of: Int.self)
    var sum = 0
    var end = promise.futureResult
    for _ in 0..<9 { end = end.map { value in value &+ 1 } }
    end.assumeIsolated().map { value in sum = value &+ 1 }
    promise.succeed(1)
    precondition(sum == 11)
}

/// The same, each closure giving a future that has succeeded.
func waitingChain(on loop: any EventLoop) {
    let promise = loop.makePromise(of: Int.self)
    var sum = 0
    var end = promise.futureResult
    for _ in 0..<9 { end = end.flatMap { value in loop.makeSucceededFuture(value &+ 1) } }
    end.assumeIsolated().flatMap { value in
        sum = value &+ 1
        return loop.makeSucceededVoidFuture()
    }
    promise.succeed(1)
    precondition(sum == 11)
}
