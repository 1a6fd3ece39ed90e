#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/stamp.h"
#include "base/clock.h"
#include "base/metrics.h"

/* ---- run a command ---- */

/* A command without input may come without a body. */
static bool read_input(const struct api_request *request, struct str *out,
                       struct err *err)
{
    struct json input;

    *out = STR("{}");
    if (request->body.len == 0)
        return true;
    if (!request_object(request, &input, err))
        return false;
    *out = input.raw;
    return true;
}

static bool parse_command(const struct api_request *request,
                          struct command_request *command, struct err *err)
{
    command->command = request->segments[4];
    stamp_command(request, command);
    return request_allow(request, NULL, 0, err) &&
           request_stream(request, &command->aggregate_type,
                          &command->aggregate_id, err) &&
           request_if_match(request, &command->version_given, &command->version,
                            err) &&
           read_input(request, &command->input, err);
}

static void write_result(struct api_reply *reply,
                         const struct command_request *command,
                         const struct command_result *result)
{
    struct json_out out;

    reply_json(reply, 200, &out);
    reply->etag = result->version;
    json_object(&out, NULL);
    json_put_str(&out, "aggregate_type", command->aggregate_type);
    json_put_str(&out, "aggregate_id", command->aggregate_id);
    json_put_u64(&out, "version", result->version);
    json_array(&out, "events");
    for (size_t i = 0; i < result->count; i++)
        event_write(&out, NULL, &result->events[i]);
    json_end(&out, ']');
    json_put_raw(&out, "state", result->state);
    json_put_bool(&out, "idempotent", result->idempotent);
    json_end(&out, '}');
}

static bool take_key(const struct api_request *request,
                     const struct command_request *command,
                     struct append_key *out)
{
    struct str parts[] = {
        STR("command"),   command->aggregate_type, command->aggregate_id,
        command->command, command->input,          request->if_match,
    };

    return idempotency_key(request, parts, COUNT(parts), out);
}

static bool run_command(struct engine *engine, struct api_request *request,
                        struct api_reply *reply, struct err *err)
{
    struct command_request command = {0};
    struct command_result result;
    struct append_key key;

    if (!parse_command(request, &command, err))
        return false;
    if (take_key(request, &command, &key))
        command.key = &key;
    if (!aggregate_command(engine->aggregates, &command, request->arena,
                           &result, err))
        return false;
    write_result(reply, &command, &result);
    return true;
}

void api_command_run(struct engine *engine, struct api_request *request,
                     struct api_reply *reply)
{
    uint64_t began_us = clock_us();
    struct err err;

    if (!run_command(engine, request, reply, &err))
        api_problem(reply, &err);
    metric_observe(metric(METRIC_COMMAND_DURATION),
                   (double)(clock_us() - began_us) / 1e6);
}

/* ---- read a state ---- */

struct state_read {
    struct str type, id;
    uint64_t at;
};

static void write_state(struct api_reply *reply, const struct state_read *read,
                        uint64_t version, struct str state)
{
    struct json_out out;

    reply_json(reply, 200, &out);
    reply->etag = version;
    json_object(&out, NULL);
    json_put_str(&out, "aggregate_type", read->type);
    json_put_str(&out, "aggregate_id", read->id);
    json_put_u64(&out, "version", version);
    json_put_raw(&out, "state", state);
    json_end(&out, '}');
}

static bool read_at(const struct api_request *request, uint64_t *out,
                    struct err *err)
{
    return request_u64(request, "at", AGGREGATE_NOW, out, err) &&
           (*out >= 1 ||
            request_bad_param(STR("at"), err, "expected a version from 1 on"));
}

static bool read_state(struct engine *engine, struct api_request *request,
                       struct api_reply *reply, struct err *err)
{
    static const char *const params[] = {"at"};
    struct state_read read;
    uint64_t version;
    struct str state;

    if (!request_allow(request, params, COUNT(params), err) ||
        !request_stream(request, &read.type, &read.id, err) ||
        !read_at(request, &read.at, err) ||
        !aggregate_state(engine->aggregates, read.type, read.id, read.at,
                         request->arena, &version, &state, err))
        return false;
    write_state(reply, &read, version, state);
    return true;
}

void api_aggregate_read(struct engine *engine, struct api_request *request,
                        struct api_reply *reply)
{
    struct err err;

    if (!read_state(engine, request, reply, &err))
        api_problem(reply, &err);
}
