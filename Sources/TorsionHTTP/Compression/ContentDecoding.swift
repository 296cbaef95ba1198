// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Stands between a body as it comes and the one that the program reads, and takes the compression off.
///
/// A piece is asked for when everything of the one before was delivered, and inflated as far as a small
/// buffer has room: however much a piece becomes, no more than that is held, and nothing is made while
/// the program wants nothing.
final class ContentDecoding: BodyCarrier {
    let reactor: Reactor
    private let coding: ContentCoding
    private let inflater: Inflater
    /// The body as it comes; `nil` when that is over.
    private var source: HTTPBody?
    private weak var body: HTTPBody?
    /// Held while somebody reads it, who need not hold it.
    private var bodyInUse: HTTPBody?
    /// What has come and was not inflated, and whether the inflater may have more of what was.
    private var piece = Bytes()
    private var mayHaveMore = false
    private var asking: AnyDeferred?
    private var isWorking = false
    private var isPlanned = false
    private var isWhole = false

    private static let roomByteCount = 16 * 1024

    private init(_ source: HTTPBody, _ coding: ContentCoding, _ inflater: Inflater) {
        self.source = source
        self.coding = coding
        self.inflater = inflater
        reactor = source.reactor
    }

    /// - Returns: The body without its compression.
    static func body(of source: HTTPBody, _ coding: ContentCoding) -> HTTPBody {
        guard let inflater = Inflater(coding.form) else {
            return HTTPBody(failed: ContentCodingError.noMemory, on: source.reactor)
        }
        let decoding = ContentDecoding(source, coding, inflater)
        let body = HTTPBody(decoding, isEmpty: false)
        decoding.body = body
        return body
    }

    // MARK: The program

    func bodyWasAskedFor() { continueInput() }

    func continueInput() {
        holdBody()
        guard !isWorking, !isPlanned, body?.accepts ?? false else { return }
        isPlanned = true
        // In a turn of its own: whoever asks does not find the bytes inside of it.
        reactor.callLater(.zero) { [self] in
            isPlanned = false
            goOn()
        }
    }

    func bodyWasDropped() { leaveSource() }

    private func holdBody() {
        guard let body else { return bodyInUse = nil }
        bodyInUse = body.isRead ? body : nil
    }

    /// What is left of the source is its connection's affair.
    private func leaveSource() {
        let (asked, left) = (asking, source)
        (asking, source) = (nil, nil)
        asked?.cancel()
        withExtendedLifetime(left) {}
    }

    // MARK: What comes

    private func goOn() {
        guard !isWorking else { return }
        isWorking = true
        defer { isWorking = false }
        while let body, body.accepts, source != nil, asking == nil {
            guard !piece.isEmpty || mayHaveMore else {
                ask()
                continue
            }
            do throws(ContentCodingError) {
                let bytes = try inflate()
                if !bytes.isEmpty { body.receive(bytes.span) }
                holdBody()
            } catch {
                fail(error)
            }
        }
    }

    private func ask() {
        guard let source else { return }
        let link = source.nextPiece().addBoth { [self] (outcome: Result<Bytes?, any Error>) in
            asking = nil
            guard self.source != nil else { return }
            switch outcome {
            case .success(let next?):
                piece = next
                goOn()
            case .success(nil): end(source.trailers)
            case .failure(let error): fail(error)
            }
        }
        if link.isPending { asking = link }
    }

    /// Makes of the present piece what there is room for.
    private func inflate() throws(ContentCodingError) -> Bytes {
        if isWhole {
            // Streams of gzip may stand one behind the other: RFC 1952 §2.2.
            guard coding == .gzip else { throw .malformed(coding) }
            inflater.reset()
            isWhole = false
        }
        var progress = DeflateProgress()
        let input = piece
        let bytes = Bytes(capacity: Self.roomByteCount) { output in
            output.withUnsafeMutableBytes { room, written in
                progress = unsafe inflater.add(input.span, into: room)
                written = progress.writtenByteCount
            }
        }
        piece = piece[progress.usedByteCount...]
        mayHaveMore = bytes.count == Self.roomByteCount
        switch progress.state {
        case .more, .boundary: break
        case .end: (isWhole, mayHaveMore) = (true, false)
        case .malformed: throw .malformed(coding)
        case .noMemory: throw .noMemory
        }
        return bytes
    }

    private func end(_ trailers: FieldList) {
        guard isWhole else { return fail(ContentCodingError.truncated(coding)) }
        source = nil
        guard let body else { return }
        bodyInUse = nil
        body.trailers = trailers
        body.end()
    }

    private func fail(_ error: any Error) {
        leaveSource()
        let body = body
        (bodyInUse, piece) = (nil, Bytes())
        body?.fail(error)
    }
}
