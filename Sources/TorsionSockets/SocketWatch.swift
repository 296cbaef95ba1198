// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
@_spi(Backend) internal import TorsionCore

/// A descriptor of somebody else's that is watched.
final class SocketWatch: PollTarget, BackendWatch {
    private unowned(unsafe) let backend: SocketBackend
    private var receiver: (any WatchReceiver)?
    private var interest: Readiness
    private var isRegistered = false

    init(
        backend: SocketBackend, descriptor: Int32, interest: Readiness,
        receiver: any WatchReceiver
    ) throws(IOError) {
        self.backend = backend
        self.interest = interest
        self.receiver = receiver
        super.init(descriptor: descriptor)
        if let code = register() {
            throw IOError(
                .watch, function: "epoll_ctl", code: code, subject: "descriptor \(descriptor)")
        }
        backend.openHandleCount += 1
    }

    override func watchWasRefused(_ code: ErrorCode) {
        if !isRegistered { receiver?.watchDidFail(code) }
    }

    override func ready(_ events: PollEvents) {
        guard let receiver else { return }
        // Somebody closed the descriptor behind our back: reported for ever, if it is not ended.
        if fcntl(descriptor, F_GETFD) < 0 {
            return receiver.watchDidFail(ErrorCode(errno: errno))
        }
        var found: Readiness = []
        if events.contains(.readable) { found.insert(.readable) }
        if events.contains(.writable) { found.insert(.writable) }
        // An error or a hang-up is found by reading or writing, whichever was asked for.
        if !events.isDisjoint(with: [.error, .hangUp, .disconnected]) { found = interest }
        found.formIntersection(interest)
        if !found.isEmpty { receiver.watchDidBecomeReady(found) }
    }

    func update(_ interest: Readiness) {
        guard receiver != nil, interest != self.interest else { return }
        self.interest = interest
        backend.forgetRefusal(of: self)
        if interest.isEmpty {
            unregister()
        } else if isRegistered {
            backend.poller.update(self, for: PollEvents(interest))
        } else if let code = register() {
            backend.refuse(self, code)
        }
    }

    func close() {
        precondition(receiver != nil, "BackendWatch: closed twice")
        unregister()
        backend.forgetRefusal(of: self)
        receiver = nil
        backend.openHandleCount -= 1
    }

    private func register() -> ErrorCode? {
        guard !interest.isEmpty else { return nil }
        if let code = backend.poller.add(self, for: PollEvents(interest)) { return code }
        isRegistered = true
        return nil
    }

    private func unregister() {
        if isRegistered { backend.poller.remove(self) }
        isRegistered = false
    }
}

extension PollEvents {
    init(_ readiness: Readiness) {
        self = []
        if readiness.contains(.readable) { insert(.readable) }
        if readiness.contains(.writable) { insert(.writable) }
    }
}
