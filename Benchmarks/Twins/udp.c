/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// Echo of datagrams on bare epoll: what waits is received by one recvmmsg() and sent back by one
// sendmmsg(), from the headers and the bytes that it was received into. What the socket has no room
// for is lost, as on any network.
#include "twin.h"
#include <sys/epoll.h>

enum { BATCH = 32, BYTES = 65536, TURNS = 4 };

struct worker {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_storage peers[BATCH];
    char *bytes;
};

static void prepare(struct worker *w, int i) {
    w->vectors[i] = (struct iovec){.iov_base = w->bytes + (size_t)i * BYTES, .iov_len = BYTES};
    w->messages[i].msg_hdr = (struct msghdr){
        .msg_name = &w->peers[i], .msg_namelen = sizeof w->peers[i],
        .msg_iov = &w->vectors[i], .msg_iovlen = 1};
}

static void echo(struct worker *w, int fd) {
    // A full batch means that there is likely more.
    for (int turn = 0; turn < TURNS; turn++) {
        int count = recvmmsg(fd, w->messages, BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0) return;
        for (int i = 0; i < count; i++) w->vectors[i].iov_len = w->messages[i].msg_len;
        for (int sent = 0, n; sent < count; sent += n) {
            n = sendmmsg(fd, w->messages + sent, (unsigned)(count - sent), MSG_DONTWAIT);
            if (n <= 0) n = 1;
        }
        for (int i = 0; i < count; i++) prepare(w, i);
        if (count < BATCH) return;
    }
}

static void *worker_main(void *arg) {
    (void)arg;
    struct worker *w = calloc(1, sizeof *w);
    if (!w || !(w->bytes = malloc((size_t)BATCH * BYTES))) twin_die("malloc");
    for (int i = 0; i < BATCH; i++) prepare(w, i);
    int fd = twin_listen(), ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e)) twin_die("epoll_ctl");
    for (;;)
        if (epoll_wait(ep, &e, 1, -1) == 1) echo(w, fd);
    return NULL;
}

int main(int argc, char **argv) {
    twin_type = SOCK_DGRAM;
    return twin_main(argc, argv, "epoll", worker_main);
}
