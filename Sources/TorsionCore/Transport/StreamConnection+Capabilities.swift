// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What some streams can do beside carrying bytes. Each is a capability of the stream, asked for at the
// seam; a stream that has none of them works all the same.

extension StreamConnection {
    // MARK: Descriptors

    /// Descriptors that the kernel has refused so far.
    var queuedDescriptorCount: Int { queue?.descriptorCount ?? 0 }

    /// Sends bytes with descriptors at once, behind what was coalesced.
    func send(_ bytes: RawSpan, passing descriptors: PassedDescriptors) {
        guard isPlain || mayWrite() else { return }
        reactor.performEvent {
            if !isPlain { flushLater() }
            place(bytes, passing: descriptors)
        }
        callProducer()
    }

    func place(_ bytes: RawSpan, passing descriptors: PassedDescriptors) {
        sendCoalesced()
        guard !isOver else { return }
        let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        unsafe bytes.withUnsafeBytes { bytes in
            var taken = 0
            if queue?.isEmpty ?? true {
                switch unsafe stream.tryWrite(bytes, passing: descriptors) {
                case .wrote(let count): taken = count
                case .failed(let code): return failed(code, "sendmsg", .write)
                }
            }
            guard taken < bytes.count else { return }
            // Behind its first byte nothing is left to pass.
            unsafe enqueue(
                none, bytes, owner: nil, taken: taken, passing: taken == 0 ? descriptors : nil)
        }
    }

    /// Asked of each protocol; most connections are not over UNIX sockets.
    func updateDescriptorReceiving() {
        guard withStream({ $0.passesDescriptors }) else { return }
        stream.receiveDescriptors(proto is any DescriptorReceiver)
    }

    // MARK: At the other end of a pipe

    /// Where what comes out of a pipe can go by itself: nothing is in hand that must leave before.
    var spliceEntrance: (any BackendStream)? {
        if case .pull = producer { return nil }
        let isEmpty = unsafe coalesced == nil && cork.pointee.owner != address
        guard isEmpty, queue?.isEmpty ?? true, acceptsWrites, !awaitsFilter
        else { return nil }
        return stream.spliceEntrance
    }

    /// So many bytes came in by ``spliceEntrance``.
    func tookSpliced(byteCount: Int, failure: ErrorCode?) {
        if byteCount > 0 {
            progress.hasProgressed = true
            extras?.observer?.didSend(byteCount: byteCount, of: self)
        }
        if let failure { failed(failure, "splice", .write) }
    }
}

extension StreamConnection: FileSendingConsumer {
    func sendFile(_ descriptor: Int32, at offset: Int64, byteCount: Int) -> SendFileResult {
        reactor.checkThread()
        // What was written before it leaves before it: a header, for example. The caller is the
        // producer, and learns from the result that it has to wait.
        sendCoalesced()
        guard queue?.isEmpty ?? true, acceptsWrites, !awaitsFilter else {
            reactor.performEvent { callProducer() }
            return .full
        }
        let result = stream.trySendFile(descriptor, at: offset, byteCount: byteCount)
        switch result {
        case .sent(let count):
            progress.hasProgressed = true
            extras?.observer?.didSend(byteCount: count, of: self)
        case .streamFailed(let code): failed(code, "sendfile", .write)
        case .full, .fileEnded, .fileFailed, .unsupported: break
        }
        return result
    }

    func awaitRoom() { if !machine.isClosed { stream.awaitRoom() } }
}
