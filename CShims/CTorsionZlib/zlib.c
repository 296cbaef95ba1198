/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */
#ifdef TORSION_ZLIB

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "torsion_zlib.h"

struct torsion_inflater {
    z_stream stream;
};

struct torsion_deflater {
    z_stream stream;
};

/* zlib counts in 32 bits; the caller comes again with the rest. */
static uInt limited(size_t count) { return count < UINT_MAX ? (uInt)count : UINT_MAX; }

/* zlib takes no `const` pointers unless it is told to by a macro, and changes nothing. */
static void lend(z_stream *stream, const uint8_t *input, size_t count, uint8_t *output,
                 size_t capacity) {
    stream->next_in = (Bytef *)(uintptr_t)input;
    stream->avail_in = limited(count);
    stream->next_out = output;
    stream->avail_out = limited(capacity);
}

static struct torsion_zlib_progress take_back(z_stream *stream, const uint8_t *input,
                                              uint8_t *output, int result) {
    struct torsion_zlib_progress progress = {(size_t)(stream->next_in - input),
                                             (size_t)(stream->next_out - output), result};
    stream->next_in = NULL;
    stream->next_out = NULL;
    return progress;
}

torsion_inflater *torsion_inflater_new(int window_bits) {
    torsion_inflater *inflater = calloc(1, sizeof *inflater);
    if (inflater == NULL) return NULL;
    if (inflateInit2(&inflater->stream, window_bits) == Z_OK) return inflater;
    free(inflater);
    return NULL;
}

void torsion_inflater_free(torsion_inflater *inflater) {
    inflateEnd(&inflater->stream);
    free(inflater);
}

void torsion_inflater_reset(torsion_inflater *inflater) { inflateReset(&inflater->stream); }

/* What `data_type` says after inflate(3): how many bits of the last byte are unused, and that a block has
 * ended. */
enum { UNUSED_BITS = 63, IS_BETWEEN_BLOCKS = 128 };

struct torsion_zlib_progress torsion_inflater_add(torsion_inflater *inflater, const uint8_t *input,
                                                  size_t count, uint8_t *output, size_t capacity) {
    z_stream *stream = &inflater->stream;
    lend(stream, input, count, output, capacity);
    int code = inflate(stream, Z_SYNC_FLUSH);
    int is_used_up = stream->avail_in == 0 && count <= UINT_MAX;
    int is_boundary = is_used_up && (stream->data_type & IS_BETWEEN_BLOCKS) != 0 &&
                      (stream->data_type & UNUSED_BITS) == 0;
    int result = TORSION_ZLIB_BAD;
    switch (code) {
    case Z_STREAM_END: result = TORSION_ZLIB_END; break;
    case Z_OK:
    /* Nothing could be done: there is no more input, or no room. */
    case Z_BUF_ERROR: result = is_boundary ? TORSION_ZLIB_BOUNDARY : TORSION_ZLIB_OK; break;
    case Z_MEM_ERROR: result = TORSION_ZLIB_MEMORY; break;
    }
    return take_back(stream, input, output, result);
}

torsion_deflater *torsion_deflater_new(int window_bits) {
    torsion_deflater *deflater = calloc(1, sizeof *deflater);
    if (deflater == NULL) return NULL;
    /* zlib has no window of 256 bytes for bare DEFLATE. Of one of 512 it refers 250 back at most
     * (MIN_LOOKAHEAD in its deflate.h), so that the smaller window holds what is referred to. */
    int bits = window_bits < 9 ? 9 : window_bits;
    if (deflateInit2(&deflater->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -bits, 8,
                     Z_DEFAULT_STRATEGY) == Z_OK)
        return deflater;
    free(deflater);
    return NULL;
}

void torsion_deflater_free(torsion_deflater *deflater) {
    deflateEnd(&deflater->stream);
    free(deflater);
}

void torsion_deflater_reset(torsion_deflater *deflater) { deflateReset(&deflater->stream); }

struct torsion_zlib_progress torsion_deflater_add(torsion_deflater *deflater, const uint8_t *input,
                                                  size_t count, uint8_t *output, size_t capacity) {
    z_stream *stream = &deflater->stream;
    lend(stream, input, count, output, capacity);
    /* Z_BUF_ERROR: everything was flushed before. */
    deflate(stream, count <= UINT_MAX ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    return take_back(stream, input, output, TORSION_ZLIB_OK);
}

const char *torsion_zlib_version(void) { return zlibVersion(); }

#endif
