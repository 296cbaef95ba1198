// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
@_spi(Backend) import TorsionCore
@_spi(Backend) import TorsionSockets

@testable import TorsionUV

@Suite struct UVTimerTests {
    // libuv counts in milliseconds: a call that is due already must not wait for the next of them.
    @Test func `a thousand calls without delay take no thousand milliseconds`() throws {
        let reactor = Reactor(backend: .libuv, services: nil)
        var left = 1_000
        var start = MonotonicInstant(nanoseconds: 0)
        func again() {
            left -= 1
            if left > 0 { reactor.callLater(.zero, again) } else { reactor.stop(within: .zero) }
        }
        try reactor.run(signals: .ignore) { reactor in
            start = reactor.now
            reactor.callLater(.zero, again)
        }
        #expect(left == 0 && start.duration(to: reactor.now) < .milliseconds(400))
        reactor.shutDown()
    }
}

@Suite struct UVPollerTests {
    @Test(arguments: [false, true])
    func `what is still ready is reported again`(isPlain: Bool) throws {
        try withPoller(isPlain) { poller in
            let pipe = try Pipe()
            let target = Recorder(descriptor: pipe.output)
            #expect(poller.add(target, for: .readable) == nil)
            poller.wait(until: .past)
            #expect(target.seen.isEmpty)
            pipe.write()
            poller.wait(until: poller.soon)
            poller.wait(until: poller.soon)
            #expect(target.seen == [.readable, .readable])
            poller.remove(target)
        }
    }

    @Test(arguments: [false, true])
    func `an update changes what is waited for`(isPlain: Bool) throws {
        try withPoller(isPlain) { poller in
            let pipe = try Pipe()
            let target = Recorder(descriptor: pipe.input)
            #expect(poller.add(target, for: .errorsOnly) == nil)
            poller.wait(until: .past)
            poller.wait(until: .past)
            #expect(target.seen.isEmpty)
            poller.update(target, for: [.readable, .writable])
            poller.wait(until: poller.soon)
            #expect(target.seen == [.writable])
            pipe.closeOutput()
            poller.update(target, for: .errorsOnly)
            poller.wait(until: poller.soon)
            #expect(target.seen == [.writable, .error])
            poller.remove(target)
        }
    }

    @Test(arguments: [false, true])
    func `a target that is removed in the batch is not called`(isPlain: Bool) throws {
        try withPoller(isPlain) { poller in
            let pipes = [try Pipe(), try Pipe()]
            let targets = pipes.map { Recorder(descriptor: $0.output) }
            for (index, target) in targets.enumerated() {
                #expect(poller.add(target, for: .readable) == nil)
                let other = targets[1 - index]
                target.onReady = { if other.registration != nil { poller.remove(other) } }
                pipes[index].write()
            }
            poller.wait(until: poller.soon)
            poller.wait(until: .past)
            #expect(targets.count { !$0.seen.isEmpty } == 1)
            for target in targets {
                target.onReady = nil
                if target.registration != nil { poller.remove(target) }
            }
        }
    }

    @Test(arguments: [false, true])
    func `a target may remove itself, and is released after the batch`(isPlain: Bool) throws {
        try withPoller(isPlain) { poller in
            let pipe = try Pipe()
            pipe.write()
            weak var released: Recorder?
            do {
                let target = Recorder(descriptor: pipe.output)
                released = target
                target.onReady = { [unowned target] in
                    poller.remove(target)
                    target.onReady = nil
                    target.seen.append(.hangUp)
                }
                #expect(poller.add(target, for: .readable) == nil)
            }
            #expect(released != nil)
            poller.wait(until: poller.soon)
            #expect(released == nil)
        }
    }

    @Test(arguments: [false, true])
    func `a wait ends at its deadline and not before`(isPlain: Bool) throws {
        try withPoller(isPlain) { poller in
            for microseconds in [100, 900, 1_100, 2_500] {
                let deadline = poller.now.advanced(by: .microseconds(microseconds))
                while poller.now < deadline { poller.wait(until: deadline) }
                #expect(poller.now < deadline.advanced(by: .seconds(1)))
            }
        }
    }

    @Test(arguments: [false, true])
    func `a wake that came before the wait ends it, once`(isPlain: Bool) throws {
        try withPoller(isPlain) { poller in
            let waker = poller.waker
            var waitCount = 0
            // libuv ends a wait early that signals interrupt twice; a wake-up too many would end one
            // wait of each round.
            for _ in 0..<20 where waitCount != 1 {
                let start = poller.now
                waker.wake()
                waker.wake()
                poller.wait(until: nil)
                #expect(poller.now < start.advanced(by: .seconds(10)))
                let deadline = poller.now.advanced(by: .milliseconds(5))
                waitCount = 0
                while poller.now < deadline {
                    poller.wait(until: deadline)
                    waitCount += 1
                }
            }
            #expect(waitCount == 1, "two calls made more than one wake-up")
        }
    }

    @Test(arguments: [false, true])
    func `the time is the same within a batch, and newer after the next wait`(isPlain: Bool) throws
    {
        try withPoller(isPlain) { poller in
            let first = poller.now
            #expect(poller.now == first)
            poller.wait(until: .past)
            #expect(poller.now > first)
        }
    }

    @Test(arguments: [false, true])
    func `a regular file cannot be watched`(isPlain: Bool) throws {
        try withPoller(isPlain) { poller in
            let file = open("/proc/self/exe", O_RDONLY)
            let target = Recorder(descriptor: file)
            #expect(poller.add(target, for: .readable) == .notPermitted)
            close(file)
            #expect(poller.add(target, for: .readable) == .badDescriptor)
            #expect(target.registration == nil)
        }
    }

    @Test(arguments: [false, true])
    func `a descriptor that somebody closed is an error when it is asked for, once`(isPlain: Bool)
        throws
    {
        try withPoller(isPlain) { poller in
            let pipe = try Pipe()
            let target = Recorder(descriptor: pipe.output)
            #expect(poller.add(target, for: .readable) == nil)
            pipe.closeOutput()
            poller.update(target, for: [.readable, .writable])
            poller.wait(until: poller.soon)
            poller.wait(until: .past)
            #expect(target.seen == [.error])
            poller.remove(target)
        }
    }

    @Test func `a poller starts again after its end`() throws {
        let poller = UVPoller()
        for _ in 0..<2 {
            try poller.start()
            poller.wait(until: .past)
            poller.shutDown()
        }
    }

    @Test func `shutting down with a target registered traps`() async {
        await #expect(processExitsWith: .failure) {
            let poller = UVPoller()
            try poller.start()
            let target = Recorder(descriptor: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
            precondition(poller.add(target, for: .readable) == nil)
            poller.shutDown()
        }
    }
}

/// In the way that this libuv is used by, or in the plain one.
private func withPoller(_ isPlain: Bool, _ body: (UVPoller) throws -> Void) throws {
    let poller = UVPoller(isPlain: isPlain)
    try poller.start()
    try body(poller)
    poller.shutDown()
}

extension MonotonicInstant {
    fileprivate static let past = MonotonicInstant(nanoseconds: 0)
}

extension UVPoller {
    /// Far enough that a wait for something that is ready never ends by it.
    fileprivate var soon: MonotonicInstant { now.advanced(by: .seconds(10)) }
}

/// Notes what it is called with.
private final class Recorder: PollTarget {
    var seen: [PollEvents] = []
    var onReady: (() -> Void)?

    override func ready(_ events: PollEvents) {
        seen.append(events)
        onReady?()
    }
}

/// A pipe of the system.
///
/// What is not closed before is closed at the end.
private final class Pipe {
    let output: Int32
    let input: Int32
    private var isOutputOpen = true

    init() throws {
        var descriptors: [Int32] = [0, 0]
        try #require(pipe(&descriptors) == 0)
        output = descriptors[0]
        input = descriptors[1]
    }

    deinit {
        closeOutput()
        close(input)
    }

    func write() {
        let count = unsafe Glibc.write(input, "x", 1)
        precondition(count == 1)
    }

    func closeOutput() {
        if isOutputOpen { close(output) }
        isOutputOpen = false
    }
}
