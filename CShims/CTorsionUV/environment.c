/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

const char *torsion_uv_environment(const char *name) { return getenv(name); }

void torsion_uv_buffer_output_by_line(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

void torsion_uv_exit(int status) { exit(status); }

void torsion_uv_wall_time(int64_t *seconds, int32_t *nanoseconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *seconds = now.tv_sec;
    *nanoseconds = (int32_t)now.tv_nsec;
}

int torsion_uv_random(void *bytes, size_t count) {
    return uv_random(NULL, NULL, bytes, count, 0, NULL);
}

int torsion_uv_process_id(void) { return (int)uv_os_getpid(); }

int torsion_uv_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX) return INT_MAX;
    return (int)limit.rlim_cur;
}

int torsion_uv_open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) return -1;
    /* What has a number beyond the limit, inherited from before it was set, takes no room. */
    int limit = torsion_uv_descriptor_limit(), count = -1; /* the folder itself */
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) < limit) count++;
    closedir(folder);
    return count;
}

void torsion_uv_close_on_exec(int descriptor) {
    int flags = fcntl(descriptor, F_GETFD);
    if (flags >= 0) fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC);
}
