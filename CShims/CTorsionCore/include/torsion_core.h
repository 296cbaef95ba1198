/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_CORE_H
#define TORSION_CORE_H

#include <stddef.h>
#include <stdint.h>

/* A number that names the calling thread while it lives, never 0. Out of line on purpose: glibc
 * declares pthread_self() const, so that optimised async code keeps its value across a suspension
 * and a check made with it lies. Callable from any thread. */
uintptr_t torsion_thread_id(void);

/* Writes one line on standard error, with one write(2); what does not fit a full pipe is dropped.
 * Callable from any thread. */
void torsion_write_standard_error(const void *_Nullable bytes, size_t count);

#endif
