// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

@Suite struct ErrorLinesTests {
    /// Standard error as the lines see it.
    private final class Sink {
        var lines = ErrorLines()
        var text = ""
        var isFull = false

        func add(_ line: String, at milliseconds: UInt64) {
            let now = MonotonicInstant(nanoseconds: 5_000_000_000 + milliseconds * 1_000_000)
            lines.add(line, at: now, write: write)
        }

        func write(_ piece: String) -> Bool {
            if !isFull { text += piece }
            return !isFull
        }

        func take() -> String {
            defer { text = "" }
            return text
        }
    }

    @Test func `different lines are written, ten a second, then counted`() {
        let sink = Sink()
        for number in 0..<25 { sink.add("line \(number)", at: UInt64(number)) }
        #expect(sink.take() == (0..<10).map { "line \($0)\n" }.joined())
        sink.add("later", at: 999)
        #expect(sink.take() == "")
        sink.add("next", at: 1_000)
        #expect(sink.take() == "torsion: (16 more)\nnext\n")
        sink.add("alone", at: 1_001)
        #expect(sink.take() == "alone\n")
    }

    @Test func `the same line is written once an episode, and again if that lasts`() {
        let sink = Sink()
        for time in stride(from: 0, to: 10_000, by: 100) { sink.add("refused", at: UInt64(time)) }
        #expect(sink.take() == "refused\n")
        sink.add("refused", at: 10_000)
        #expect(sink.take() == "torsion: (99 more)\nrefused\n")
        sink.add("another", at: 10_001)
        sink.add("refused", at: 10_002)
        #expect(sink.take() == "another\nrefused\n")
    }

    @Test func `what a terminal would obey is escaped, and one line stays one`() {
        let sink = Sink()
        sink.add("a\nb\r\u{1b}[31m\u{7}\u{0}\u{7f}\u{9b}\u{202e}\u{2028}\u{85}\tüé€", at: 0)
        #expect(
            sink.take()
                == "a b \\u{1B}[31m\\u{07}\\0\\u{7F}\\u{009B}\\u{202E}\\u{2028}\\u{0085}\\tüé€\n"
        )
    }

    @Test func `the date stands before a line, and does not make it another`() {
        let sink = Sink()
        let now = MonotonicInstant(nanoseconds: 5_000_000_000)
        for date in ["09:00 ", "09:01 "] {
            sink.lines.add("refused", headedBy: date, at: now, write: sink.write)
        }
        #expect(sink.take() == "09:00 refused\n")
    }

    @Test func `what cannot be written now is counted, and told when it can`() {
        let sink = Sink()
        sink.isFull = true
        for number in 0..<30 { sink.add("line \(number)", at: UInt64(number)) }
        sink.isFull = false
        sink.add("room", at: 40)
        #expect(sink.take() == "torsion: (30 more)\nroom\n")
    }

    @Test func `a line that was not written is no repetition`() {
        let sink = Sink()
        sink.isFull = true
        sink.add("refused", at: 0)
        sink.isFull = false
        sink.add("refused", at: 1)
        #expect(sink.take() == "torsion: (1 more)\nrefused\n")
    }

    @Test func `the end tells how many there were, once`() {
        let sink = Sink()
        sink.lines.finish(write: sink.write)
        #expect(sink.take() == "")
        for _ in 0..<4 { sink.add("refused", at: 0) }
        sink.isFull = true
        sink.lines.finish(write: sink.write)
        #expect(sink.lines.omittedCount == 3)
        sink.isFull = false
        sink.lines.finish(write: sink.write)
        sink.lines.finish(write: sink.write)
        #expect(sink.take() == "refused\ntorsion: (3 more)\n")
    }

    @Test func `a line is one line, short enough for a pipe to take it whole`() {
        let sink = Sink()
        sink.add("two\nlines\r\n", at: 0)
        #expect(sink.take() == "two lines  \n")
        sink.add(String(repeating: "x", count: 9_000), at: 1)
        #expect(sink.take().utf8.count == 4_001)
    }
}
