/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "torsion_core.h"

#include <stdlib.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#if TORSION_THREAD_ID_IS_A_FUNCTION
/* The address of a thread's own variable: unique among live threads, and one instruction to take. */
static _Thread_local char here;

uintptr_t torsion_thread_id(void) { return (uintptr_t)&here; }
#endif

void torsion_release_free_memory(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void torsion_write_standard_error(const void *bytes, size_t count) {
    ssize_t written = write(STDERR_FILENO, bytes, count);
    (void)written;
}
