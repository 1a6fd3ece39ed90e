#pragma once
/*
 * Counts over the last seconds: a ring of one-second buckets.  Zeroed memory
 * is an empty one.  Not locked: it lies in what its owner locks.
 */
#include "base/base.h"

#define RATE_BUCKETS 64 /* a power of two */

struct rate {
    uint64_t second; /* of clock_ms() / 1000: the newest bucket's */
    uint64_t counts[RATE_BUCKETS];
};

/* Counts `n` now; time never goes back. */
void rate_add(struct rate *rate, uint64_t now_ms, uint64_t n);
/* The mean over the last `seconds` (at most 62) and the running one. */
double rate_per_second(struct rate *rate, uint64_t now_ms, uint64_t seconds);
