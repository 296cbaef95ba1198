// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A transport that knows of its loss before its protocol is told.
package protocol LossReporting: AnyObject {
    var isLost: Bool { get }
    /// Why, also of a loss that will be told behind what had arrived before it.
    var lossReason: ConnectionLoss? { get }
}
