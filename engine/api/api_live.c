#include "api/cursor.h"
#include "api/handlers.h"
#include "api/live.h"
#include "api/reply.h"
#include "api/request.h"

/* Another engine may have appended what a client has seen already, and this
 * one has not heard of it yet: the store is asked before a client is told that
 * it comes from somewhere else. */
static bool check_place(struct engine *engine, uint64_t position,
                        struct err *err)
{
    uint64_t head = head_position(engine->head);

    if (position <= head)
        return true;
    if (!store_head(engine->store, &head, err))
        return false;
    head_move(engine->head, head);
    return cursor_check(position, head, err);
}

/* `Last-Event-ID` is what a browser sends when it comes back, to the address
 * that it was given in the beginning: it wins over `after`. */
static bool read_place(struct engine *engine, const struct api_request *request,
                       uint64_t *out, struct err *err)
{
    bool is_back = request->last_event_id.len > 0;
    struct str text = request->last_event_id;

    if (!is_back && !request_text(request, "after", &text, err))
        return false;
    *out = head_position(engine->head);
    if (str_is_none(text) || text.len == 0)
        return true;
    if (cursor_read(text, engine->log_id, out, err) &&
        check_place(engine, *out, err))
        return true;
    if (err->code != ERR_BAD_REQUEST)
        return false;
    return is_back ? err_wrap(err, "header Last-Event-ID")
                   : request_bad_param(STR("after"), err, "%s", err->text);
}

static bool open_live(struct engine *engine, struct api_request *request,
                      struct api_reply *reply, struct err *err)
{
    static const char *const params[] = {"after", "event_type",
                                         "aggregate_type"};
    struct event_filter filter;
    uint64_t after;

    if (!request_allow(request, params, COUNT(params), err) ||
        !request_text(request, "event_type", &filter.event_type, err) ||
        !request_text(request, "aggregate_type", &filter.aggregate_type, err) ||
        !read_place(engine, request, &after, err))
        return false;
    reply->status = 200;
    reply->content_type = "text/event-stream";
    reply->live = live_new(engine, after, &filter, request->arena);
    return true;
}

void api_event_live(struct engine *engine, struct api_request *request,
                    struct api_reply *reply)
{
    struct err err;

    if (!open_live(engine, request, reply, &err))
        api_problem(reply, &err);
}
