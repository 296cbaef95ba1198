/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

/* DEFLATE over borrowed memory: no Swift file sees zlib's header, whose initialisers are macros. */
#ifndef TORSION_ZLIB_H
#define TORSION_ZLIB_H

#ifndef __clang__
#define _Nonnull
#define _Nullable
#endif

#include <stddef.h>
#include <stdint.h>

/* Takes compression off, and puts it on. Each belongs to one thread at a time. */
typedef struct torsion_inflater torsion_inflater;
typedef struct torsion_deflater torsion_deflater;

enum torsion_zlib_result {
    TORSION_ZLIB_OK = 0,       /* the input is used up, or the output full */
    TORSION_ZLIB_BOUNDARY = 1, /* the input is used up, and ends on a byte between two blocks */
    TORSION_ZLIB_END = 2,      /* the stream has ended; the rest of the input is not used */
    TORSION_ZLIB_BAD = -1,     /* the input is no such stream */
    TORSION_ZLIB_MEMORY = -2
};

/* What a call has done: so much input was used, so much output written. */
struct torsion_zlib_progress {
    size_t used, written;
    int result;
};

/* `window_bits` as inflateInit2 has them: -15 for bare DEFLATE, 15 for zlib's form, 31 for gzip's. NULL
 * without memory. */
torsion_inflater *_Nullable torsion_inflater_new(int window_bits);
void torsion_inflater_free(torsion_inflater *_Nonnull inflater);
/* Begins a new stream, whose bytes refer to nothing before. */
void torsion_inflater_reset(torsion_inflater *_Nonnull inflater);
struct torsion_zlib_progress torsion_inflater_add(torsion_inflater *_Nonnull inflater,
                                                  const uint8_t *_Nonnull input, size_t count,
                                                  uint8_t *_Nonnull output, size_t capacity);

/* Bare DEFLATE, that refers to 2^window_bits bytes before at most: from 8 to 15. */
torsion_deflater *_Nullable torsion_deflater_new(int window_bits);
void torsion_deflater_free(torsion_deflater *_Nonnull deflater);
void torsion_deflater_reset(torsion_deflater *_Nonnull deflater);
/* Compresses all of the input, and ends on a byte with the empty block 00 00 ff ff (Z_SYNC_FLUSH). To be
 * called again with what is left of the input as long as the output is full. */
struct torsion_zlib_progress torsion_deflater_add(torsion_deflater *_Nonnull deflater,
                                                  const uint8_t *_Nonnull input, size_t count,
                                                  uint8_t *_Nonnull output, size_t capacity);

/* That of the library this runs with. */
const char *_Nonnull torsion_zlib_version(void);

#endif
