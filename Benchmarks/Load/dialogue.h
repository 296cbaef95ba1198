/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

// What two ends say to each other again and again.
#ifndef DIALOGUE_H
#define DIALOGUE_H

#include "load.h"

struct dialogue {
    char *requests; // one after the other, all of one length; each connection goes round them
    size_t request_bytes, request_count;
    size_t answer_bytes;
    const char *answer_start;
};

/* Sends requests over the connections that `open` makes, until the time or the number is reached. */
void run_loops(const struct request *request, const struct dialogue *dialogue, struct result *result,
               int (*open)(const struct request *, unsigned source));

#endif
