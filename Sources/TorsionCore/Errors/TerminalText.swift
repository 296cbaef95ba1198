// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What a peer has said may stand in an error, a log or a dump of traffic, and so on a terminal, which obeys
// escape sequences: they clear its screen, set its title, or make text look as if it came from us.

@_spi(Tool) extension Unicode.Scalar {
    /// The scalar itself, or, if a terminal would obey it or show nothing for it, its escape sequence in
    /// Swift: `\\u{1B}`.
    ///
    /// Control and format characters, line and paragraph separators, and scalars without a meaning of
    /// their own are escaped. Public for the command `torsion` alone, which is another package.
    public var terminalText: String {
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
            escaped(asASCII: true)
        default: String(self)
        }
    }
}
