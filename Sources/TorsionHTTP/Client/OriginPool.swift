// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

package import TorsionCore

/// Which connection of one origin carries which request, and which request waits.
///
/// Pure: connections and requests are numbers, time is a value, what is to be done is returned. A
/// connection that was used last is used first (H-53), so that those which are needed no more grow old;
/// requests wait first in, first out (H-57).
package struct OriginPool {
    /// What is to be done, in this order.
    package enum Action: Equatable {
        /// The request goes out on the connection.
        case send(request: Int, connection: Int)
        /// A connection is made for the request.
        case open(request: Int)
        /// The connection is closed; the pool knows it no more.
        case close(connection: Int)
        /// The request has waited too long.
        case expire(request: Int)
        /// Too many requests wait already.
        case refuse(request: Int)
    }

    package struct Limits {
        /// Connections at a time: idle, busy and being made.
        package var connections = 32
        /// Requests that wait.
        package var waitingRequests = 10_000
        package var idleTime = Duration.seconds(30)
        package var waitingTime = Duration.seconds(30)

        package init() {}
    }

    private struct Idle {
        let connection: Int
        let end: MonotonicInstant
    }

    private let limits: Limits
    /// The one that was used last is the last one.
    private var idle: [Idle] = []
    private var busy: Set<Int> = []
    /// By the requests that they are made for.
    private var opening: Set<Int> = []
    /// Requests in order; one that is not among the deadlines any more has left.
    private var line: [Int] = []
    private var lineStart = 0
    private var deadlines: [Int: MonotonicInstant] = [:]
    /// Those of them that a connection which was used before will not do for: seldom any.
    private var needingNew: Set<Int> = []

    /// How much earlier than the server says a connection is given up: a request may be under way when
    /// the server's time ends.
    package static let margin = Duration.seconds(1)

    package init(_ limits: Limits = Limits()) {
        precondition(limits.connections > 0, "OriginPool: no connection is allowed")
        self.limits = limits
    }

    package var connectionCount: Int { idle.count + busy.count + opening.count }
    package var idleCount: Int { idle.count }
    package var waitingCount: Int { deadlines.count }
    /// Whether there is nothing.
    package var isEmpty: Bool { connectionCount == 0 && deadlines.isEmpty }

    /// A request wants a connection.
    ///
    /// - Parameters:
    ///   - request: Its number.
    ///   - needsNew: Whether a connection that was used before will not do.
    ///   - now: The time.
    /// - Returns: What is to be done; nothing if the request waits.
    package mutating func submit(
        _ request: Int, needsNew: Bool = false, at now: MonotonicInstant
    ) -> [Action] {
        var actions: [Action] = []
        if !needsNew {
            while let last = idle.popLast() {
                guard last.end > now else {
                    actions.append(.close(connection: last.connection))
                    continue
                }
                busy.insert(last.connection)
                return actions + [.send(request: request, connection: last.connection)]
            }
        }
        if connectionCount == limits.connections, !idle.isEmpty {
            actions.append(.close(connection: idle.removeFirst().connection))
        }
        if connectionCount < limits.connections {
            opening.insert(request)
            return actions + [.open(request: request)]
        }
        guard deadlines.count < limits.waitingRequests else {
            return actions + [.refuse(request: request)]
        }
        line.append(request)
        deadlines[request] = now.advanced(by: limits.waitingTime)
        if needsNew { needingNew.insert(request) }
        return actions
    }

    /// The connection that was made for a request is there, and carries it.
    package mutating func opened(for request: Int, as connection: Int) {
        let wasOpening = opening.remove(request) != nil
        precondition(wasOpening, "OriginPool: a connection that nobody asked for")
        busy.insert(connection)
    }

    /// A request is no longer interested, or its connection could not be made.
    package mutating func withdraw(_ request: Int) -> [Action] {
        if deadlines.removeValue(forKey: request) != nil {
            needingNew.remove(request)
            skipThoseThatLeft()
        }
        guard opening.remove(request) != nil else { return [] }
        return openNext()
    }

    /// A connection has carried its request, and can carry another one.
    ///
    /// - Parameters:
    ///   - connection: Its number.
    ///   - serverTime: How long the server keeps it idle, if it says so.
    ///   - now: The time.
    /// - Returns: What is to be done; nothing if the connection is idle now.
    package mutating func freed(
        _ connection: Int, serverTime: Duration?, at now: MonotonicInstant
    ) -> [Action] {
        let wasBusy = busy.remove(connection) != nil
        precondition(wasBusy, "OriginPool: a connection is freed that carries nothing")
        if lineStart < line.count, needingNew.contains(line[lineStart]) {
            return [.close(connection: connection)] + openNext()
        }
        if let request = takeNext() {
            busy.insert(connection)
            return [.send(request: request, connection: connection)]
        }
        let time = serverTime.map { min($0 - Self.margin, limits.idleTime) } ?? limits.idleTime
        guard time > .zero else { return [.close(connection: connection)] }
        idle.append(Idle(connection: connection, end: now.advanced(by: time)))
        return []
    }

    /// A connection is there no more.
    package mutating func lost(_ connection: Int) -> [Action] {
        if busy.remove(connection) == nil { idle.removeAll { $0.connection == connection } }
        return openNext()
    }

    /// When there is something to do for ``passed(_:)``.
    ///
    /// - Complexity: O(*n*) in the number of idle connections. Requests wait equally long, so that the
    ///   first of them is the first whose time ends.
    package var nextDeadline: MonotonicInstant? {
        var first = idle.first?.end
        for one in idle { if let end = first, one.end < end { first = one.end } }
        guard lineStart < line.count, let waiting = deadlines[line[lineStart]] else { return first }
        return first.map { min($0, waiting) } ?? waiting
    }

    /// Time has passed.
    package mutating func passed(_ now: MonotonicInstant) -> [Action] {
        var actions: [Action] = []
        for one in idle where one.end <= now { actions.append(.close(connection: one.connection)) }
        idle.removeAll { $0.end <= now }
        while lineStart < line.count, let deadline = deadlines[line[lineStart]], deadline <= now {
            actions.append(.expire(request: line[lineStart]))
            deadlines[line[lineStart]] = nil
            needingNew.remove(line[lineStart])
            skipThoseThatLeft()
        }
        return actions
    }

    /// Every idle connection is closed.
    package mutating func closeIdle() -> [Action] {
        defer { idle = [] }
        return idle.map { .close(connection: $0.connection) }
    }

    private mutating func openNext() -> [Action] {
        guard connectionCount < limits.connections, let request = takeNext() else { return [] }
        opening.insert(request)
        return [.open(request: request)]
    }

    /// The request that has waited longest leaves the line.
    private mutating func takeNext() -> Int? {
        guard lineStart < line.count else { return nil }
        let request = line[lineStart]
        deadlines[request] = nil
        needingNew.remove(request)
        skipThoseThatLeft()
        return request
    }

    /// Moves on to the first request of the line that still waits.
    private mutating func skipThoseThatLeft() {
        while lineStart < line.count, deadlines[line[lineStart]] == nil { lineStart += 1 }
        // At most half of it is behind, so that moving it is linear over all.
        guard lineStart > 32, 2 * lineStart > line.count else { return }
        line.removeFirst(lineStart)
        lineStart = 0
    }
}

extension OriginPool {
    package func checkInvariants() {
        require(connectionCount <= limits.connections, "OriginPool: more connections than allowed")
        require(
            deadlines.isEmpty || connectionCount == limits.connections,
            "OriginPool: a request waits though a connection may be made")
        require(
            needingNew.allSatisfy { deadlines[$0] != nil },
            "OriginPool: a request that does not wait needs a new connection")
        require(
            deadlines.isEmpty || idle.isEmpty,
            "OriginPool: a request waits beside an idle connection")
        require(
            lineStart == line.count || deadlines[line[lineStart]] != nil,
            "OriginPool: the line begins with a request that has left")
        require(
            busy.isDisjoint(with: idle.map(\.connection)),
            "OriginPool: a connection is idle and busy")
    }
}
