// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@Suite struct WallTimeTests {
    // What `date -u -d @SECONDS +%FT%TZ` says.
    @Test(arguments: [
        (0, 0, "1970-01-01T00:00:00.000Z"),
        (1_796_025_909, 250_999_999, "2026-11-30T08:05:09.250Z"),
        (951_782_400, 1_000_000, "2000-02-29T00:00:00.001Z"),
        (-1, 999_999_999, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800, 0, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799, 0, "9999-12-31T23:59:59.000Z"),
    ])
    func `a time of day is written by RFC 3339`(
        seconds: Int64, nanoseconds: Int32, text: String
    ) {
        #expect("\(WallTime(seconds: seconds, nanoseconds: nanoseconds))" == text)
    }
}
