/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_processes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int torsion_process_pipe(int *ends, int own) {
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    /* The two ends are two open files: the child's goes on to block. */
    if (fcntl(ends[own], F_SETFL, fcntl(ends[own], F_GETFL) | O_NONBLOCK) == 0) return 0;
    int code = errno;
    close(ends[0]);
    close(ends[1]);
    return code;
}

int torsion_process_socket_pair(int *ends) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 ? 0 : errno;
}

int torsion_process_open(const char *path, enum torsion_process_file mode) {
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    switch (mode) {
    case TORSION_PROCESS_FILE_READ: flags |= O_RDONLY; break;
    case TORSION_PROCESS_FILE_REPLACE: flags |= O_WRONLY | O_CREAT | O_TRUNC; break;
    case TORSION_PROCESS_FILE_APPEND: flags |= O_WRONLY | O_CREAT | O_APPEND; break;
    case TORSION_PROCESS_FILE_BOTH: flags |= O_RDWR; break;
    }
    int descriptor = open(path, flags, 0666);
    if (descriptor < 0) return -errno;
    /* Without O_NONBLOCK the open would have waited; the child is to block as usual. */
    if (fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK) == 0)
        return descriptor;
    int code = errno;
    close(descriptor);
    return -code;
}

int torsion_process_duplicate(int descriptor, int minimum) {
    int result = fcntl(descriptor, F_DUPFD_CLOEXEC, minimum);
    return result >= 0 ? result : -errno;
}

void torsion_process_close(int descriptor) { close(descriptor); }

int torsion_process_terminal(int rows, int columns, int *controlling, int *controlled, char *path,
                             size_t path_size) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), slave = -1;
    if (master < 0) return errno;
    int code = 0;
    if (grantpt(master) != 0 || unlockpt(master) != 0) code = errno;
    if (code == 0) code = ptsname_r(master, path, path_size);
    if (code == 0) code = torsion_process_resize(master, rows, columns);
    if (code == 0 && (slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) code = errno;
    if (code != 0) {
        close(master);
        return code;
    }
    *controlling = master;
    *controlled = slave;
    return 0;
}

int torsion_process_resize(int controlling, int rows, int columns) {
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    return ioctl(controlling, TIOCSWINSZ, &size) == 0 ? 0 : errno;
}

int torsion_process_check_folder(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return errno;
    if (!S_ISDIR(status.st_mode)) return ENOTDIR;
    return access(path, X_OK) == 0 ? 0 : errno;
}

static int is_file(const char *folder, size_t folder_length, const char *name) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%.*s/%s", (int)folder_length, folder, name);
    return length > 0 && (size_t)length < sizeof path && access(path, F_OK) == 0;
}

int torsion_process_has_program(const char *program, const char *folder) {
    if (program[0] == '/') return access(program, F_OK) == 0;
    if (strchr(program, '/') != NULL) {
        return folder != NULL ? is_file(folder, strlen(folder), program)
                              : access(program, F_OK) == 0;
    }
    const char *place = getenv("PATH");
    if (place == NULL) place = "/bin:/usr/bin";
    while (1) {
        size_t length = strcspn(place, ":");
        if (length > 0 && is_file(place, length, program)) return 1;
        if (place[length] == 0) return 0;
        place += length + 1;
    }
}
