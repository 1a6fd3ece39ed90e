#include "api/append_body.h"
#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/stamp.h"

/* ---- append ---- */

static void write_appended(struct api_reply *reply,
                           const struct append_result *result)
{
    struct json_out out;

    reply_json(reply, 200, &out);
    json_object(&out, NULL);
    json_put_u64(&out, "version", result->version);
    json_put_u64(&out, "first_position", result->first_position);
    json_put_u64(&out, "last_position", result->last_position);
    json_put_bool(&out, "idempotent", result->idempotent);
    json_end(&out, '}');
}

/* `If-Match` is another way to say a version; two that differ are a mistake. */
static bool read_if_match(const struct api_request *request, struct json body,
                          struct append_request *append, struct err *err)
{
    struct json said = json_get(body, STR("expected_version"));
    uint64_t version;
    bool given;

    if (!request_if_match(request, &given, &version, err))
        return false;
    if (given && (said.kind == JSON_END || said.kind == JSON_NULL)) {
        append->expect = EXPECT_VERSION;
        append->expected_version = version;
    }
    return !given ||
           (append->expect == EXPECT_VERSION &&
            append->expected_version == version) ||
           err_set(err, ERR_BAD_REQUEST,
                   "header If-Match: differs from the body's "
                   "expected_version; one of the two is enough");
}

/* The queue looks the key up under the log's lock: a request that comes again
 * is never decided on. */
static bool take_key(const struct api_request *request,
                     const struct append_request *append, struct str body,
                     struct append_key *out)
{
    struct str parts[] = {STR("append"), append->aggregate_type,
                          append->aggregate_id, body, request->if_match};

    return idempotency_key(request, parts, COUNT(parts), out);
}

static bool append(struct engine *engine, struct api_request *request,
                   struct api_reply *reply, struct err *err)
{
    struct append_request append = {0};
    struct append_result result;
    struct append_key key;
    struct json body;

    if (!request_allow(request, NULL, 0, err) ||
        !request_stream(request, &append.aggregate_type, &append.aggregate_id,
                        err) ||
        !request_object(request, &body, err) ||
        !append_body_read(body, engine->scripts, request->arena, &append,
                          err) ||
        !read_if_match(request, body, &append, err) ||
        !stamp_append(request, &append, err))
        return false;
    if (take_key(request, &append, body.raw, &key))
        append.key = &key;
    if (!append_submit(engine->queue, &append,
                       engine->options.append_timeout_ms, &result, err))
        return false;
    write_appended(reply, &result);
    return true;
}

void api_stream_append(struct engine *engine, struct api_request *request,
                       struct api_reply *reply)
{
    struct err err;

    if (!append(engine, request, reply, &err))
        api_problem(reply, &err);
}

/* ---- read ---- */

/* `next` is the version to go on from, in the direction of the page: the one
 * behind the last that is shown, as long as there is one. */
static uint64_t next_version(const struct event_page *page, size_t shown,
                             bool backward)
{
    uint64_t last = shown > 0 ? page->events[shown - 1].aggregate_version : 0;
    bool is_cut = page->count > shown || page->cut;

    if (shown == 0 || !is_cut)
        return 0;
    return backward ? last - 1 : last + 1;
}

struct stream_read {
    struct str type, id;
    uint64_t from;
    uint32_t limit;
    bool backward;
};

static bool parse_read(const struct api_request *request,
                       struct stream_read *read, struct err *err)
{
    static const char *const params[] = {"from", "limit", "backward"};

    if (!request_allow(request, params, COUNT(params), err) ||
        !request_stream(request, &read->type, &read->id, err) ||
        !request_limit(request, &read->limit, err) ||
        !request_flag(request, "backward", &read->backward, err))
        return false;
    return request_u64(request, "from", read->backward ? 0 : 1, &read->from,
                       err);
}

/* One more than asked for is read: it tells whether there is a next page. */
static bool read_stream(struct engine *engine, struct api_request *request,
                        struct api_reply *reply, struct err *err)
{
    struct stream_read read;
    struct event_page *page;
    size_t shown;

    if (!parse_read(request, &read, err) ||
        !store_read_stream(
            engine->store, read.type, read.id, read.from, read.limit + 1,
            read.backward ? READ_BACKWARD : READ_FORWARD, &page, err))
        return false;
    shown = MIN(page->count, read.limit);
    reply_events(reply, page, shown, next_version(page, shown, read.backward));
    event_page_unref(page);
    return true;
}

void api_stream_read(struct engine *engine, struct api_request *request,
                     struct api_reply *reply)
{
    struct err err;

    if (!read_stream(engine, request, reply, &err))
        api_problem(reply, &err);
}

/* ---- list ---- */

static void write_streams(struct api_reply *reply,
                          const struct stream_row *rows, size_t count,
                          uint32_t limit)
{
    size_t shown = MIN(count, limit);
    struct json_out out;

    reply_json(reply, 200, &out);
    json_object(&out, NULL);
    json_array(&out, "streams");
    for (size_t i = 0; i < shown; i++) {
        json_object(&out, NULL);
        json_put_str(&out, "aggregate_type", rows[i].aggregate_type);
        json_put_str(&out, "aggregate_id", rows[i].aggregate_id);
        json_put_u64(&out, "version", rows[i].version);
        json_put_u64(&out, "first_position", rows[i].stream_id);
        json_end(&out, '}');
    }
    json_end(&out, ']');
    if (count > limit)
        json_put_u64(&out, "next", rows[shown - 1].stream_id);
    else
        json_put_null(&out, "next");
    json_end(&out, '}');
}

static bool list_streams(struct engine *engine, struct api_request *request,
                         struct api_reply *reply, struct err *err)
{
    static const char *const params[] = {"aggregate_type", "after", "limit"};
    struct str type;
    uint64_t after;
    uint32_t limit;
    struct stream_row *rows;
    size_t count;

    if (!request_allow(request, params, COUNT(params), err) ||
        !request_text(request, "aggregate_type", &type, err) ||
        !request_u64(request, "after", 0, &after, err) ||
        !request_limit(request, &limit, err) ||
        !store_list_streams(engine->store, type, after, limit + 1,
                            request->arena, &rows, &count, err))
        return false;
    write_streams(reply, rows, count, limit);
    return true;
}

void api_stream_list(struct engine *engine, struct api_request *request,
                     struct api_reply *reply)
{
    struct err err;

    if (!list_streams(engine, request, reply, &err))
        api_problem(reply, &err);
}
