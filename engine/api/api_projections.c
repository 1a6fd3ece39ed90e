#include "api/handlers.h"
#include "api/reply.h"
#include "api/request.h"

/* ---- what is known ---- */

static void add_script(const struct script_set *scripts,
                       struct subscription_status *status)
{
    const struct projection_decl *decl =
        script_set_projection(scripts, status->name);

    if (decl == NULL)
        return;
    status->script_version = decl->version;
    status->script_hash = str_of(decl->hash);
}

/* Whoever holds the lease runs it, in another process; that it may have failed
 * there is not in the store. */
static enum subscription_state state_of(const struct checkpoint *point,
                                        uint64_t lag)
{
    if (uuid_is_nil(point->owner) || point->expired)
        return SUB_STOPPED;
    return lag == 0 ? SUB_LIVE : SUB_CATCHING_UP;
}

static struct subscription_status of_checkpoint(const struct checkpoint *point,
                                                uint64_t head)
{
    uint64_t lag = head > point->position ? head - point->position : 0;

    return (struct subscription_status){
        .name = point->slice.subscription,
        .state = state_of(point, lag),
        .position = point->position,
        .head = head,
        .lag_events = lag,
        .events_processed = point->events_processed,
        .generation = point->slice.generation,
    };
}

/* Nothing runs here (a one-shot command): what the store remembers. */
static bool list_stored(struct engine *engine, struct arena *arena,
                        struct subscription_status **out, size_t *count_out,
                        struct err *err)
{
    struct checkpoint *points;
    uint64_t head;

    if (!store_list_checkpoints(engine->store, arena, &points, count_out,
                                err) ||
        !store_head(engine->store, &head, err))
        return false;
    *out = ARENA_ARRAY(arena, struct subscription_status, *count_out);
    for (size_t i = 0; i < *count_out; i++) {
        (*out)[i] = of_checkpoint(&points[i], head);
        add_script(engine->scripts, &(*out)[i]);
    }
    return true;
}

static bool list_status(struct engine *engine, struct arena *arena,
                        struct subscription_status **out, size_t *count_out,
                        struct err *err)
{
    if (engine->subs == NULL)
        return list_stored(engine, arena, out, count_out, err);
    subscriptions_status(engine->subs, arena, out, count_out);
    return true;
}

/* ---- written ---- */

static void put_present(struct json_out *out, const char *key, struct str value)
{
    if (!str_is_none(value))
        json_put_str(out, key, value);
}

/* Fields of what does not exist yet (breakers, partitions, rebuild) are left
 * out; `reason` says why one is paused or in error. */
static void write_status(struct json_out *out,
                         const struct subscription_status *status)
{
    json_object(out, NULL);
    json_put_str(out, "name", status->name);
    json_put_text(out, "state", subscription_state_name(status->state));
    put_present(out, "reason", status->reason);
    json_put_u64(out, "position", status->position);
    json_put_u64(out, "head", status->head);
    json_put_u64(out, "lag_events", status->lag_events);
    json_put_double(out, "lag_seconds", status->lag_seconds);
    json_put_u64(out, "events_processed", status->events_processed);
    json_put_u64(out, "events_failed", status->events_failed);
    json_put_double(out, "events_per_second", status->events_per_second);
    json_put_double(out, "error_rate", status->error_rate);
    json_put_opt(out, "last_error", status->last_error);
    json_put_u64(out, "script_version", status->script_version);
    json_put_opt(out, "script_hash", status->script_hash);
    json_put_u64(out, "generation", status->generation);
    json_end(out, '}');
}

static bool list_projections(struct engine *engine, struct api_request *request,
                             struct api_reply *reply, struct err *err)
{
    struct subscription_status *all;
    struct json_out out;
    size_t count;

    if (!request_allow(request, NULL, 0, err) ||
        !list_status(engine, request->arena, &all, &count, err))
        return false;
    reply_json(reply, 200, &out);
    json_object(&out, NULL);
    json_array(&out, "projections");
    for (size_t i = 0; i < count; i++)
        write_status(&out, &all[i]);
    json_end(&out, ']');
    json_put_null(&out, "next");
    json_end(&out, '}');
    return true;
}

void api_projection_list(struct engine *engine, struct api_request *request,
                         struct api_reply *reply)
{
    struct err err;

    if (!list_projections(engine, request, reply, &err))
        api_problem(reply, &err);
}

static bool read_projection(struct engine *engine, struct api_request *request,
                            struct api_reply *reply, struct err *err)
{
    struct str name = request->segments[2];
    struct subscription_status *all;
    size_t count;

    if (!request_allow(request, NULL, 0, err) ||
        !list_status(engine, request->arena, &all, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct json_out out;

        if (!str_eq(all[i].name, name))
            continue;
        reply_json(reply, 200, &out);
        write_status(&out, &all[i]);
        return true;
    }
    return err_set(err, ERR_NOT_FOUND, "there is no projection '%.*s'",
                   STR_ARG(name));
}

void api_projection_read(struct engine *engine, struct api_request *request,
                         struct api_reply *reply)
{
    struct err err;

    if (!read_projection(engine, request, reply, &err))
        api_problem(reply, &err);
}
