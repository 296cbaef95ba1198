/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#define _GNU_SOURCE
#include "torsion_call_faults.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local int failing_number, longest_segment, segmented;

void torsion_fail_segments(int number, int longest) {
    failing_number = number;
    longest_segment = longest;
    segmented = 0;
}

int torsion_segmented_messages(void) { return segmented; }

/* 0 if the message is one datagram. */
static int segment_size(struct msghdr *message) {
    uint16_t size;
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    if (!head || head->cmsg_level != SOL_UDP || head->cmsg_type != UDP_SEGMENT) return 0;
    memcpy(&size, CMSG_DATA(head), sizeof size);
    return size;
}

/* The linker prefers a program's own function to the C library's. */
int sendmmsg(int descriptor, struct mmsghdr *messages, unsigned int count, int flags) {
    unsigned int possible = 0;
    for (; possible < count; possible++) {
        int size = segment_size(&messages[possible].msg_hdr);
        if (size) segmented++;
        if (size && failing_number && size > longest_segment) break;
    }
    if (possible == 0 && count > 0) {
        errno = failing_number;
        return -1;
    }
    return (int)syscall(SYS_sendmmsg, descriptor, messages, possible, flags);
}
