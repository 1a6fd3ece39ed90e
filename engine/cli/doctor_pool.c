#include "cli/doctor.h"
#include "cli/setup.h"
#include "core/pool_check.h"

#include <inttypes.h>

#define TOPIC "pool"

static void judge_room(const struct pool_plan *plan,
                       const struct server_limits *limits, uint32_t room,
                       struct findings *findings)
{
    uint64_t sum = pool_plan_sum(plan);
    uint32_t share = pool_plan_share(plan, room);
    struct arena *arena = &findings->arena;
    const char *change;

    if (sum <= room) {
        finding_ok(findings, TOPIC,
                   "%" PRIu64 " of the server's max_connections = %" PRIu32
                   ", which keeps %" PRIu32 " back",
                   sum, limits->max_connections, limits->reserved);
        return;
    }
    if (share > 0)
        change =
            arena_printf(arena,
                         "let database.pool_size and max_overflow be %" PRIu32
                         " together, or the server's max_connections %" PRIu64,
                         share, sum + limits->reserved);
    else
        change = arena_printf(arena,
                              "run fewer engines, or let the server's "
                              "max_connections be %" PRIu64,
                              sum + limits->reserved);
    finding_warning(findings, TOPIC, change,
                    "%" PRIu64 " do not fit the server's max_connections = "
                    "%" PRIu32 ", which keeps %" PRIu32 " back",
                    sum, limits->max_connections, limits->reserved);
}

void doctor_judge_pool(const struct pool_plan *plan,
                       const struct server_limits *limits,
                       struct findings *findings)
{
    uint32_t room = limits != NULL ? pool_check_room(limits) : 0;

    finding_ok(findings, TOPIC,
               "%" PRIu32 " connections and %" PRIu32 " under load (%s), in "
               "each of %" PRIu32 ": %" PRIu64,
               plan->size, plan->overflow, pool_source_name(plan->source),
               plan->instances, pool_plan_sum(plan));
    if (plan->is_short)
        finding_warning(findings, TOPIC,
                        "run fewer engines, or raise "
                        "database.max_db_connections and the server's "
                        "max_connections",
                        "%" PRIu32 " connections are too few for %" PRIu32
                        " engines, which need 2 each",
                        plan->max_connections, plan->instances);
    if (limits != NULL && limits->pooled)
        finding_ok(findings, TOPIC,
                   "the pooler's limits count, not the server's; notices and "
                   "migrations go past it");
    else if (room > 0)
        judge_room(plan, limits, room, findings);
}

static bool ask_limits(const struct store_options *options,
                       struct server_limits *out)
{
    struct err ignored = {0};
    struct store *store = store_open(options, &ignored);
    bool answered = store != NULL && store_server_limits(store, out, &ignored);

    store_close(store);
    return answered;
}

void doctor_examine_pool(const struct config *config,
                         const struct store_look *look,
                         struct findings *findings)
{
    struct engine_options options;
    struct server_limits limits;
    bool answered;

    if (look->kind == STORE_SQLITE)
        return; /* there is no server */
    setup_engine_options(config, &options);
    answered = look->is_reached && ask_limits(&options.store, &limits);
    doctor_judge_pool(&options.pool, answered ? &limits : NULL, findings);
}
