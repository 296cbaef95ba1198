/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_sockets.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Reads the beginning of a file as text; returns 0 if there is none. */
static int read_text(const char *path, char *text, size_t size) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return 0;
    ssize_t count = read(descriptor, text, size - 1);
    close(descriptor);
    if (count <= 0) return 0;
    text[count] = 0;
    return 1;
}

static void lower(int64_t *least, int64_t value) {
    if (value < 0) value = 0;
    if (*least < 0 || value < *least) *least = value;
}

/* A number alone in a file; -1 for "max", and for none. */
static int64_t number_in(const char *folder, const char *name) {
    char path[PATH_MAX + 64], text[64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!read_text(path, text, sizeof text)) return -1;
    char *end;
    long long value = strtoll(text, &end, 10);
    return end == text ? -1 : value;
}

/* What a group uses that cannot simply be taken back, as cached files can. */
static int64_t used_by_group(const char *folder, const char *usage, const char *cached) {
    char path[PATH_MAX + 64], text[8192];
    int64_t used = number_in(folder, usage);
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (used < 0 || !read_text(path, text, sizeof text)) return used;
    const char *line = strstr(text, cached);
    return line != NULL ? used - strtoll(line + strlen(cached), NULL, 10) : used;
}

static void lower_by_group(int64_t *least, const char *folder, int is_second) {
    int64_t allowed = number_in(folder, is_second ? "memory.max" : "memory.limit_in_bytes");
    if (allowed < 0) return;
    int64_t used = is_second
                       ? used_by_group(folder, "memory.current", "\ninactive_file ")
                       : used_by_group(folder, "memory.usage_in_bytes", "\ntotal_inactive_file ");
    if (used >= 0) lower(least, allowed - used);
}

/* The group of this process and those above it: a limit holds for all below. */
static void lower_by_groups(int64_t *least) {
    char text[4096], folder[PATH_MAX];
    if (!read_text("/proc/self/cgroup", text, sizeof text)) return;
    char *next;
    for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        /* "0::/path" of version 2, "4:memory:/path" of version 1. */
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) continue;
        *path++ = 0;
        int is_second = strcmp(controllers, ":") == 0;
        if (!is_second && strcmp(controllers, ":memory") != 0) continue;
        const char *root = is_second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
        snprintf(folder, sizeof folder, "%s%s", root, path);
        size_t shortest = strlen(root);
        while (strlen(folder) >= shortest) {
            lower_by_group(least, folder, is_second);
            char *last = strrchr(folder, '/');
            if (last == NULL) break;
            *last = 0;
        }
    }
}

static void lower_by_limits(int64_t *least) {
    char text[256];
    long long pages = 0, data = 0;
    if (!read_text("/proc/self/statm", text, sizeof text)) return;
    if (sscanf(text, "%lld %*d %*d %*d %*d %lld", &pages, &data) != 2) return;
    int64_t page = sysconf(_SC_PAGESIZE);
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        lower(least, (int64_t)limit.rlim_cur - pages * page);
    if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        lower(least, (int64_t)limit.rlim_cur - data * page);
}

static void lower_by_machine(int64_t *least) {
    char text[512];
    if (!read_text("/proc/meminfo", text, sizeof text)) return;
    const char *line = strstr(text, "MemAvailable:");
    long long kibibytes;
    if (line != NULL && sscanf(line, "MemAvailable: %lld", &kibibytes) == 1)
        lower(least, kibibytes * 1024);
}

int64_t torsion_available_memory(void) {
    int64_t least = -1;
    lower_by_machine(&least);
    lower_by_limits(&least);
    lower_by_groups(&least);
    return least;
}
