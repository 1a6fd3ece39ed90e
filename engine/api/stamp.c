#include "api/stamp.h"

#include "api/request.h"

struct stamp {
    struct str tenant_id; /* STR_NONE when nobody said, as the rest */
    struct str actor_id;
    struct str correlation_id;
    struct str causation_id;
    struct str traceparent;
};

/* A traceparent that is not well formed is nobody's: the trace begins anew, as
 * its specification wants, and the request goes on. */
static struct stamp stamp_of(const struct api_request *request)
{
    const struct api_caller *caller = &request->caller;
    struct stamp stamp = {
        .tenant_id =
            caller->tenant.len > 0 ? caller->tenant : request->tenant_id,
        .actor_id = caller->actor.len > 0 ? caller->actor : request->actor_id,
        .correlation_id = request->correlation_id,
        .causation_id = request->causation_id,
    };

    if (!str_is_none(request->traceparent) &&
        request_is_traceparent(request->traceparent))
        stamp.traceparent = request->traceparent;
    return stamp;
}

static bool is_blank(const struct stamp *stamp)
{
    return str_is_none(stamp->tenant_id) && str_is_none(stamp->actor_id) &&
           str_is_none(stamp->correlation_id) &&
           str_is_none(stamp->causation_id) && str_is_none(stamp->traceparent);
}

/* Behind what the producer wrote, none of which is changed. */
static struct str add_trace(struct str metadata, struct str traceparent,
                            struct arena *arena)
{
    struct str name = STR("traceparent");
    bool is_empty = metadata.len == 2; /* it is compact: {} */

    if (str_is_none(traceparent) ||
        json_get(json_value(metadata), name).kind != JSON_END)
        return metadata;
    return str_of(arena_printf(
        arena, "%.*s%s\"%.*s\":\"%.*s\"}", (int)metadata.len - 1, metadata.ptr,
        is_empty ? "" : ",", STR_ARG(name), STR_ARG(traceparent)));
}

void stamp_command(const struct api_request *request,
                   struct command_request *command)
{
    struct stamp stamp = stamp_of(request);

    command->tenant_id = stamp.tenant_id;
    command->actor_id = stamp.actor_id;
    command->correlation_id = stamp.correlation_id;
    command->causation_id = stamp.causation_id;
    command->metadata = add_trace(STR("{}"), stamp.traceparent, request->arena);
}

/* ---- events that came in a body ---- */

static bool check_bound(struct str said, struct str bound, size_t index,
                        const char *field, struct err *err)
{
    if (bound.len == 0 || str_is_none(said) || str_eq(said, bound))
        return true;
    return err_set(err, ERR_FORBIDDEN,
                   "events[%zu].%s: the token is bound to '%.*s'", index, field,
                   STR_ARG(bound));
}

static void fill(struct str *said, struct str otherwise)
{
    if (str_is_none(*said))
        *said = otherwise;
}

static void stamp_event(const struct stamp *stamp, struct arena *arena,
                        struct event *event)
{
    fill(&event->tenant_id, stamp->tenant_id);
    fill(&event->actor_id, stamp->actor_id);
    fill(&event->correlation_id, stamp->correlation_id);
    fill(&event->causation_id, stamp->causation_id);
    event->metadata = add_trace(event->metadata, stamp->traceparent, arena);
}

bool stamp_append(const struct api_request *request,
                  struct append_request *append, struct err *err)
{
    const struct api_caller *caller = &request->caller;
    struct stamp stamp = stamp_of(request);
    struct event *events;

    if (is_blank(&stamp))
        return true;
    events = ARENA_ARRAY(request->arena, struct event, append->count);
    for (size_t i = 0; i < append->count; i++) {
        events[i] = append->events[i];
        if (!check_bound(events[i].tenant_id, caller->tenant, i, "tenant_id",
                         err) ||
            !check_bound(events[i].actor_id, caller->actor, i, "actor_id", err))
            return false;
        stamp_event(&stamp, request->arena, &events[i]);
    }
    append->events = events;
    return true;
}
