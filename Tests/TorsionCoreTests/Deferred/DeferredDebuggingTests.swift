// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredDebuggingTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D12
    @Test func `a failure names where it was fired, also at the end of a chain`() {
        reactor.isDebugging = true
        do {
            let inner = Deferred<Int>(on: reactor)
            let source = Deferred<Int>(on: reactor)
            source
                .addCallback { _ in inner }
                .addCallback(file: "End.swift", line: 3) { $0 }
            source.succeed(1, file: "Source.swift", line: 1)
            inner.fail(Failed(), file: "Inner.swift", line: 2)
        }
        #expect(still.unhandled.map(\.place) == ["End.swift:3"])
        #expect(still.unhandled.map(\.firingPlace) == ["Inner.swift:2"])
        let line = still.unhandled.first?.description ?? ""
        #expect(line.contains("made at End.swift:3, fired at Inner.swift:2"))
    }

    @Test func `what a callback throws names where its chain was fired`() {
        reactor.isDebugging = true
        do {
            let source = Deferred<Int>(on: reactor)
            source.addCallback { _ in throw Failed() }.addCallback { $0 }
            source.succeed(1, file: "Source.swift", line: 1)
        }
        #expect(still.unhandled.map(\.firingPlace) == ["Source.swift:1"])
    }

    @Test func `without the mode no place is kept`() {
        reactor.isDebugging = true
        reactor.isDebugging = false
        do { Deferred<Int>(on: reactor).fail(Failed()) }
        #expect(still.unhandled.map(\.firingPlace) == [nil])
    }

    @Test func `a Deferred at the address of another does not have its place`() {
        reactor.isDebugging = true
        for _ in 0..<100 { Deferred<Int>(on: reactor).succeed(1, file: "Old.swift", line: 1) }
        for _ in 0..<100 { _ = Deferred<Int>.failed(Failed(), on: reactor) }
        #expect(still.unhandled.count == 100)
        #expect(still.unhandled.allSatisfy { $0.firingPlace == nil })
    }

    // D1, D12
    @Test func `firing twice names where it was made and where it was first fired`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let still = StillReactor()
            still.reactor.isDebugging = true
            let source = Deferred<Int>(on: still.reactor, file: "Made.swift", line: 41)
            source.succeed(1, file: "First.swift", line: 42)
            source.succeed(2, file: "Second.swift", line: 43)
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("Made.swift:41"), "\(text)")
        #expect(text.contains("First.swift:42"), "\(text)")
    }
}
