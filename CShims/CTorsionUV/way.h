/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* What watch.c shares with direct.c and plain.c, the two ways in which libuv comes to tell of a
 * descriptor. */
#ifndef TORSION_UV_WAY_H
#define TORSION_UV_WAY_H

#include "shim.h"

typedef void (*torsion_uv_function)(void);

struct torsion_uv_watch {
    uv_poll_t poll; /* first: a pointer to it is one to the watch. This and the next in direct.c */
    torsion_uv_function translate;
    /* Who is told of the next event: `user`, `first_event`, or nobody while no watch is open. */
    torsion_uv_watch_event event;
    void *context;
    torsion_uv_watch_event user;
    void *user_context;
    torsion_uv_loop *loop;
    uint64_t opened_turn;
    torsion_uv_watch *next, *previous; /* in the list of closed ones */
    int is_listed;
    int descriptor;
    int events;   /* that are asked for */
    int is_armed; /* whether epoll was told to watch; not so of one that was found to be closed */
};

struct torsion_uv_way {
    /* Makes the loop ready for watches, and sets `epoll`. Returns 0 or a code. */
    int (*begin)(torsion_uv_loop *loop);
    /* Releases what begin() acquired; all watches have been freed. */
    void (*end)(torsion_uv_loop *loop);
    /* Sets a watch up, and frees it. */
    int (*make)(torsion_uv_watch *watch);
    void (*free)(torsion_uv_watch *watch);
    /* Before epoll is told to watch: whatever libuv has to know. Returns 0 or a code. */
    int (*start)(torsion_uv_watch *watch);
    /* epoll was told to watch for these events, or for nothing by 0. */
    void (*note)(torsion_uv_watch *watch, uint32_t events);
    /* Ends what start() began. */
    void (*stop)(torsion_uv_watch *watch);
    /* Moves all that is watched to another epoll. Returns whether the kernel had the memory. */
    int (*move)(torsion_uv_loop *loop);
};

/* Writes private fields of libuv's; NULL if these headers do not have them. In direct.c. */
extern const struct torsion_uv_way *const torsion_uv_direct_way;

/* Uses what libuv documents. In plain.c. */
extern const struct torsion_uv_way torsion_uv_plain_way;

/* While no watch is open. In watch.c. */
void torsion_uv_nobody(void *context, int events);

/* The bits of epoll_ctl(2) for `watch->events`. In watch.c. */
uint32_t torsion_uv_epoll_bits(const torsion_uv_watch *watch);

/* Starts the watch, and has epoll watch for its descriptor. In watch.c. */
int torsion_uv_watch_arm(torsion_uv_watch *watch);

/* The descriptor was found to be closed: the watch ends, and is told so in the next turn. In
 * watch.c. */
void torsion_uv_watch_lose(torsion_uv_watch *watch);

#endif
