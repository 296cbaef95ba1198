/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

#ifndef TORSION_TEST_THREADS_H
#define TORSION_TEST_THREADS_H

/// Nothing to call: threads.c acts when the program starts. Without a header it would be no module.

#endif
