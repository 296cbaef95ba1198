/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the Torsion authors */

#include "load.h"
#include <string.h>

// Each power of two is cut into 64 parts: the error is below 1/64, whatever the size, and adding is
// a count of leading zeros and one increment.
enum { PARTS_LOG2 = 6, PARTS = 1 << PARTS_LOG2, BUCKETS = (64 - PARTS_LOG2 + 1) * PARTS };

static uint64_t counts[BUCKETS], total;

static unsigned bucket(uint64_t value) {
    if (value < PARTS) return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - PARTS_LOG2;
    return (shift + 1) * PARTS + (unsigned)(value >> shift) - PARTS;
}

static uint64_t lower_bound(unsigned bucket) {
    if (bucket < PARTS) return bucket;
    return (uint64_t)(PARTS + bucket % PARTS) << (bucket / PARTS - 1);
}

void histogram_reset(void) {
    memset(counts, 0, sizeof counts);
    total = 0;
}

void histogram_add(uint64_t nanoseconds) {
    counts[bucket(nanoseconds)]++;
    total++;
}

uint64_t histogram_percentile(double fraction) {
    uint64_t rank = (uint64_t)((double)total * fraction), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += counts[i];
        if (seen > rank) return lower_bound(i);
    }
    return 0;
}
