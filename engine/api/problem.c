#include "api/reply.h"

#include "base/log.h"

#include <stdio.h>

void reply_clear(struct api_reply *reply)
{
    buf_clear(&reply->body);
    *reply = (struct api_reply){.body = reply->body};
}

void reply_json(struct api_reply *reply, int status, struct json_out *out)
{
    reply->status = status;
    reply->content_type = "application/json";
    json_begin(out, &reply->body);
}

void reply_events(struct api_reply *reply, const struct event_page *page,
                  size_t count, uint64_t next)
{
    struct json_out out;

    reply_json(reply, 200, &out);
    json_object(&out, NULL);
    json_array(&out, "events");
    for (size_t i = 0; i < count; i++)
        event_write(&out, NULL, &page->events[i]);
    json_end(&out, ']');
    if (next == 0)
        json_put_null(&out, "next");
    else
        json_put_u64(&out, "next", next);
    json_end(&out, '}');
}

void api_reply_done(struct api_reply *reply)
{
    buf_done(&reply->body);
    *reply = (struct api_reply){0};
}

/* Faults of ours or of a script end here; those of a client are its own, and
 * the store's are logged by whoever keeps trying. */
static void log_fault(const struct err *err)
{
    static struct log_throttle throttle;
    uint64_t held;

    if (err_status(err->code) == 500 && log_may(&throttle, 1000, &held))
        log_error("api", "request failed", LOG_ERR(err),
                  LOG_U64("held_back", held));
}

void api_problem(struct api_reply *reply, const struct err *err)
{
    struct json_out out;
    char type[64];

    log_fault(err);
    snprintf(type, sizeof(type), "urn:perigee:error:%s", err_name(err->code));
    reply_clear(reply);
    reply_json(reply, err_status(err->code), &out);
    reply->content_type = "application/problem+json";
    reply->retry_after_s = reply->status == 503 ? 1 : 0;

    json_object(&out, NULL);
    json_put_text(&out, "type", type);
    json_put_text(&out, "title", err_title(err->code));
    json_put_i64(&out, "status", reply->status);
    json_put_text(&out, "detail", err->text);
    json_put_text(&out, "code", err_name(err->code));
    json_put_members(&out, str_of(err->extra));
    json_end(&out, '}');
}
