#include "store/pool_size.h"

#include "base/base.h"

#define SIZE_MIN 2 /* one commits while the other reads */

struct pool_plan pool_plan_of(uint32_t instances, uint32_t max_connections)
{
    struct pool_plan plan = {.instances = instances,
                             .max_connections = max_connections,
                             .source = POOL_BY_FORMULA};
    uint32_t usable, share;

    CHECK(instances > 0 && max_connections > 0);
    usable = (uint32_t)((uint64_t)max_connections * 9 / 10);
    share = usable / instances;
    plan.size = MIN(MAX(share / 3, SIZE_MIN), POOL_SIZE_MAX);
    plan.is_short = share < plan.size;
    if (!plan.is_short)
        plan.overflow = MIN(share - plan.size, POOL_OVERFLOW_MAX);
    return plan;
}

const char *pool_source_name(enum pool_source source)
{
    static const char *const names[] = {
        [POOL_BY_DEFAULT] = "default",
        [POOL_BY_SETTINGS] = "settings",
        [POOL_BY_FORMULA] = "formula",
    };

    return names[source];
}

uint64_t pool_plan_sum(const struct pool_plan *plan)
{
    return (uint64_t)plan->instances * ((uint64_t)plan->size + plan->overflow);
}

uint32_t pool_plan_share(const struct pool_plan *plan, uint32_t room)
{
    uint32_t share = room / plan->instances;

    return share >= SIZE_MIN ? share : 0;
}
