// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// One end of a pipe in memory, both of whose ends belong to one reactor: what a played child has in
/// place of the kernel's.
///
/// It holds as much as a pipe of Linux does, and what happens to one end is reported to the other in a
/// later turn.
final class MemoryStream {
    /// Which of the two ends may write.
    enum Direction { case toChild, fromChild, both }

    /// What a pipe holds: pipe(7).
    private static let capacity = 65_536

    private let reactor: Reactor
    private let name: String
    private let mayWrite: Bool
    private weak var peer: MemoryStream?
    private var receiver: (any StreamReceiver)?
    /// What has arrived, and was not delivered.
    private var arrived: [UInt8] = []
    private var hasPeerEnded = false
    private var isEndDelivered = false
    private var isReading = false
    private var isOpen = true
    private var hasShutDown = false
    private var isScheduled = false
    private var queue: WriteQueue?

    private init(on reactor: Reactor, _ name: String, mayWrite: Bool) {
        self.reactor = reactor
        self.name = name
        self.mayWrite = mayWrite
    }

    /// Two ends, which go by one name.
    static func pair(
        on reactor: Reactor, _ direction: Direction, _ name: String
    ) -> (parent: MemoryStream, child: MemoryStream) {
        let parent = MemoryStream(on: reactor, name, mayWrite: direction != .fromChild)
        let child = MemoryStream(on: reactor, name, mayWrite: direction != .toChild)
        parent.peer = child
        child.peer = parent
        return (parent, child)
    }

    private var room: Int { peer.map { Self.capacity - $0.arrived.count } ?? 0 }

    private var isWritable: Bool {
        guard mayWrite, !hasShutDown, let peer else { return false }
        return peer.isOpen
    }

    private func schedule() {
        guard !isScheduled, isOpen else { return }
        isScheduled = true
        reactor.callLater(.zero) { [weak self] in self?.step() }
    }

    private func step() {
        isScheduled = false
        guard isOpen else { return }
        writeQueue()
        guard isOpen, isReading else { return }
        if !arrived.isEmpty {
            let bytes = Bytes(arrived)
            arrived = []
            peer?.roomWasMade()
            receiver?.streamDidRead(bytes.span)
            if isOpen, hasPeerEnded { schedule() }
        } else if hasPeerEnded, !isEndDelivered {
            isEndDelivered = true
            isReading = false
            receiver?.streamDidReadEnd()
        }
    }

    private func roomWasMade() { if queue != nil { schedule() } }

    private func writeQueue() {
        guard let queue, !queue.isEmpty else { return }
        guard isWritable else {
            self.queue = nil
            receiver?.streamDidFail(IOError(.write, function: "write", code: .brokenPipe))
            return
        }
        let count = queue.withHead { runs in runs.reduce(0) { $0 + take($1) } }
        guard count > 0 else { return }
        receiver?.streamDidWrite(byteCount: count)
        if self.queue?.isEmpty ?? true { self.queue = nil } else if room > 0 { schedule() }
    }

    /// Moves what there is room for to the other end.
    private func take(_ bytes: UnsafeRawBufferPointer) -> Int {
        let count = min(room, bytes.count)
        guard count > 0, let peer else { return 0 }
        peer.arrived.append(contentsOf: bytes.prefix(count))
        if peer.isReading { peer.schedule() }
        return count
    }

    private func endPeer() {
        peer?.hasPeerEnded = true
        peer?.schedule()
    }
}

extension MemoryStream: BackendStream {
    var peerAddress: SocketAddress { .descriptor(name) }

    var localAddress: SocketAddress { .descriptor(name) }

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }

    func startReading() {
        isReading = true
        if !arrived.isEmpty || hasPeerEnded { schedule() }
    }

    func stopReading() { isReading = false }

    var hasUnreadInput: Bool { !arrived.isEmpty }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        guard isWritable else { return .failed(.brokenPipe) }
        let count = take(first)
        return .wrote(count < first.count ? count : count + take(second))
    }

    func startWriting(from queue: WriteQueue) {
        self.queue = queue
        if room > 0 || !isWritable { schedule() }
    }

    func shutdownWriting() -> ErrorCode? {
        guard mayWrite, !hasShutDown else { return nil }
        hasShutDown = true
        endPeer()
        // A stream of output alone is over then.
        if peer?.mayWrite == false {
            hasPeerEnded = true
            schedule()
        }
        return nil
    }

    var needsDraining: Bool { false }

    func close() {
        isOpen = false
        receiver = nil
        queue = nil
        endPeer()
    }

    func reset() { close() }
}
