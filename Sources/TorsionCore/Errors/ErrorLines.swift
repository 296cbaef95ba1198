// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Nobody may be reading standard error, or slowly: a write to a full pipe or a stopped terminal
// blocks, and a reactor that blocks serves nobody and hears no signal. So a line that cannot be
// written at once is left out and counted, and so is what would only fill a disk.

/// Which of a reactor's lines go to standard error: one for each episode of the same trouble, at
/// most ten a second, and how many were left out.
///
/// Decides only; the caller writes, and says whether it could.
struct ErrorLines {
    /// Beyond these, lines are counted only.
    static let linesPerSecond = 10
    /// The same line is written again after so long, if the trouble lasts.
    static let episode = Duration.seconds(10)
    /// `PIPE_BUF`, up to which a pipe takes a line whole or not at all, less room for the count.
    static let lineLimitBytes = 4_000

    private var latest = ""
    private var latestTime = MonotonicInstant(nanoseconds: 0)
    private var secondBegan = MonotonicInstant(nanoseconds: 0)
    private var countInSecond = 0
    /// Lines that were left out since one was written.
    private(set) var omittedCount = 0

    /// Writes a line, or counts it.
    ///
    /// - Parameters:
    ///   - line: Without its end. A line break inside becomes a space, and other characters that a
    ///     terminal obeys are escaped: an error may quote its peer.
    ///   - head: Written before it, and no part of what makes it the same as another: the time and the
    ///     process. Asked for only if the line is to be written.
    ///   - now: The reactor's time.
    ///   - write: Writes all of a text, which ends in a line break, or nothing, without waiting.
    mutating func add(
        _ line: String, headedBy head: @autoclosure () -> String = "", at now: MonotonicInstant,
        write: (String) -> Bool
    ) {
        if secondBegan.advanced(by: .seconds(1)) <= now {
            secondBegan = now
            countInSecond = 0
        }
        let isRepeated = line == latest && now < latestTime.advanced(by: Self.episode)
        guard !isRepeated, countInSecond < Self.linesPerSecond,
            write(count + Self.trimmed(head() + line))
        else {
            omittedCount += 1
            return
        }
        latest = line
        latestTime = now
        countInSecond += 1
        omittedCount = 0
    }

    /// Writes how many lines were left out since the last one.
    ///
    /// Called when no further line is to be expected.
    mutating func finish(write: (String) -> Bool) {
        guard omittedCount > 0, write(count) else { return }
        self = ErrorLines()
    }

    private var count: String { omittedCount > 0 ? "torsion: (\(omittedCount) more)\n" : "" }

    private static func trimmed(_ line: String) -> String {
        var text = ""
        for scalar in line.unicodeScalars {
            text += scalar == "\n" || scalar == "\r" ? " " : scalar.terminalText
            if text.utf8.count >= lineLimitBytes { break }
        }
        let bytes = text.utf8.prefix(lineLimitBytes) + [10]
        return String(decoding: bytes, as: UTF8.self)
    }
}
