/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
/* _GNU_SOURCE first in every shim: without it fd_set differs between modules (swift#69311). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <zlib.h>
