/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* Of liburing the shim uses the three system calls and the functions that prepare an entry. Its
 * structures are its own, and what is in them depends on the release that runs: `sq.array`, for one,
 * is NULL from 2.6 on. The queues are mapped as io_uring_setup(2) says. */
#ifndef TORSION_URING_LIBURING_HERE_H
#define TORSION_URING_LIBURING_HERE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <liburing.h>

/* Came with 2.3, which has no number of its version in its headers. */
#ifndef IORING_RECV_MULTISHOT
#error "Torsion's io_uring backend needs liburing 2.3 or later; Torsion without it has no trait `IOUring`."
#endif

#include "torsion_uring.h"

enum { TORSION_URING_BUFFER_GROUP = 1 };

#endif
