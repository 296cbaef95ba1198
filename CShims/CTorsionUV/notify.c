/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/inotify.h>
#endif

#if defined(__linux__)

int torsion_uv_notify_open(void) {
    int result = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return result >= 0 ? result : -errno;
}

int torsion_uv_notify_add(int notify, const char *folder, int events) {
    uint32_t mask = IN_ONLYDIR | IN_MASK_ADD | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM |
                    IN_DELETE_SELF | IN_MOVE_SELF;
    if (events & TORSION_UV_NOTIFY_MODIFIED) mask |= IN_MODIFY;
    if (events & TORSION_UV_NOTIFY_WRITTEN) mask |= IN_CLOSE_WRITE;
    if (events & TORSION_UV_NOTIFY_ATTRIBUTES) mask |= IN_ATTRIB;
    int result = inotify_add_watch(notify, folder, mask);
    return result >= 0 ? result : -errno;
}

void torsion_uv_notify_remove(int notify, int number) { inotify_rm_watch(notify, number); }

static int kind_of(uint32_t mask) {
    if (mask & IN_Q_OVERFLOW) return TORSION_UV_NOTIFY_OVERFLOW;
    if (mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
        return TORSION_UV_NOTIFY_ENDED;
    if (mask & IN_CREATE) return TORSION_UV_NOTIFY_CREATED;
    if (mask & IN_MOVED_TO) return TORSION_UV_NOTIFY_ARRIVED;
    if (mask & IN_DELETE) return TORSION_UV_NOTIFY_REMOVED;
    if (mask & IN_MOVED_FROM) return TORSION_UV_NOTIFY_DEPARTED;
    if (mask & IN_MODIFY) return TORSION_UV_NOTIFY_MODIFIED;
    if (mask & IN_CLOSE_WRITE) return TORSION_UV_NOTIFY_WRITTEN;
    if (mask & IN_ATTRIB) return TORSION_UV_NOTIFY_ATTRIBUTES;
    return 0;
}

int torsion_uv_notify_read(int notify, torsion_uv_notice_callback callback, void *context) {
    /* As many as are told in one turn; each has at most a name of 255 bytes. */
    _Alignas(struct inotify_event) char bytes[16 * 1024];
    ssize_t count = read(notify, bytes, sizeof bytes);
    if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    for (ssize_t offset = 0; offset + (ssize_t)sizeof(struct inotify_event) <= count;) {
        struct inotify_event event;
        memcpy(&event, bytes + offset, sizeof event);
        const char *name = event.len > 0 ? bytes + offset + sizeof event : "";
        offset += (ssize_t)(sizeof event + event.len);
        int kind = kind_of(event.mask);
        if (kind != 0)
            callback(context, kind, event.wd, name, (event.mask & IN_ISDIR) != 0, event.cookie);
    }
    return 0;
}

#else

int torsion_uv_notify_open(void) { return UV_ENOSYS; }

int torsion_uv_notify_add(int notify, const char *folder, int events) {
    (void)notify, (void)folder, (void)events;
    return UV_ENOSYS;
}

void torsion_uv_notify_remove(int notify, int number) { (void)notify, (void)number; }

int torsion_uv_notify_read(int notify, torsion_uv_notice_callback callback, void *context) {
    (void)notify, (void)callback, (void)context;
    return UV_ENOSYS;
}

#endif

void torsion_uv_notify_close(int notify) { close(notify); }

int torsion_uv_entry(const char *path, struct torsion_uv_entry *result) {
    struct stat found;
    if (lstat(path, &found) != 0) return TORSION_UV_ENTRY_NONE;
    result->device = (uint64_t)found.st_dev;
    result->inode = (uint64_t)found.st_ino;
    if (S_ISDIR(found.st_mode)) return TORSION_UV_ENTRY_FOLDER;
    if (!S_ISLNK(found.st_mode)) return TORSION_UV_ENTRY_FILE;
    ssize_t length = readlink(path, result->link, sizeof result->link - 1);
    if (length < 0) return TORSION_UV_ENTRY_NONE;
    result->link[length] = 0;
    return TORSION_UV_ENTRY_LINK;
}

void torsion_uv_names(const char *folder, torsion_uv_name_callback callback, void *context) {
    DIR *names = opendir(folder);
    if (names == NULL) return;
    struct dirent *entry;
    while ((entry = readdir(names)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            callback(context, entry->d_name);
    closedir(names);
}
