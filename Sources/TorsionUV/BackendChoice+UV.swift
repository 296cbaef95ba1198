// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
@_spi(Backend) public import TorsionCore
@_spi(Backend) internal import TorsionSockets

extension BackendChoice {
    /// Sockets over libuv's loop.
    ///
    /// The default.
    public static let libuv = BackendChoice(
        name: "libuv", library: { .libuv }, makeBackend: { SocketBackend(poller: UVPoller()) })

    /// The same by nothing but what libuv documents, as with a libuv that was not tested.
    package static let plainLibuv = BackendChoice(
        name: "libuv, plainly", library: { .libuv },
        makeBackend: { SocketBackend(poller: UVPoller(isPlain: true)) })
}

extension LinkedLibrary {
    /// The libuv of this process, which may be another than the one whose headers were there.
    fileprivate static var libuv: LinkedLibrary {
        let version = String(cString: torsion_uv_version())
        let built = String(cString: torsion_uv_built_version())
        var remarks: [String] = []
        if built != version { remarks.append("built with \(built)") }
        if torsion_uv_is_watched_directly() == 0 { remarks.append("used in the plain way") }
        return LinkedLibrary(
            name: "libuv", version: version, isTested: torsion_uv_is_tested() != 0,
            remark: remarks.isEmpty ? nil : remarks.joined(separator: ", "))
    }
}
