#include "core/pool_check.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

/* SQLite knows no overflow. */
static void log_plan(const struct pool_plan *plan, enum store_kind kind)
{
    uint32_t overflow = kind == STORE_SQLITE ? 0 : plan->overflow;

    if (plan->source == POOL_BY_FORMULA)
        log_info("pool", "pool is sized", LOG_U64("pool_size", plan->size),
                 LOG_U64("max_overflow", overflow),
                 LOG_TEXT("source", pool_source_name(plan->source)),
                 LOG_U64("instance_count", plan->instances),
                 LOG_U64("max_db_connections", plan->max_connections));
    else
        log_info("pool", "pool is sized", LOG_U64("pool_size", plan->size),
                 LOG_U64("max_overflow", overflow),
                 LOG_TEXT("source", pool_source_name(plan->source)));
}

static void warn_if_short(const struct pool_plan *plan)
{
    if (!plan->is_short)
        return;
    log_warning("pool", "max_db_connections is too few for so many engines",
                LOG_U64("instance_count", plan->instances),
                LOG_U64("max_db_connections", plan->max_connections),
                LOG_U64("opened_together", pool_plan_sum(plan)),
                LOG_TEXT("advice", "run fewer engines, or raise "
                                   "database.max_db_connections and the "
                                   "server's max_connections"));
}

uint32_t pool_check_room(const struct server_limits *limits)
{
    if (limits->pooled || limits->max_connections <= limits->reserved)
        return 0;
    return limits->max_connections - limits->reserved;
}

static void warn_of_sum(const struct pool_plan *plan,
                        const struct server_limits *limits, uint32_t room)
{
    uint64_t sum = pool_plan_sum(plan);
    uint32_t share = pool_plan_share(plan, room);
    char advice[160];

    if (share > 0)
        snprintf(advice, sizeof(advice),
                 "let database.pool_size and max_overflow be %" PRIu32
                 " together, or the server's max_connections %" PRIu64,
                 share, sum + limits->reserved);
    else
        snprintf(advice, sizeof(advice),
                 "run fewer engines, or let the server's max_connections be "
                 "%" PRIu64,
                 sum + limits->reserved);
    log_warning("pool", "the pools of all engines do not fit the server",
                LOG_U64("instance_count", plan->instances),
                LOG_U64("pool_size", plan->size),
                LOG_U64("max_overflow", plan->overflow),
                LOG_U64("opened_together", sum),
                LOG_U64("max_connections", limits->max_connections),
                LOG_U64("reserved", limits->reserved),
                LOG_TEXT("advice", advice));
}

void pool_check(struct store *store, const struct pool_plan *plan)
{
    struct server_limits limits;
    struct err err;
    uint32_t room;

    log_plan(plan, store_kind(store));
    warn_if_short(plan);
    if (!store_server_limits(store, &limits, &err)) {
        log_warning("pool", "the server did not say its limits",
                    LOG_TEXT("exception", err.text));
        return;
    }
    room = pool_check_room(&limits);
    if (room > 0 && pool_plan_sum(plan) > room)
        warn_of_sum(plan, &limits, room);
}
