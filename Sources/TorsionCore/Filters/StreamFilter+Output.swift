// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension StreamFilter {
    @inline(never)
    final func sendOtherwise(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0, stage == .open || stage == .handshaking else { return }
        if let output, !output.isEmpty { return unsafe output.append(copying: bytes) }
        guard extra?.sendFailure == nil else { return }
        unsafe finishSending(bytes, withBelow { unsafe $0.tryWrite(bytes) })
    }

    /// What the stream below did not take waits here.
    @inline(never)
    final func finishSending(_ bytes: UnsafeRawBufferPointer, _ result: WriteResult) {
        switch result {
        case .wrote(let count):
            guard count < bytes.count else { return }
            flags.remove(.isPlain)
            let output = output ?? WriteQueue(countedIn: owner.queues)
            self.output = output
            unsafe output.append(copying: UnsafeRawBufferPointer(rebasing: bytes[count...]))
            below.startWriting(from: output)
        case .failed(let code):
            extras.sendFailure = code
            if call == .transmitting { return }
            fail(IOError(.write, function: "send", code: code, subject: peerAddress))
        }
    }

    /// Not inlined, so that a filter that passes everything saves fewer registers.
    @inline(never)
    final func transmitAtOnce(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        guard flags.contains(.isPlain), bytes.count <= Self.smallByteCount else {
            return unsafe transmitOtherwise(bytes)
        }
        // Nearly always one piece, which is used.
        let outer = call
        call = .transmitting
        let used = unsafe transmitPiece(bytes)
        call = outer
        if used == bytes.count, flags.contains(.isPlain) { return .wrote(used) }
        return unsafe finishTransmitting(bytes, used)
    }

    @inline(never)
    final func transmitOtherwise(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        guard stage == .open, !isSending, extra?.failure == nil else { return .wrote(0) }
        return transmitting { unsafe transmitSome(bytes) }
    }

    /// What one call of ``transmit(_:)`` has left.
    @inline(never)
    final func finishTransmitting(
        _ bytes: UnsafeRawBufferPointer, _ used: Int
    ) -> WriteResult {
        transmitting {
            guard used > 0, used < bytes.count else { return used }
            return unsafe used + transmitPieces(UnsafeRawBufferPointer(rebasing: bytes[used...]))
        }
    }

    /// Inside a call of the connection's, which looks at its result.
    @inline(__always)
    final func transmitting(_ body: () -> Int) -> WriteResult {
        let outer = call
        call = .transmitting
        let used = body()
        call = outer
        if let code = extra?.sendFailure { return .failed(code) }
        return .wrote(used)
    }

    /// Offers bytes of the connection's to ``transmit(_:)`` as long as it uses some.
    ///
    /// What the stream below does not take of one piece is all that a filter holds, however much is
    /// written.
    final func transmitSome(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard bytes.count <= Self.smallByteCount else { return unsafe transmitPieces(bytes) }
        let used = unsafe transmitPiece(bytes)
        if used == bytes.count || used == 0 { return used }
        return unsafe used + transmitPieces(UnsafeRawBufferPointer(rebasing: bytes[used...]))
    }

    @inline(never)
    final func transmitPieces(_ bytes: UnsafeRawBufferPointer) -> Int {
        let limit = max(transmitLimitBytes, Self.smallByteCount)
        var used = 0
        while used < bytes.count, !isSending, extra?.sendFailure == nil {
            let piece = unsafe UnsafeRawBufferPointer(rebasing: bytes[used...].prefix(limit))
            let count = unsafe transmitPiece(piece)
            if count == 0 { break }
            used += count
        }
        return used
    }

    /// So many bytes are one piece, whatever ``transmitLimitBytes`` says.
    static let smallByteCount = 4 * 1024

    @inline(__always)
    final func transmitPiece(_ piece: UnsafeRawBufferPointer) -> Int {
        do {
            let count = unsafe try transmit(piece.bytes)
            if count < 0 || count > piece.count { usedTooMuch(count, of: piece.count) }
            return count
        } catch {
            transmittingFailed(error)
            return 0
        }
    }

    @inline(never)
    final func usedTooMuch(_ count: Int, of byteCount: Int) -> Never {
        mistake("StreamFilter: transmit(_:) used \(count) of \(byteCount) bytes")
    }

    @inline(never)
    final func transmittingFailed(_ error: any Error) {
        extras.failure = error
        deliverLater()
    }

    /// Taken out for the call: calling a stored reference would retain it first.
    ///
    /// For calls that never lead back here.
    @inline(__always)
    final func withBelow<Result>(_ body: (any BackendStream) -> Result) -> Result {
        guard let current = below.take() else { mistake("StreamFilter: used in its own call") }
        let result = body(current)
        unsafe withUnsafeMutablePointer(to: &below) {
            unsafe $0.initialize(to: consume current)
        }
        return result
    }

    /// Goes on with the connection's queue.
    final func pump() {
        while stage == .open, !isSending, let queue = upper {
            guard !queue.isEmpty else { return upper = nil }
            let outer = call
            call = .transmitting
            let count = unsafe queue.withHead { runs in unsafe transmitSome(runs[0]) }
            call = outer
            if let code = extra?.sendFailure { return sendFailed(code) }
            guard count > 0 else { return }
            above?.streamDidWrite(byteCount: count)
        }
        if upper?.isEmpty ?? false { upper = nil }
    }

    final func sendFailed(_ code: ErrorCode) {
        upper = nil
        fail(IOError(.write, function: "send", code: code, subject: peerAddress))
    }

    final func outputHasLeft() {
        if writeEnd == .behindOutput {
            writeEnd = .ended
            guard let code = below.shutdownWriting() else { return }
            return fail(IOError(.shutdown, function: "shutdown", code: code, subject: peerAddress))
        }
        if stage == .withdrawn { return reportAgreement() }
        updatePlainness()
        pump()
        // A close waits until nothing is held.
        if stage == .open, upper == nil, !isSending { above?.streamHasRoom() }
    }
}
