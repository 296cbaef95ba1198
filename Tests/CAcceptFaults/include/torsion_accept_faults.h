/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifndef TORSION_ACCEPT_FAULTS_H
#define TORSION_ACCEPT_FAULTS_H

/* Stands before accept4(2) in a test program, so that the real listeners meet errors that the
 * kernel seldom gives. All of it is about the calling thread alone. */

/* Makes the next `count` calls fail with this errno, and begins to count calls anew. */
void torsion_fail_accepts(int number, int count);

/* Calls since then, those that failed too. */
int torsion_accept_calls(void);

#endif
