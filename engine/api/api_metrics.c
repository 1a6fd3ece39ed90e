#include "api/handlers.h"
#include "base/metrics.h"

void api_metrics(struct engine *engine, struct api_request *request,
                 struct api_reply *reply)
{
    (void)request;
    if (engine_is_open(engine))
        metric_set(metric(METRIC_POOL_CONNECTIONS),
                   store_connections(engine->store));
    reply->status = 200;
    reply->content_type =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";
    metrics_write(&reply->body);
}
