#include "api/handlers.h"
#include "api/reply.h"
#include "core/health.h"

/* Probes take whatever parameters their callers add: a load balancer that
 * appends one must not find the engine ill. */
static void answer(struct engine *engine, struct api_reply *reply,
                   int (*write)(struct engine *engine, struct buf *out))
{
    reply->content_type = "application/json";
    reply->status = write(engine, &reply->body);
}

void api_health(struct engine *engine, struct api_request *request,
                struct api_reply *reply)
{
    (void)request;
    answer(engine, reply, health_write);
}

void api_health_ready(struct engine *engine, struct api_request *request,
                      struct api_reply *reply)
{
    (void)request;
    answer(engine, reply, health_ready_write);
}

void api_health_live(struct engine *engine, struct api_request *request,
                     struct api_reply *reply)
{
    (void)request;
    answer(engine, reply, health_live_write);
}
