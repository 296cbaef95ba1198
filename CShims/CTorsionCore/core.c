/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "torsion_core.h"

#include <unistd.h>

#if TORSION_THREAD_ID_IS_A_FUNCTION
/* The address of a thread's own variable: unique among live threads, and one instruction to take. */
static _Thread_local char here;

uintptr_t torsion_thread_id(void) { return (uintptr_t)&here; }
#endif

void torsion_write_standard_error(const void *bytes, size_t count) {
    ssize_t written = write(STDERR_FILENO, bytes, count);
    (void)written;
}
