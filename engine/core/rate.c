#include "core/rate.h"

static uint64_t *bucket(struct rate *rate, uint64_t second)
{
    return &rate->counts[second % RATE_BUCKETS];
}

/* Empties the buckets of the seconds that passed since the last look. */
static void turn_to(struct rate *rate, uint64_t second)
{
    uint64_t passed = MIN(second - rate->second, RATE_BUCKETS);

    for (uint64_t i = 0; i < passed; i++)
        *bucket(rate, second - i) = 0;
    rate->second = second;
}

void rate_add(struct rate *rate, uint64_t now_ms, uint64_t n)
{
    turn_to(rate, now_ms / 1000);
    *bucket(rate, rate->second) += n;
}

double rate_per_second(struct rate *rate, uint64_t now_ms, uint64_t seconds)
{
    double running = (double)(now_ms % 1000) / 1000;
    uint64_t sum = 0;

    CHECK(seconds < RATE_BUCKETS - 1);
    turn_to(rate, now_ms / 1000);
    for (uint64_t i = 0; i <= seconds; i++)
        sum += *bucket(rate, rate->second - i);
    return (double)sum / ((double)seconds + running);
}
