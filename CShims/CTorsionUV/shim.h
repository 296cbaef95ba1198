/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* What the files of the shim share. Not seen by Swift. */
#ifndef TORSION_UV_SHIM_H
#define TORSION_UV_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "torsion_uv.h"

struct torsion_uv_loop {
    uv_loop_t loop;
    uv_timer_t timer;
    uint64_t timer_ms;                /* what the timer is set to, or TORSION_UV_NO_DEADLINE */
    uint64_t turn;                    /* the number of the latest */
    const struct torsion_uv_way *way; /* how descriptors are watched, NULL before they can be */
    int epoll;                        /* that watches them: libuv's, or one of the plain way's */
    torsion_uv_watch **watches;       /* by the number of the descriptor; see watch.c */
    int watch_count;                  /* of places there */
    torsion_uv_watch *closed_watches; /* to be told in the next turn */
    int has_stray;                    /* epoll may watch what has no number; see watch.c */
    int probe;                        /* never watched; see direct.c */
    uv_poll_t *gate;                  /* watches `epoll`; see plain.c */
    size_t open_count;                /* what the caller has to close or cancel */
    size_t lookup_count;              /* look-ups that libuv has not finished */
};

/* Tells the watches whose descriptor was found to be closed. In watch.c. */
void torsion_uv_watch_tell_closed(torsion_uv_loop *loop);

/* Has epoll let go of what was closed while it watched it. In watch.c. */
void torsion_uv_watch_shed_strays(torsion_uv_loop *loop);

/* Frees all watches, and hands what libuv has of them to it for closing. In watch.c. */
void torsion_uv_watch_drain(torsion_uv_loop *loop);

/* Whether libuv of the one version, used by headers of the other (UV_VERSION_HEX), is watched in the
 * direct way. In version.c. */
int torsion_uv_knows_fields(unsigned int library, unsigned int headers);

/* Ends the process for a mistake of the caller. Stays on in release. */
static inline void torsion_uv_require(int condition, const char *sentence) {
    if (__builtin_expect(condition, 1)) return;
    fprintf(stderr, "torsion: %s\n", sentence);
    abort();
}

#endif
