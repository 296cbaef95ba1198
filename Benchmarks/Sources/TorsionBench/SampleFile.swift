// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import FoundationEssentials

/// The file that every server of files is asked for.
enum SampleFile {
    static let name = "mebibyte"
    static let byteCount = 1 << 20

    /// Writes it into `folder`, which is made if it is not there.
    static func write(to folder: String) throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        let bytes = Data((0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        try bytes.write(to: URL(filePath: folder + "/" + name))
    }
}
