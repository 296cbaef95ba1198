// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
internal import TorsionCore

/// Tells what happens in folders: `inotify(7)`.
///
/// Not `uv_fs_event_t`, which tells neither moves nor that events were lost.
final class InotifyNotifier: FileNotifier {
    var receiver: ((FileNotice) -> Void)?
    private let descriptor: Int32
    private var watch: DescriptorWatch?

    init(on reactor: Reactor) throws(IOError) {
        let opened = torsion_uv_notify_open()
        descriptor = opened
        guard opened >= 0 else {
            throw IOError(
                .watch, function: "inotify_init1", code: ErrorCode(libuv: opened), subject: "files")
        }
        watch = try reactor.watch(descriptor: opened, for: .readable) { [unowned self] _ in
            try withExtendedLifetime(self) { () throws(IOError) in try self.read() }
        }
    }

    deinit {
        watch?.cancel()
        if descriptor >= 0 { torsion_uv_notify_close(descriptor) }
    }

    private func read() throws(IOError) {
        let code = torsion_uv_notify_read(
            descriptor, noticeArrived, Unmanaged.passUnretained(self).toOpaque())
        guard code != 0 else { return }
        // Nothing more will come; what was missed may be anything.
        watch?.cancel()
        receiver?(FileNotice(.overflow, folder: -1))
        throw IOError(.watch, function: "read", code: ErrorCode(libuv: code), subject: "files")
    }

    func watch(folder: String, for events: FileEvents) throws(IOError) -> Int32 {
        var bits: Int32 = 0
        if events.contains(.modified) { bits |= TORSION_UV_NOTIFY_MODIFIED }
        if events.contains(.written) { bits |= TORSION_UV_NOTIFY_WRITTEN }
        if events.contains(.attributes) { bits |= TORSION_UV_NOTIFY_ATTRIBUTES }
        let number = torsion_uv_notify_add(descriptor, folder, bits)
        guard number >= 0 else {
            throw IOError(
                .watch, function: "inotify_add_watch", code: ErrorCode(libuv: number),
                subject: folder)
        }
        return number
    }

    func unwatch(_ number: Int32) { torsion_uv_notify_remove(descriptor, number) }

    func entry(at path: String) -> FileEntry {
        var found = torsion_uv_entry()
        switch torsion_uv_entry(path, &found) {
        case TORSION_UV_ENTRY_FOLDER: return .folder(device: found.device, inode: found.inode)
        case TORSION_UV_ENTRY_FILE: return .file(device: found.device, inode: found.inode)
        case TORSION_UV_ENTRY_LINK:
            let text = withUnsafeBytes(of: &found.link) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            return .link(text)
        default: return .none
        }
    }

    func names(in folder: String) -> [String] {
        final class List { var names: [String] = [] }
        let list = List()
        torsion_uv_names(
            folder,
            { context, name in
                Unmanaged<List>.fromOpaque(context).takeUnretainedValue().names
                    .append(String(cString: name))
            }, Unmanaged.passUnretained(list).toOpaque())
        return list.names
    }
}

/// Called by the shim.
private func noticeArrived(
    _ context: UnsafeMutableRawPointer, _ kind: Int32, _ number: Int32,
    _ name: UnsafePointer<CChar>, _ isFolder: Int32, _ move: UInt32
) {
    let notifier = Unmanaged<InotifyNotifier>.fromOpaque(context).takeUnretainedValue()
    let told: FileNotice.Kind
    switch kind {
    case TORSION_UV_NOTIFY_CREATED: told = .created
    case TORSION_UV_NOTIFY_ARRIVED: told = .arrived
    case TORSION_UV_NOTIFY_REMOVED: told = .removed
    case TORSION_UV_NOTIFY_DEPARTED: told = .departed
    case TORSION_UV_NOTIFY_MODIFIED: told = .modified
    case TORSION_UV_NOTIFY_WRITTEN: told = .written
    case TORSION_UV_NOTIFY_ATTRIBUTES: told = .attributes
    case TORSION_UV_NOTIFY_OVERFLOW: told = .overflow
    default: told = .ended
    }
    notifier.receiver?(
        FileNotice(
            told, folder: number, name: String(cString: name), isFolder: isFolder != 0, move: move))
}
