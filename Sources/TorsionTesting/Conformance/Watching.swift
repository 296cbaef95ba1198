// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

extension ConformanceSuite {
    static let watching = [watchesPipe, watchRemovedInTurn, watchErrors, closedBehindOurBack]

    static let watchesPipe = Check(
        "a watch tells readability until it is cancelled", needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        let pipe = Pipe()
        var count = 0
        let watch = try world.reactor.watch(descriptor: pipe.output, for: .readable) { readiness in
            count += 1
            if !readiness.contains(.readable) { throw Mishap() }
            if count == 2 { pipe.read() }
        }
        world.run(for: .milliseconds(2))
        try expectEqual(count, 0)
        pipe.write()
        try world.run { count == 2 }
        watch.update(for: [])
        pipe.write()
        world.run(for: .milliseconds(2))
        try expectEqual(count, 2)
        watch.update(for: .readable)
        try world.run { count == 3 }
        watch.cancel()
        watch.cancel()
        world.run(for: .milliseconds(2))
        try expectEqual(count, 3)
        try world.finish()
    }

    // R11
    static let watchRemovedInTurn = Check(
        "a watch removed in a callback of the same turn does not fire", needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        let pipes = [Pipe(), Pipe()]
        var watches: [DescriptorWatch] = []
        var fired: [Int] = []
        for (index, pipe) in pipes.enumerated() {
            pipe.write()
            watches.append(
                try world.reactor.watch(descriptor: pipe.output, for: .readable) { _ in
                    fired.append(index)
                    watches.forEach { $0.cancel() }
                })
        }
        try world.run { !fired.isEmpty }
        world.run(for: .milliseconds(2))
        try expectEqual(fired.count, 1)
        watches = []
        try world.finish()
    }

    // R8
    static let watchErrors = Check(
        "an error in a watch is reported, and the watch goes on", needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        var seen: [UnhandledError] = []
        world.reactor.unhandledError = { seen.append($0) }
        let pipe = Pipe()
        pipe.write()
        let watch = try world.reactor.watch(descriptor: pipe.output, for: .readable) { _ in
            throw Mishap()
        }
        try world.run { seen.count == 2 }
        watch.cancel()
        try world.finish()
    }

    // R11
    static let closedBehindOurBack = Check(
        "a descriptor closed behind our back never spins", needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        world.reactor.unhandledError = { _ in }
        // Some backends know a watched descriptor by its number alone: were that given to another
        // thread, the watch would tell of what that has.
        let pipe = Pipe(isApart: true)
        let watch = try world.reactor.watch(descriptor: pipe.output, for: .readable) { _ in }
        world.reactor.turn(until: world.reactor.now)
        pipe.close()
        let before = world.reactor.statistics.turns
        world.run(for: .milliseconds(20))
        let turns = world.reactor.statistics.turns - before
        try expect(turns < 20, "it spins: \(turns) turns")
        try expect(!pipe.isNumberTaken, "somebody has the descriptor's number")
        watch.cancel()
        try world.finish()
    }
}
