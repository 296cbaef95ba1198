/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#include "shim.h"

#include <stdlib.h>

const char *torsion_uv_environment(const char *name) { return getenv(name); }
