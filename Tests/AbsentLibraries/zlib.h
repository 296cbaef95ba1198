/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* Found instead of the library's own where `make plain` builds without traits. */
#error "zlib is asked for without the trait Zlib"
