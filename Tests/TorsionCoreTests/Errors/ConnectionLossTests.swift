// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

private struct BadInput: Error, CustomStringConvertible {
    var description: String
}

private struct OtherBadInput: Error, CustomStringConvertible {
    var description: String
}

@Suite struct ConnectionLossTests {
    private static let error = IOError(.read, function: "recv", code: .connectionReset)

    @Test func `only an orderly end is clean`() {
        #expect(ConnectionLoss.closedByPeer.isClean)
        #expect(ConnectionLoss.closedLocally.isClean)
        for loss: ConnectionLoss in [
            .aborted, .failed(Self.error), .deadlinePassed(.closing), .writeLimitExceeded,
            .protocolFailed(BadInput(description: "a")),
        ] {
            #expect(!loss.isClean)
        }
    }

    @Test func `losses are equal when case and payload are`() {
        let losses: [ConnectionLoss] = [
            .closedByPeer, .closedLocally, .aborted, .writeLimitExceeded, .failed(Self.error),
            .deadlinePassed(.closing), .deadlinePassed(.idle),
            .protocolFailed(BadInput(description: "a")),
            .protocolFailed(BadInput(description: "b")),
            .protocolFailed(OtherBadInput(description: "a")),
        ]
        for (left, loss) in losses.enumerated() {
            for (right, other) in losses.enumerated() {
                #expect((loss == other) == (left == right))
            }
        }
    }

    @Test func `a loss prints as its reason`() {
        #expect("\(ConnectionLoss.failed(Self.error))" == "\(Self.error)")
        #expect("\(ConnectionLoss.deadlinePassed(.closing))" == "took too long: closing")
        #expect(
            "\(ConnectionLoss.protocolFailed(BadInput(description: "too long")))"
                == "the protocol failed: too long")
    }
}
