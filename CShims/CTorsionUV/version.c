/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* Which libuv is used in which way. A program may run with another libuv than it was built with: all
 * of them have one soname, and private fields have changed within it. */
#include "shim.h"

enum { VERSION_1_42 = 0x012a00, VERSION_1_44 = 0x012c00, VERSION_1_45 = 0x012d00 };
enum { VERSION_1_49 = 0x013100, VERSION_1_53 = 0x013500 };

/* By `make versions`; the first later one was not there yet. */
static int is_tested(unsigned int version) {
    return version >= VERSION_1_42 && version < VERSION_1_53;
}

/* As direct.c asks of its headers. */
static int has_known_fields(unsigned int version) {
    return version >= VERSION_1_44 && version < VERSION_1_53;
}

/* From 1.45 to 1.48 a descriptor that libuv removes from epoll while it delivers a batch is removed
 * at the batch's end only, and with it what the shim has added since; and a ring of libuv's own lies
 * in its epoll, which nobody else can move to another one. */
static int leaves_epoll_alone(unsigned int version) {
    return version < VERSION_1_45 || version >= VERSION_1_49;
}

int torsion_uv_knows_fields(unsigned int library, unsigned int headers) {
    return has_known_fields(library) && has_known_fields(headers) && leaves_epoll_alone(library);
}

int torsion_uv_is_watched_directly(void) {
    return torsion_uv_knows_fields(uv_version(), UV_VERSION_HEX);
}

int torsion_uv_is_tested(void) { return is_tested(uv_version()); }

const char *torsion_uv_version(void) { return uv_version_string(); }

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

const char *torsion_uv_built_version(void) {
    return TEXT(UV_VERSION_MAJOR) "." TEXT(UV_VERSION_MINOR) "." TEXT(UV_VERSION_PATCH);
}
