#pragma once
/*
 * How many connections an engine may open, and whether all engines together
 * fit the server.  Arithmetic only; nothing is opened or asked here.
 *
 *   usable      nine tenths of what the server gives, the rest is for people
 *   share       floor(usable / instances): one engine's
 *   pool_size   a third of the share, at least 2: they stay open
 *   overflow    the rest of it: they are opened under load, and closed
 *
 * A share of less than 2 cannot be kept: an engine does not work with one
 * connection.  It gets 2 and no overflow, and the plan says that it is short.
 */
#include <stdbool.h>
#include <stdint.h>

/* The most that settings, and so the formula, may ask for. */
#define POOL_SIZE_MAX     256
#define POOL_OVERFLOW_MAX 512

enum pool_source { POOL_BY_DEFAULT, POOL_BY_SETTINGS, POOL_BY_FORMULA };

struct pool_plan {
    uint32_t size;
    uint32_t overflow;
    uint32_t instances;       /* engines on this database, this one included */
    uint32_t max_connections; /* what the formula divided; else not used */
    enum pool_source source;
    bool is_short; /* the formula's share was less than 2 */
};

/* By the formula; neither number may be 0. */
struct pool_plan pool_plan_of(uint32_t instances, uint32_t max_connections);
/* "default", "settings" or "formula". */
const char *pool_source_name(enum pool_source source);
/* What all engines together may open. */
uint64_t pool_plan_sum(const struct pool_plan *plan);
/* The size of each engine's pool with which the sum fits into `room`, overflow
 * included; 0 when there is none. */
uint32_t pool_plan_share(const struct pool_plan *plan, uint32_t room);
