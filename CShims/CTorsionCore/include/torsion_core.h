/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_CORE_H
#define TORSION_CORE_H

#include <stdint.h>

/* A number that names the calling thread while it lives, never 0. Out of line on purpose: glibc
 * declares pthread_self() const, so that optimised async code keeps its value across a suspension
 * and a check made with it lies. Callable from any thread. */
uintptr_t torsion_thread_id(void);

#endif
