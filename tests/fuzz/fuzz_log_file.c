#include "fuzz/targets.h"

#include "cli/log_file.h"

static void check_header(struct str line)
{
    struct log_header header;
    struct buf text = {0};
    struct err err = {0};

    if (log_header_read(line, &header, &err)) {
        log_header_write(&header, &text);
        struct str rest = buf_as_str(&text);
        struct log_header again;

        CHECK(log_header_read(str_cut(&rest, '\n'), &again, &err));
        CHECK(again.after == header.after && again.head == header.head &&
              again.last == header.last);
    }
    buf_done(&text);
}

/* What was read is written as the same line, whatever it looked like. */
static void check_event(struct str line)
{
    struct arena arena = {0};
    struct event event;
    struct buf text = {0}, again = {0};
    struct json_out out;
    struct err err = {0};

    if (log_event_read(line, &arena, &event, &err)) {
        json_begin(&out, &text);
        event_write(&out, NULL, &event);
        CHECK(log_event_read(buf_as_str(&text), &arena, &event, &err));
        json_begin(&out, &again);
        event_write(&out, NULL, &event);
        CHECK(str_eq(buf_as_str(&text), buf_as_str(&again)));
    } else {
        CHECK(err.code != ERR_NONE);
    }
    buf_done(&text);
    buf_done(&again);
    arena_done(&arena);
}

void fuzz_log_file(struct str input)
{
    struct str rest = input;

    check_header(str_cut(&rest, '\n'));
    while (!str_is_none(rest))
        check_event(str_cut(&rest, '\n'));
}
