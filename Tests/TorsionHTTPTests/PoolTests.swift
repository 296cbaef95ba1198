// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import TorsionCore
@testable import TorsionHTTP
import TorsionTesting

private func at(_ milliseconds: Int64) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: 0).advanced(by: .milliseconds(milliseconds))
}

private func limits(_ connections: Int, waiting: Int = 100) -> OriginPool.Limits {
    var limits = OriginPool.Limits()
    limits.connections = connections
    limits.waitingRequests = waiting
    return limits
}

@Suite struct PoolTests {
    @Test func `H-53: the connection that was used last is used first, and old ones are closed`() {
        var pool = OriginPool(limits(3))
        for number in 1...3 {
            #expect(pool.submit(number, at: at(0)) == [.open(request: number)])
            pool.opened(for: number, as: 10 + number)
        }
        for (number, time) in [(12, 0), (11, 10), (13, 20)] as [(Int, Int64)] {
            #expect(pool.freed(number, serverTime: nil, at: at(time)) == [])
        }
        #expect(pool.submit(4, at: at(30)) == [.send(request: 4, connection: 13)])
        #expect(pool.submit(5, at: at(30)) == [.send(request: 5, connection: 11)])
        #expect(pool.nextDeadline == at(30_000))
        #expect(
            pool.passed(at(29_999)) == [] && pool.passed(at(30_000)) == [.close(connection: 12)])
        #expect(pool.connectionCount == 2 && pool.nextDeadline == nil)
    }

    @Test func `H-53: none is used within a second of the time that its server announced`() {
        var pool = OriginPool(limits(3))
        _ = pool.submit(1, at: at(0))
        pool.opened(for: 1, as: 10)
        #expect(pool.freed(10, serverTime: .seconds(5), at: at(0)) == [])
        #expect(pool.submit(2, at: at(3_999)) == [.send(request: 2, connection: 10)])
        #expect(pool.freed(10, serverTime: .seconds(5), at: at(4_000)) == [])
        #expect(
            pool.submit(3, at: at(8_000)) == [.close(connection: 10), .open(request: 3)])
        pool.opened(for: 3, as: 11)
        // Of a second, nothing is left.
        #expect(pool.freed(11, serverTime: .seconds(1), at: at(9_000)) == [.close(connection: 11)])
        #expect(pool.isEmpty)
    }

    @Test func `H-57: as many connections as allowed, then first in, first out, with a deadline`() {
        var pool = OriginPool(limits(2, waiting: 3))
        #expect(pool.submit(1, at: at(0)) == [.open(request: 1)])
        #expect(pool.submit(2, at: at(0)) == [.open(request: 2)])
        for number in 3...5 { #expect(pool.submit(number, at: at(Int64(number))) == []) }
        #expect(pool.submit(6, at: at(6)) == [.refuse(request: 6)])
        pool.opened(for: 1, as: 11)
        #expect(pool.freed(11, serverTime: nil, at: at(7)) == [.send(request: 3, connection: 11)])
        #expect(pool.submit(7, at: at(8)) == [])
        // One that cannot be made makes room for the next.
        #expect(pool.withdraw(2) == [.open(request: 4)])
        pool.opened(for: 4, as: 12)
        #expect(pool.passed(at(30_004)) == [] && pool.nextDeadline == at(30_005))
        #expect(pool.passed(at(30_005)) == [.expire(request: 5)])
        #expect(pool.withdraw(7) == [] && pool.waitingCount == 0)
        #expect(pool.lost(12) == [] && pool.connectionCount == 1)
    }

    @Test func `a request that needs a new connection takes the place of the oldest idle one`() {
        var pool = OriginPool(limits(2))
        for number in 1...2 {
            _ = pool.submit(number, at: at(0))
            pool.opened(for: number, as: 10 + number)
        }
        for number in 11...12 { _ = pool.freed(number, serverTime: nil, at: at(0)) }
        #expect(
            pool.submit(3, needsNew: true, at: at(1)) == [
                .close(connection: 11), .open(request: 3),
            ])
        #expect(pool.closeIdle() == [.close(connection: 12)])
    }

    // Found by random exchanges through a proxy: what was sent again met a second stale connection.
    @Test func `H-54: a request that waits for a new connection is given no used one`() {
        var pool = OriginPool(limits(1))
        _ = pool.submit(1, at: at(0))
        pool.opened(for: 1, as: 11)
        #expect(pool.submit(2, needsNew: true, at: at(1)) == [])
        #expect(pool.submit(3, at: at(1)) == [])
        #expect(
            pool.freed(11, serverTime: nil, at: at(2)) == [
                .close(connection: 11), .open(request: 2),
            ])
        pool.opened(for: 2, as: 12)
        #expect(pool.freed(12, serverTime: nil, at: at(3)) == [.send(request: 3, connection: 12)])
        pool.checkInvariants()
    }

    @Test func `any order of events keeps the pool's rules, and loses no request`() {
        for seed in TestScope.seeds(all: 20_000, few: 300, variable: "HTTP_SEEDS") {
            var dice = SeededGenerator(seed: seed)
            var pool = OriginPool(limits(Int.random(in: 1...4, using: &dice), waiting: 8))
            var opening: Set<Int> = [], busy: [Int: Int] = [:], idle: Set<Int> = []
            var waiting: [Int] = [], needingNew: Set<Int> = []
            var made = 0
            var time: Int64 = 0
            func perform(_ actions: [OriginPool.Action]) {
                for action in actions {
                    switch action {
                    case .send(let request, let connection):
                        #expect(waiting.first == request || !waiting.contains(request))
                        waiting.removeAll { $0 == request }
                        #expect(!needingNew.contains(request), "seed \(seed)")
                        idle.remove(connection)
                        busy[connection] = request
                    case .open(let request):
                        #expect(waiting.first == request || !waiting.contains(request))
                        waiting.removeAll { $0 == request }
                        opening.insert(request)
                    case .close(let connection): idle.remove(connection)
                    case .expire(let request), .refuse(let request):
                        waiting.removeAll { $0 == request }
                    }
                }
            }
            for _ in 0..<200 {
                time += Int64.random(in: 0...3_000, using: &dice)
                made += 1
                switch Int.random(in: 0..<7, using: &dice) {
                case 0, 1:
                    let needsNew = Bool.random(using: &dice)
                    if needsNew { needingNew.insert(made) }
                    let actions = pool.submit(made, needsNew: needsNew, at: at(time))
                    if pool.waitingCount > waiting.count { waiting.append(made) }
                    perform(actions)
                case 2:
                    guard let request = opening.sorted().randomElement(using: &dice) else { break }
                    opening.remove(request)
                    pool.opened(for: request, as: made)
                    busy[made] = request
                case 3:
                    guard let one = (waiting + opening.sorted()).randomElement(using: &dice)
                    else { break }
                    opening.remove(one)
                    waiting.removeAll { $0 == one }
                    perform(pool.withdraw(one))
                case 4:
                    guard let one = busy.keys.sorted().randomElement(using: &dice) else { break }
                    busy[one] = nil
                    idle.insert(one)
                    let seconds = Int64.random(in: 0...9, using: &dice)
                    perform(
                        pool.freed(
                            one, serverTime: seconds < 5 ? .seconds(seconds) : nil, at: at(time)))
                case 5:
                    guard let one = (Array(busy.keys) + idle).sorted().randomElement(using: &dice)
                    else { break }
                    busy[one] = nil
                    idle.remove(one)
                    perform(pool.lost(one))
                default: perform(pool.passed(at(time)))
                }
                pool.checkInvariants()
                #expect(
                    pool.waitingCount == waiting.count && pool.idleCount == idle.count
                        && pool.connectionCount == idle.count + busy.count + opening.count,
                    "seed \(seed)")
            }
        }
    }

    @Test
    func `H-54: only what may be sent twice is, once, before an answer, on a used connection`() {
        var machine = ClientStateMachine()
        machine.requestBegins(closes: false)
        machine.requestEnded()
        // The first one: the server was there.
        #expect(!machine.mayRepeat(isIdempotent: true, hasAnswer: false, wasRepeated: false))
        machine.headArrived(closes: false)
        #expect(machine.answerEnded(hasMore: false) == .keep)
        machine.requestBegins(closes: false)
        #expect(machine.mayRepeat(isIdempotent: true, hasAnswer: false, wasRepeated: false))
        #expect(!machine.mayRepeat(isIdempotent: false, hasAnswer: false, wasRepeated: false))
        #expect(!machine.mayRepeat(isIdempotent: true, hasAnswer: true, wasRepeated: false))
        #expect(!machine.mayRepeat(isIdempotent: true, hasAnswer: false, wasRepeated: true))
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            #expect(HTTPMethod(method)?.isIdempotent == true)
        }
        for method in ["POST", "PATCH", "CONNECT", "LOCK"] {
            #expect(HTTPMethod(method)?.isIdempotent == false)
        }
    }

    @Test func `a connection is kept only if both sides have ended, and nothing is left over`() {
        func action(
            asksToClose: Bool = false, isWhole: Bool = true, closes: Bool = false,
            hasMore: Bool = false, isEnding: Bool = false
        ) -> ClientStateMachine.Action {
            var machine = ClientStateMachine()
            machine.requestBegins(closes: asksToClose)
            if isWhole { machine.requestEnded() }
            machine.headArrived(closes: closes)
            let isIdle = isEnding && machine.endWasRequested()
            #expect(!isIdle)
            return machine.answerEnded(hasMore: hasMore)
        }
        #expect(action() == .keep && action(asksToClose: true) == .close)
        #expect(action(isWhole: false) == .abort && action(closes: true) == .close)
        #expect(action(hasMore: true) == .close && action(isEnding: true) == .close)
        var idle = ClientStateMachine()
        let isIdle = idle.endWasRequested()
        #expect(isIdle)
    }
}
