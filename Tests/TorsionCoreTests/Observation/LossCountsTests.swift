// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

@Suite struct LossCountsTests {
    private struct Mishap: Error {}

    private func failure(_ code: ErrorCode) -> ConnectionLoss {
        .failed(IOError(.read, function: "recv", code: code))
    }

    @Test func `each reason is one addition, and the sums are those of their parts`() {
        let deadlines: [ConnectionLoss.Deadline] = [
            .handshaking, .request, .idle, .halfClosed, .closing,
        ]
        let losses: [ConnectionLoss] =
            [
                .closedByPeer, .closedLocally, .aborted, .truncated, .writeLimitExceeded,
                .protocolFailed(Mishap()), failure(.connectionReset), failure(.timedOut),
                failure(.connectionReset),
            ] + deadlines.map { .deadlinePassed($0) }
        var counts = LossCounts()
        for (index, loss) in losses.enumerated() {
            counts.add(loss)
            #expect(counts.total == UInt64(index) + 1, "\(loss)")
        }
        #expect(counts.failed == 3 && counts.deadlinePassed == 5)
        #expect(counts.failures[.connectionReset] == 2 && counts.failures[.timedOut] == 1)
        #expect(counts.failures[.brokenPipe] == 0)
        #expect(counts.deadlines.idle == 1 && counts.deadlines.byName.allSatisfy { $0.count == 1 })
        #expect(counts.details.map(\.count).reduce(0, +) == counts.total)
        #expect(
            counts.details.suffix(3).map { "\($0.reason) \($0.detail) \($0.count)" } == [
                "deadline_passed closing 1", "failed ECONNRESET 2", "failed ETIMEDOUT 1",
            ])
    }

    @Test func `so many codes are kept apart, and the others together`() {
        var counts = LossCounts()
        for number in 0..<100 {
            for _ in 0...(number == 99 ? 4 : 0) { counts.add(failure(.other(Int32(number)))) }
        }
        counts.add(failure(.other(0)))
        #expect(counts.failures.entries.count == FailureCounts.codeLimit)
        #expect(counts.failures[.other(0)] == 2 && counts.failures[.other(99)] == 0)
        #expect(counts.failures.others == UInt64(100 - FailureCounts.codeLimit + 4))
        #expect(counts.failed == 105 && counts.details.last?.detail == "other")
    }
}
