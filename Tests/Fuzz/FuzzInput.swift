// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore

/// What the fuzzer made: a choice, cuts, and the bytes of a stream.
///
/// The first byte chooses, for example among formats. The second says how many of the following
/// are lengths of pieces, which are used in turn; a length of 0 stands for the whole rest. What
/// follows is the stream. So the fuzzer finds every cut by changing single bytes.
struct FuzzInput {
    let choice: Int
    let stream: [UInt8]
    private let pieceByteCounts: [Int]

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 2 else { return nil }
        choice = Int(bytes[0])
        let first = min(2 + Int(bytes[1] & 15), bytes.count)
        pieceByteCounts = bytes[2..<first].map { Int($0) }
        stream = Array(bytes[first...])
    }

    /// The stream in its pieces.
    var pieces: [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var start = 0
        while start < stream.count {
            let turn =
                pieceByteCounts.isEmpty ? 0 : pieceByteCounts[pieces.count % pieceByteCounts.count]
            let end = turn == 0 ? stream.count : min(start + turn, stream.count)
            pieces.append(stream[start..<end])
            start = end
        }
        return pieces
    }
}

/// What a decoder made of a stream.
struct FuzzOutcome: Equatable {
    var frames: [[UInt8]] = []
    var error: String?
}

/// Decodes the stream whole and in pieces, and holds both to the same outcome.
///
/// `make`: A fresh decoder: what it holds; its `takePartial`, which the callback touches, since it
///     may, and exclusivity is checked in optimised builds too; and its `decode`.
/// `mostHeld`: What it may hold between two calls.
func expectSameFrames(
    _ input: FuzzInput, mostHeld: Int,
    _ make: () -> (
        held: () -> Int, take: () -> Bytes,
        decode: (RawSpan, (RawSpan) throws -> Bool) throws -> Int
    )
) {
    func outcome(of pieces: [ArraySlice<UInt8>], stopsAt stop: Int) -> FuzzOutcome {
        let decoder = make()
        var outcome = FuzzOutcome()
        var shownByteCount = 0
        do {
            for piece in pieces {
                var rest = Bytes(Array(piece))
                while !rest.isEmpty {
                    let before = outcome.frames.count
                    let used = try decoder.decode(rest.span) { frame in
                        outcome.frames.append([UInt8](frame))
                        shownByteCount += frame.byteCount
                        expect(decoder.take().isEmpty, "a frame is held while it is shown")
                        return outcome.frames.count % stop != 0
                    }
                    // A message whose end shows in the byte behind it uses none of that.
                    let hasProgressed = used > 0 || outcome.frames.count > before
                    expect(hasProgressed, "a call used none of \(rest.count) bytes")
                    rest = rest[used...]
                    expect(decoder.held() <= mostHeld, "\(decoder.held()) bytes are held")
                }
            }
        } catch {
            outcome.error = "\(error)"
        }
        expect(shownByteCount <= input.stream.count, "more was shown than came")
        return outcome
    }
    let whole = outcome(of: [input.stream[...]], stopsAt: .max)
    let cut = outcome(of: input.pieces, stopsAt: 2)
    // A frame in front of one that breaks the format is shown in both; where a limit is met depends
    // on what is known so far, so that errors are compared by whether there is one.
    expect(whole.frames == cut.frames, "\(whole) differs from \(cut)")
    expect((whole.error == nil) == (cut.error == nil), "\(whole) differs from \(cut)")
}

/// Ends the run with a sentence, as a trap in the decoder would.
func expect(_ condition: Bool, _ complaint: @autoclosure () -> String) {
    if !condition { fatalError(complaint()) }
}
