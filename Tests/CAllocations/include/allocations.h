/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

#pragma once

#include <stdint.h>

/* How many pieces of memory the calling thread has been given so far by malloc(3) and its kin; 0 for
 * good under a sanitizer, which has an allocator of its own. */
uint64_t torsion_test_allocation_count(void);
