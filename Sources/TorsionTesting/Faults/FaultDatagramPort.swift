// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A port for datagrams that fails, takes fewer than it was offered, or is late, by its backend's
/// plan.
final class FaultDatagramPort {
    private let inner: any BackendDatagramPort
    private unowned let backend: FaultBackend
    private var receiver: (any DatagramReceiver)?
    private var isReceiving = false
    private var isReportedLater = false

    init(_ backend: FaultBackend, _ inner: any BackendDatagramPort) {
        self.backend = backend
        self.inner = inner
    }

    /// What the core does not get now stays with the inner port, which must not deliver it at once.
    private func resumeLater() {
        inner.stopReceiving()
        guard !isReportedLater else { return }
        isReportedLater = true
        backend.tellLater(self)
    }
}

extension FaultDatagramPort: DelayedReporting {
    func reportDelayed() {
        isReportedLater = false
        if isReceiving, receiver != nil { inner.startReceiving() }
    }
}

extension FaultDatagramPort: BackendDatagramPort {
    var localAddress: SocketAddress { inner.localAddress }

    var peerAddress: SocketAddress? { inner.peerAddress }

    func deliver(to receiver: any DatagramReceiver) {
        self.receiver = receiver
        inner.deliver(to: self)
    }

    func connect(to peer: SocketAddress) throws(IOError) {
        if let code = backend.plan.failure(of: .connect) {
            throw IOError(.connect, function: "connect", code: code, subject: peer)
        }
        try inner.connect(to: peer)
    }

    func startReceiving() {
        isReceiving = true
        if !isReportedLater { inner.startReceiving() }
    }

    func stopReceiving() {
        isReceiving = false
        inner.stopReceiving()
    }

    func trySend(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> DatagramSendResult {
        if let code = backend.plan.failure(of: .send) { return .failed(code) }
        let limit = backend.plan.writeLimit(datagrams.count)
        guard limit > 0 else { return .sent(0) }
        return unsafe inner.trySend(UnsafeBufferPointer(rebasing: datagrams[..<limit]))
    }

    func awaitRoom() { inner.awaitRoom() }

    func join(_ group: MulticastGroup) throws(IOError) { try inner.join(group) }

    func leave(_ group: MulticastGroup) throws(IOError) { try inner.leave(group) }

    func close() {
        receiver = nil
        inner.close()
    }
}

extension FaultDatagramPort: DatagramReceiver {
    func portDidReceive(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> Int {
        if let code = backend.plan.failure(of: .receive) {
            resumeLater()
            let subject = "\(localAddress)"
            receiver?.portDidFail(
                IOError(.read, function: "recvmmsg", code: code, subject: subject))
            return 0
        }
        let limit = backend.plan.isLate ? 0 : backend.plan.readLimit(datagrams.count)
        if limit < datagrams.count { resumeLater() }
        guard limit > 0, let receiver else { return 0 }
        return unsafe receiver.portDidReceive(UnsafeBufferPointer(rebasing: datagrams[..<limit]))
    }

    func portCanSend() { receiver?.portCanSend() }

    func portDidFail(_ error: IOError) { receiver?.portDidFail(error) }
}
