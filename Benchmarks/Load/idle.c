/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Connections that said one thing and then wait. Each has been answered before the next is opened.
#include "load.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

// Page-table entries are walked for smaps_rollup; /proc/PID/status takes per-CPU counters that may
// be off by 100 KiB.
long anonymous_bytes(pid_t server) {
    char path[64], line[256];
    long kilobytes = -1;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", server);
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Anonymous: %ld kB", &kilobytes) == 1) break;
    fclose(file);
    if (kilobytes < 0) die("smaps_rollup has no line Anonymous");
    return kilobytes * 1024;
}

void load_idle(const struct request *request, struct result *result) {
    enum { BEFORE = 16 };  // what the first connections set up once is not an idle one's price
    char *message = make_message(request->size);
    if (!request->server) die("idle needs --server");
    unsigned index = 0;
    while (index < BEFORE) open_and_greet(request, index++, message);
    long before = anonymous_bytes(request->server);
    mark_begin(request, result);
    while (index < BEFORE + (unsigned)request->connections)
        open_and_greet(request, index++, message);
    mark_end(request, result);
    result->messages = (uint64_t)request->connections;
    result->memory_per_connection =
        (double)(anonymous_bytes(request->server) - before) / request->connections;
}
