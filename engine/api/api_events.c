#include "api/cursor.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "api/request.h"

/* A filtered read looks at this many positions at most (store/store.h). */
#define FILTER_SPAN 100000

struct event_read {
    uint64_t after;
    uint32_t limit;
    struct event_filter filter;
};

static bool read_after(const struct engine *engine,
                       const struct api_request *request, uint64_t *out,
                       struct err *err)
{
    struct str text;

    *out = 0;
    if (!request_text(request, "after", &text, err))
        return false;
    if (str_is_none(text) || cursor_read(text, engine->log_id, out, err))
        return true;
    return err->code == ERR_BAD_REQUEST
               ? request_bad_param(STR("after"), err, "%s", err->text)
               : false;
}

static bool parse_read(const struct engine *engine,
                       const struct api_request *request,
                       struct event_read *read, struct err *err)
{
    static const char *const params[] = {"after", "limit", "event_type",
                                         "aggregate_type"};

    return request_allow(request, params, COUNT(params), err) &&
           read_after(engine, request, &read->after, err) &&
           request_limit(request, &read->limit, err) &&
           request_text(request, "event_type", &read->filter.event_type, err) &&
           request_text(request, "aggregate_type", &read->filter.aggregate_type,
                        err);
}

/* Where to go on, or 0 at the end.  A page also ends early when it is large or
 * when its filter has left out much; then there is more although less than
 * `limit` came. */
static uint64_t next_position(struct engine *engine,
                              const struct event_read *read,
                              const struct event_page *page)
{
    uint64_t scanned = MAX(page->scanned_to, read->after);

    if (page->count > read->limit)
        return page->events[read->limit - 1].position;
    if (page->cut || scanned - read->after >= FILTER_SPAN ||
        (scanned > read->after && scanned < head_position(engine->head)))
        return scanned;
    return 0;
}

/* One more than asked for is read: it tells whether there is a next page. */
static bool list_events(struct engine *engine, struct api_request *request,
                        struct api_reply *reply, struct err *err)
{
    struct event_read read;
    struct event_page *page;

    if (!parse_read(engine, request, &read, err) ||
        !store_read_after(engine->store, read.after, read.limit + 1,
                          &read.filter, &page, err))
        return false;
    reply_events(reply, page, MIN(page->count, read.limit),
                 next_position(engine, &read, page));
    event_page_unref(page);
    return true;
}

void api_event_list(struct engine *engine, struct api_request *request,
                    struct api_reply *reply)
{
    struct err err;

    if (!list_events(engine, request, reply, &err))
        api_problem(reply, &err);
}

void api_log_read(struct engine *engine, struct api_request *request,
                  struct api_reply *reply)
{
    char log_id[UUID_TEXT_SIZE];
    struct json_out out;
    struct err err;

    if (!request_allow(request, NULL, 0, &err)) {
        api_problem(reply, &err);
        return;
    }
    uuid_format(engine->log_id, log_id);
    reply_json(reply, 200, &out);
    json_object(&out, NULL);
    json_put_text(&out, "log_id", log_id);
    json_put_u64(&out, "head", head_position(engine->head));
    json_end(&out, '}');
}
