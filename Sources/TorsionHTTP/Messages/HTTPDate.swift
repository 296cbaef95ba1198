// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A date as fields have it, to the second: RFC 9110 §5.6.7.
///
///     fields.append(.lastModified, HTTPDate(seconds: modified).bytes)
///
/// A plain value, usable on any thread.
public struct HTTPDate: Hashable, Comparable, Sendable {
    /// Seconds since 1970-01-01T00:00:00Z.
    public let seconds: Int64

    /// Makes a date.
    ///
    /// - Parameter seconds: Since 1970-01-01T00:00:00Z; years before 1 and after 9999 are moved to
    ///   the nearest of these.
    public init(seconds: Int64) {
        self.seconds = min(max(seconds, -62_135_596_800), 253_402_300_799)
    }

    /// Reads a date in any of the three forms that RFC 9110 §5.6.7 names; `nil` for any other text.
    ///
    /// - Parameters:
    ///   - text: For example `Sun, 06 Nov 1994 08:49:37 GMT`.
    ///   - now: Tells the century of a year of two digits: it is at most 50 years ahead.
    public init?(_ text: RawSpan, now: WallTime? = nil) {
        var words = DateWords(text)
        guard let seconds = words.seconds(now: now) else { return nil }
        self.init(seconds: seconds)
    }

    /// Earlier is less.
    ///
    /// - Parameters:
    ///   - left: A date.
    ///   - right: Another date.
    /// - Returns: Whether `left` is earlier.
    public static func < (left: HTTPDate, right: HTTPDate) -> Bool { left.seconds < right.seconds }

    static let byteCount = 29
    private static let dayNames: StaticString = "ThuFriSatSunMonTueWed"
    static let monthNames: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"

    /// The date as it is sent: 29 bytes.
    public var bytes: Bytes {
        Bytes(capacity: Self.byteCount) { output in
            let (days, second) = seconds.quotientAndRemainderDown(dividingBy: 86_400)
            let (year, month, day) = CivilDate.date(ofDay: days)
            let dayName = Int(days.quotientAndRemainderDown(dividingBy: 7).remainder)
            func digits(_ number: Int64, _ count: Int) {
                var power: Int64 = count == 4 ? 1_000 : 10
                while power > 0 {
                    output.append(UInt8(ascii: "0") + UInt8(number / power % 10))
                    power /= 10
                }
            }
            func text(_ text: StaticString) {
                for index in 0..<text.utf8CodeUnitCount {
                    output.append(unsafe text.utf8Start[index])
                }
            }
            for index in 0..<3 {
                output.append(unsafe Self.dayNames.utf8Start[3 * dayName + index])
            }
            text(", ")
            digits(day, 2)
            text(" ")
            for index in 0..<3 {
                output.append(unsafe Self.monthNames.utf8Start[3 * Int(month - 1) + index])
            }
            text(" ")
            digits(year, 4)
            text(" ")
            digits(second / 3_600, 2)
            text(":")
            digits(second / 60 % 60, 2)
            text(":")
            digits(second % 60, 2)
            text(" GMT")
        }
    }
}

extension HTTPDate: CustomStringConvertible {
    /// The date as it is sent.
    public var description: String { String(decoding: bytes.span) }
}

/// The words and numbers of a date's text.
private struct DateWords: ~Escapable {
    private let text: RawSpan
    private var position = 0

    @_lifetime(copy text)
    init(_ text: RawSpan) { self.text = text }

    /// The point in time, if this is a date of one of the three forms.
    mutating func seconds(now: WallTime?) -> Int64? {
        let comma = text.firstIndex(of: UInt8(ascii: ","))
        guard let comma else { return asctimeSeconds() }
        // The day's name is not looked at: it follows from the rest.
        position = comma + 1
        guard take(" "), let day = number(2) else { return nil }
        if take(" ") {
            guard let month = month(), take(" "), let year = number(4) else { return nil }
            return time(year, month, day)
        }
        guard take("-"), let month = month(), take("-"), let short = number(2) else { return nil }
        return time(year(ofTwoDigits: short, now), month, day)
    }

    private func year(ofTwoDigits short: Int64, _ now: WallTime?) -> Int64 {
        let thisYear = 1970 + (now?.seconds ?? 1_700_000_000) / 31_556_952
        let year = thisYear / 100 * 100 + short
        return year > thisYear + 50 ? year - 100 : year
    }

    /// The form of `Sun Nov  6 08:49:37 1994`.
    private mutating func asctimeSeconds() -> Int64? {
        position = 3
        guard take(" "), let month = month(), take(" ") else { return nil }
        let isShort = take(" ")
        guard let day = number(isShort ? 1 : 2), take(" "), let second = clock(), take(" "),
            let year = number(4), position == text.byteCount
        else { return nil }
        return checked(year, month, day, second)
    }

    private mutating func time(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64? {
        guard take(" "), let second = clock(), take(" "), take("G"), take("M"), take("T"),
            position == text.byteCount
        else { return nil }
        return checked(year, month, day, second)
    }

    private func checked(
        _ year: Int64, _ month: Int64, _ day: Int64, _ second: Int64
    ) -> Int64? {
        guard (1...31).contains(day), year > 0 else { return nil }
        return CivilDate.day(of: year, month, day) * 86_400 + second
    }

    private mutating func clock() -> Int64? {
        guard let hour = number(2), take(":"), let minute = number(2), take(":"),
            let second = number(2), hour < 24, minute < 60, second <= 60
        else { return nil }
        return hour * 3_600 + minute * 60 + second
    }

    private mutating func month() -> Int64? {
        guard position + 3 <= text.byteCount else { return nil }
        for month in 0..<12 {
            var isSame = true
            for index in 0..<3 {
                let wanted = unsafe HTTPDate.monthNames.utf8Start[3 * month + index]
                if text[position + index] != wanted { isSame = false }
            }
            if isSame {
                position += 3
                return Int64(month + 1)
            }
        }
        return nil
    }

    private mutating func number(_ digitCount: Int) -> Int64? {
        guard position + digitCount <= text.byteCount else { return nil }
        defer { position += digitCount }
        guard let number = UInt32(decimal: text[position..<(position + digitCount)]) else {
            return nil
        }
        return Int64(number)
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard position < text.byteCount, text[position] == UInt8(ascii: character) else {
            return false
        }
        position += 1
        return true
    }
}
