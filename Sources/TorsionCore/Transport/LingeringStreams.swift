// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What a close does. The kernel goes on to send what it took of a socket that was closed, for
// minutes if need be. But it resets such a socket, and destroys what has not left, if input is
// unread at the close, or if the peer sends anything afterwards (RFC 9293 §3.10.7.1, RFC 1122
// §4.2.2.13). Whether the peer will is not knowable. Measured over loopback: with one byte unread
// 0 of 10 answers arrived whole; with writing shut down, and input discarded until the peer's kernel
// had acknowledged everything (`SIOCOUTQ`), 10 of 10.
//
// So a connection that was closed here is over for its protocol as soon as the kernel has its last
// byte, and its stream comes here. It is read, and what it brings is dropped. It ends
//
// - at the peer's FIN: nothing can arrive any more, and the kernel does the rest;
// - a second after everything was acknowledged, or after 256 KiB more: by then a peer's program has
//   read the answer, or is one that sends for ever;
// - five seconds after the last progress. Progress is that the peer acknowledges: what it sends is
//   none. A peer that takes what was sent, however slowly, is waited for as long as it does.
//
// What ends is read empty and closed plainly. It is not reset, since the kernel may still deliver,
// unless the peer has to see that what it got is not the whole: then as soon as it has got that.

/// The streams of connections that were closed here, until their peers have what was sent.
///
/// Above the seam, for every backend. No protocol knows of it, and a stop waits for none: only the
/// end of a run gives a few of them time, see ``beginEnd()``.
final class LingeringStreams {
    /// What is known of a stream that comes here.
    struct State {
        /// The peer has sent something since the close began.
        var hasInput = false
        /// Nothing can arrive any more: it lingers only because it owes output.
        var hasInputEnded = false
        /// The peer is to see a reset at its end.
        var endsInReset = false
    }

    /// How often each is asked for what its peer has not acknowledged.
    private static let interval = Duration.milliseconds(250)
    private static let mostStreams = 1_024
    /// How long one may make no progress, and how long those of a run's end are waited for.
    static let drainTimeout = Duration.seconds(5)

    private unowned let reactor: Reactor
    private var streams: [LingeringStream] = []
    private var timer: DelayedCall?
    /// How many there may be; asked of the backend when so many are reached.
    private var limit = 0
    private var isRunEnding = false

    init(reactor: Reactor) { self.reactor = reactor }

    var count: Int { streams.count }

    fileprivate var now: MonotonicInstant { reactor.presentTime }

    /// Takes over a stream that has written its last byte.
    ///
    /// Outside of the stream's callbacks.
    func take(_ stream: any BackendStream, _ state: State) {
        if streams.count >= limit { makeRoomForOne() }
        let lingering = LingeringStream(stream, state, in: self, at: streams.count)
        streams.append(lingering)
        stream.deliver(to: lingering)
        if state.hasInputEnded { stream.stopReading() } else { stream.startReading() }
        // Most peers have acknowledged by now what was written in time, and are not kept waiting.
        if state.endsInReset, lingering.isOver(at: now) { return end(lingering) }
        if timer == nil { timer = reactor.callLater(Self.interval) { [unowned self] in tick() } }
    }

    private func tick() {
        timer = nil
        for stream in streams where stream.isOver(at: now) { end(stream) }
        if isRunEnding { beginEnd() }
        guard !streams.isEmpty, timer == nil else { return }
        timer = reactor.callLater(Self.interval) { [unowned self] in tick() }
    }

    /// Closes it plainly, behind a last read if there may be something to read.
    fileprivate func end(_ lingering: LingeringStream) {
        guard let stream = lingering.stream.take() else { return }
        remove(lingering)
        if lingering.state.endsInReset { return stream.reset() }
        if !lingering.state.hasInputEnded { stream.discardInput() }
        stream.close()
    }

    private func remove(_ lingering: LingeringStream) {
        let last = streams.removeLast()
        if last !== lingering {
            streams[lingering.index] = last
            last.index = lingering.index
        }
        guard streams.isEmpty else { return }
        timer?.cancel()
        timer = nil
    }

    // MARK: Bounds

    private func makeRoomForOne() {
        limit = Self.mostStreams
        if let descriptors = reactor.backend.descriptorLimit {
            limit = min(limit, max(1, descriptors / 4))
        }
        if streams.count >= limit { makeRoom() }
    }

    /// Closes some of them for their descriptors: those whose peers have everything, else the
    /// quarter that has waited longest for progress.
    ///
    /// - Returns: How many were closed, zero only if there are none.
    @discardableResult
    func makeRoom() -> Int {
        for stream in streams { stream.look(at: now) }
        var chosen = streams.filter { $0.unsentByteCount == 0 }
        if chosen.isEmpty {
            let waiting = streams.sorted { $0.quietSince < $1.quietSince }
            chosen = Array(waiting.prefix((streams.count + 3) / 4))
        }
        for stream in chosen { end(stream) }
        return chosen.count
    }

    // MARK: The end of a run

    /// Closes those that lose nothing by it: the peer has everything, or has sent nothing since the
    /// close, so that the kernel will most likely deliver what it has.
    func beginEnd() {
        isRunEnding = true
        for stream in streams {
            stream.look(at: now)
            if stream.unsentByteCount == 0 || stream.isSafe { end(stream) }
        }
    }

    /// Closes all.
    func endAll() {
        for stream in streams { end(stream) }
        isRunEnding = false
    }

    func checkInvariants() {
        require((timer != nil) == !streams.isEmpty, "LingeringStreams: nobody looks after them")
        for (index, stream) in streams.enumerated() {
            require(
                stream.index == index && stream.stream != nil,
                "LingeringStreams: one is in the wrong place")
        }
    }
}

/// One of them.
private final class LingeringStream: StreamReceiver {
    /// What may still be dropped of a peer that has everything, and how often one that has not is
    /// asked for.
    private static let byteCountBetweenLooks = 256 * 1024
    /// How long one whose peer has everything is kept.
    private static let timeBehindAll = Duration.seconds(1)

    var stream: (any BackendStream)?
    private unowned let owner: LingeringStreams
    var index: Int
    /// What the peer had not acknowledged when it was asked for last; nil if that is not known.
    private(set) var unsentByteCount: Int?
    /// The time of the last progress.
    private(set) var quietSince: MonotonicInstant
    private var discardedByteCount = 0
    private(set) var state: LingeringStreams.State

    init(
        _ stream: any BackendStream, _ state: LingeringStreams.State, in owner: LingeringStreams,
        at index: Int
    ) {
        self.stream = stream
        self.state = state
        self.owner = owner
        self.index = index
        quietSince = owner.now
        unsentByteCount = .max
    }

    /// Whether the kernel most likely delivers what it has when it is closed now.
    var isSafe: Bool {
        !state.hasInput && !state.endsInReset && !(stream?.hasUnsentOutput ?? false)
    }

    /// Asks what the peer has not acknowledged.
    func look(at now: MonotonicInstant) {
        let count = stream?.unsentByteCount
        if let count, let before = unsentByteCount, count < before {
            quietSince = now
            if count == 0 { discardedByteCount = 0 }
        }
        unsentByteCount = count
    }

    /// Asks the same, and whether that was long enough.
    func isOver(at now: MonotonicInstant) -> Bool {
        look(at: now)
        if state.endsInReset {
            if unsentByteCount == 0 { return true }
        } else if state.hasInputEnded, !(stream?.hasUnsentOutput ?? false) {
            return true
        }
        let limit = unsentByteCount == 0 ? Self.timeBehindAll : LingeringStreams.drainTimeout
        return quietSince.advanced(by: limit) <= now
    }

    func streamDidRead(_ bytes: RawSpan) {
        state.hasInput = true
        discardedByteCount += bytes.byteCount
        guard discardedByteCount >= Self.byteCountBetweenLooks else { return }
        if unsentByteCount == 0 { return owner.end(self) }
        discardedByteCount = 0
        look(at: owner.now)
    }

    func streamDidReadEnd() {
        state.hasInputEnded = true
        if !state.endsInReset, !(stream?.hasUnsentOutput ?? false) { owner.end(self) }
    }

    func streamDidFail(_ error: any Error) {
        state.hasInputEnded = true
        owner.end(self)
    }

    func streamDidConnect() { mistake("LingeringStreams: connected twice") }

    /// Nothing is queued any more: the stream's own output, if it owes some, is not reported.
    func streamDidWrite(byteCount: Int) {}
}
