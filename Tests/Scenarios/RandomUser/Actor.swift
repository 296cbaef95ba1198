// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore

/// A protocol that checks how it is called, and lets the random user act.
final class Actor: HalfCloseableProtocol {
    let keepsHalfOpen: Bool
    private let side: Side
    private unowned let user: RandomUser
    /// It takes over from another.
    private let isSuccessor: Bool

    init(_ side: Side, _ user: RandomUser, keepsHalfOpen: Bool, isSuccessor: Bool) {
        self.side = side
        self.user = user
        self.keepsHalfOpen = keepsHalfOpen
        self.isSuccessor = isSuccessor
        if !isSuccessor { side.mayBeClosedByPeer(isHalfCloseable: keepsHalfOpen) }
    }

    private func expect(_ condition: Bool, _ text: @autoclosure () -> String) {
        user.expect(condition, "\(side.name): \(text())")
    }

    func connectionMade(_ transport: any StreamTransport) throws {
        if isSuccessor {
            expect(side.life == .open && side.awaitsSwitch, "took over without a switch")
            side.awaitsSwitch = false
        } else {
            expect(side.life == .unmade, "connectionMade twice")
            side.life = .open
            side.transport = transport
            side.keeper = transport
        }
        side.current = self
        try user.actThrowing(in: isSuccessor ? .takeOver : .connectionMade, near: side)
        user.endIfOver(side)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        checkCurrent("data")
        expect(!side.isPaused, "data while paused")
        expect(!side.awaitsSwitch, "data for a protocol that gave way")
        expect(side.reads, "data after its own end")
        expect(!side.hasReadEnded || isSuccessor, "data behind the end")
        side.hasGivenBack = false
        if let wrong = side.receives.use(bytes) { user.note("\(side.name): \(wrong)") }
        try user.actThrowing(in: .dataReceived, near: side)
    }

    func readConnectionLost(from transport: any StreamTransport) throws {
        checkCurrent("the end")
        side.hasReadEnded = true
        checkEnd()
        try user.actThrowing(in: .readConnectionLost, near: side)
    }

    func writeConnectionLost(from transport: any StreamTransport) throws {
        checkCurrent("writeConnectionLost")
        expect(side.hasLostWriting, "writeConnectionLost without loseWriteConnection")
        try user.actThrowing(in: .writeConnectionLost, near: side)
    }

    func shutdownRequested(_ transport: any StreamTransport) {
        user.act(in: .shutdownRequested, near: side)
        user.end(side)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        checkCurrent("connectionLost")
        expect(side.producer == nil, "lost before its producer was stopped")
        side.life = .lost
        side.current = nil
        if why.isClean {
            if why == .closedByPeer, !side.isClosing, !side.hasAborted { checkEnd() }
        } else {
            expect(
                side.link.mayBreak || user.allowsBreak(), "lost by \(why), which nobody asked for")
        }
        user.act(in: .connectionLost, near: side)
        // A program lets its transport go when it is over.
        side.transport = nil
    }

    private func checkCurrent(_ what: String) {
        expect(side.life == .open && side.current === self, "\(what) for another protocol")
    }

    private func checkEnd() {
        guard !user.allowsFalseEnd(), let wrong = side.receives.end() else { return }
        user.note("\(side.name): \(wrong)")
    }
}

/// A push producer that writes when it may, and acts when it is called.
final class RandomPush: PushProducer {
    private let side: Side
    private unowned let user: RandomUser
    /// Writes on and on until it is paused.
    private let loops: Bool
    private var isPaused = false

    init(_ side: Side, _ user: RandomUser, loops: Bool) {
        self.side = side
        self.user = user
        self.loops = loops
    }

    private var isRegistered: Bool { side.producer === self }

    /// Writes a piece, or until it is paused.
    func produce() {
        repeat {
            guard isRegistered, !isPaused, let transport = side.transport,
                let count = user.nextPiece(of: side)
            else { return }
            transport.write(side.bytesToWrite(count))
            user.expect(
                !isRegistered || isPaused || transport.pendingByteCount <= side.highestMark,
                "\(side.name): a producer was not paused by the write that passed the mark")
        } while loops
    }

    func pauseProducing() {
        user.expect(isRegistered, "\(side.name): a producer was paused that is not registered")
        user.expect(!isPaused, "\(side.name): a producer was paused twice")
        isPaused = true
        user.act(in: .pauseProducing, near: side)
    }

    func resumeProducing() {
        user.expect(isRegistered, "\(side.name): a producer was resumed that is not registered")
        user.expect(isPaused, "\(side.name): a producer was resumed that was not paused")
        isPaused = false
        produce()
        user.act(in: .resumeProducing, near: side)
    }

    func stopProducing() {
        user.expect(isRegistered, "\(side.name): a producer was stopped that is not registered")
        side.producer = nil
        side.mayBeStopped()
        user.act(in: .stopProducing, near: side)
    }
}

/// A pull producer that writes one piece each time, and then acts.
final class RandomPull: PullProducer {
    private let side: Side
    private unowned let user: RandomUser

    init(_ side: Side, _ user: RandomUser) {
        self.side = side
        self.user = user
    }

    func produceMore() {
        user.expect(
            side.producer === self, "\(side.name): a producer was asked that is not registered")
        if let transport = side.transport ?? side.keeper {
            if let count = user.nextPiece(of: side) {
                transport.write(side.bytesToWrite(count))
            } else {
                side.producer = nil
                transport.unregisterProducer()
            }
        }
        user.act(in: .produceMore, near: side)
    }

    func stopProducing() {
        user.expect(
            side.producer === self, "\(side.name): a producer was stopped that is not registered")
        side.producer = nil
        side.mayBeStopped()
        user.act(in: .stopProducing, near: side)
    }
}
