#include "fuzz/targets.h"

#include "api/append_body.h"

static void check_event(const struct event *event)
{
    struct err err = {0};
    struct buf text = {0};
    struct json_out out;

    CHECK(!uuid_is_nil(event->event_id));
    CHECK(event->event_version >= 1);
    CHECK(event_check_name(event->event_type, "event_type", &err));
    json_begin(&out, &text);
    event_write(&out, NULL, event);
    CHECK(json_check(buf_as_str(&text), NULL, &err));
    buf_done(&text);
}

/* request_object lets nothing but objects through to here. */
static bool read_body(struct str input, struct buf *body, struct json *out,
                      struct err *err)
{
    if (!json_check(input, body, err))
        return false;
    *out = json_value(buf_as_str(body));
    return out->kind == JSON_OBJECT ||
           err_set(err, ERR_INVALID_INPUT, "no object");
}

void fuzz_append(struct str input)
{
    struct append_request append = {.aggregate_type = STR("Order"),
                                    .aggregate_id = STR("o-1")};
    struct arena arena = {0};
    struct buf body = {0};
    struct err err = {0};
    struct json object;

    if (read_body(input, &body, &object, &err) &&
        append_body_read(object, NULL, &arena, &append, &err)) {
        CHECK(append.count >= 1);
        for (size_t i = 0; i < append.count; i++)
            check_event(&append.events[i]);
    } else {
        CHECK(err.code != ERR_NONE && err.text[0] != '\0');
    }
    buf_done(&body);
    arena_done(&arena);
}
