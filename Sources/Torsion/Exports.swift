// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// `import Torsion` is all that most programs need.
@_exported public import TorsionCore
@_exported public import TorsionEpoll
@_exported public import TorsionOperations
@_exported public import TorsionProtocols
@_exported public import TorsionServices
@_exported public import TorsionUV
