#include "api/handlers.h"
#include "base/metrics.h"

static void set_state(const char *state, uint32_t connections)
{
    metric_set(metric_labelled(METRIC_POOL_CONNECTIONS, state), connections);
}

static void look_at_pool(struct store *store)
{
    struct pool_status pool;

    store_pool_status(store, &pool);
    set_state("idle", pool.idle);
    set_state("lent", pool.lent);
    set_state("connecting", pool.connecting);
}

void api_metrics(struct engine *engine, struct api_request *request,
                 struct api_reply *reply)
{
    (void)request;
    if (engine_is_open(engine))
        look_at_pool(engine->store);
    reply->status = 200;
    reply->content_type =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";
    metrics_write(&reply->body);
}
