/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

int torsion_uv_file_open(const char *path, int mode) {
    int flags = O_NONBLOCK;
    if (mode == TORSION_UV_FILE_READ) flags |= O_RDONLY;
    if (mode == TORSION_UV_FILE_REPLACE) flags |= O_WRONLY | O_CREAT | O_TRUNC;
    if (mode == TORSION_UV_FILE_CREATE) flags |= O_WRONLY | O_CREAT | O_EXCL;
    uv_fs_t request;
    int result = uv_fs_open(NULL, &request, path, flags, 0666, NULL);
    uv_fs_req_cleanup(&request);
    return result;
}

int torsion_uv_file_open_beneath(const char *folder, const char *path) {
#if defined(__linux__)
    /* openat2(2): the structure stands here because the headers of older systems lack it. */
    struct {
        uint64_t flags, mode, resolve;
    } how = {
        .flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC,
        .resolve = 0x08 | 0x02, /* RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS */
    };
    const long number = 437; /* the same on every architecture */
    int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -errno;
    long result;
    do {
        result = syscall(number, root, path, &how, sizeof how);
        /* A rename on its way: openat2(2) says that trying again is right. */
    } while (result < 0 && (errno == EINTR || errno == EAGAIN));
    /* Whoever names a way out learns no more than that there is nothing. */
    int code = result >= 0 ? (int)result : errno == EXDEV ? UV_ENOENT : -errno;
    close(root);
    return code;
#else
    (void)folder, (void)path;
    return UV_ENOSYS;
#endif
}

static int64_t status(int descriptor, uv_stat_t *result) {
    uv_fs_t request;
    int code = uv_fs_fstat(NULL, &request, descriptor, NULL);
    *result = request.statbuf;
    uv_fs_req_cleanup(&request);
    return code;
}

int torsion_uv_file_kind(int descriptor) {
    uv_stat_t found;
    int code = (int)status(descriptor, &found);
    if (code < 0) return code;
    if (S_ISREG(found.st_mode)) return TORSION_UV_FILE_REGULAR;
    return S_ISDIR(found.st_mode) ? TORSION_UV_FILE_DIRECTORY : TORSION_UV_FILE_OTHER;
}

int torsion_uv_file_status(int descriptor, struct torsion_uv_file_status *result) {
    uv_stat_t found;
    int code = (int)status(descriptor, &found);
    if (code < 0) return code;
    result->inode = found.st_ino;
    result->byte_count = (int64_t)found.st_size;
    result->modified_seconds = found.st_mtim.tv_sec;
    result->modified_nanoseconds = found.st_mtim.tv_nsec;
    return 0;
}

int64_t torsion_uv_file_byte_count(int descriptor) {
    uv_stat_t found;
    int64_t code = status(descriptor, &found);
    return code < 0 ? code : (int64_t)found.st_size;
}

int64_t torsion_uv_file_read(int descriptor, void *bytes, size_t count, int64_t offset) {
    uv_buf_t buffer = {.base = bytes, .len = count};
    uv_fs_t request;
    int64_t result;
    do {
        uv_fs_read(NULL, &request, descriptor, &buffer, 1, offset, NULL);
        result = request.result;
        uv_fs_req_cleanup(&request);
    } while (result == UV_EINTR);
    return result;
}

int64_t torsion_uv_file_write(int descriptor, const void *bytes, size_t count, int64_t offset) {
    uv_buf_t buffer = {.base = (char *)bytes, .len = count}; /* only read */
    uv_fs_t request;
    int64_t result;
    do {
        uv_fs_write(NULL, &request, descriptor, &buffer, 1, offset, NULL);
        result = request.result;
        uv_fs_req_cleanup(&request);
        /* A pipe and a terminal have no offsets: write(2). */
        if (result == UV_ESPIPE && offset >= 0) {
            offset = -1;
            result = UV_EINTR;
        }
    } while (result == UV_EINTR);
    /* A device that takes nothing would be asked for ever. */
    return result == 0 && count > 0 ? UV_EIO : result;
}

int torsion_uv_file_close(int descriptor) {
    uv_fs_t request;
    int result = uv_fs_close(NULL, &request, descriptor, NULL);
    uv_fs_req_cleanup(&request);
    return result;
}

int torsion_uv_file_is_cached(int descriptor, int64_t start, int64_t end) {
#if defined(__linux__)
    /* cachestat(2): the structures stand here because the headers of older systems lack them. */
    struct {
        uint64_t offset, count;
    } range = {.offset = (uint64_t)start, .count = (uint64_t)(end - start)};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } pages;
    const long number = 451; /* the same on every architecture */
    if (syscall(number, descriptor, &range, &pages, 0) != 0) return 0;
    uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t wanted = ((uint64_t)end + size - 1) / size - (uint64_t)start / size;
    return pages.cached >= wanted;
#else
    (void)descriptor, (void)start, (void)end;
    return 0;
#endif
}

int torsion_uv_file_fetch(int descriptor, int64_t start, int64_t end) {
    enum { piece = 256 * 1024 };
#if defined(__linux__)
    /* The disk begins with all of it, while we wait for the first piece. */
    posix_fadvise(descriptor, start, end - start, POSIX_FADV_WILLNEED);
#endif
    char *bytes = malloc(piece);
    if (bytes == NULL) return UV_ENOMEM;
    int64_t result = 1;
    while (start < end && result > 0) {
        size_t count = end - start < piece ? (size_t)(end - start) : piece;
        result = torsion_uv_file_read(descriptor, bytes, count, start);
        if (result > 0) start += result;
    }
    free(bytes);
    return result < 0 ? (int)result : 0;
}
