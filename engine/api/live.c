#include "api/live.h"

#include "api/cursor.h"

#include <inttypes.h>

/* So many events left out by the filter are told without waiting for silence:
 * who comes back need not have them looked at again. */
#define UNTOLD_MAX 10000

struct live {
    struct engine *engine; /* borrowed: it is closed after HTTP is */
    struct event_filter filter;
    uint64_t position; /* up to here all was written or left out */
    uint64_t told;     /* the last cursor that was written */
    uint64_t spoke_ms;
    bool troubled;           /* the store did not answer */
    struct event_page *page; /* being written; NULL: none */
    size_t next, end;        /* its events that are still to come */
};

/* ---- writing ---- */

static void write_id(struct live *live, struct buf *out)
{
    buf_text(out, "id: ");
    cursor_write(live->engine->log_id, live->position, out);
    buf_char(out, '\n');
    live->told = live->position;
}

/* A comment says for people what the cursor says for programs. */
static void write_comment(struct live *live, const char *text, struct buf *out)
{
    buf_printf(out, ": %s\n", text);
    write_id(live, out);
    buf_char(out, '\n');
}

/* Bodies are kept on one line, so an event is one. */
static void write_event(struct live *live, const struct event *event,
                        struct buf *out)
{
    struct json_out json;

    write_id(live, out);
    buf_text(out, "data: ");
    json_begin(&json, out);
    event_write(&json, NULL, event);
    buf_text(out, "\n\n");
}

static bool is_wanted(const struct live *live, const struct event *event)
{
    const struct event_filter *filter = &live->filter;

    return (str_is_none(filter->event_type) ||
            str_eq(filter->event_type, event->event_type)) &&
           (str_is_none(filter->aggregate_type) ||
            str_eq(filter->aggregate_type, event->aggregate_type));
}

/* ---- the page ---- */

static void drop_page(struct live *live)
{
    event_page_unref(live->page);
    live->page = NULL;
}

/* A store that is away comes back: the stream waits.  That nothing is there
 * although the head moved is the same, it lost the log's end. */
static bool fetch(struct live *live, struct err *err)
{
    struct err fault;
    size_t count = 0;

    if (!feed_read(live->engine->feed, live->position, FEED_BLOCK, &live->page,
                   &live->next, &count, &fault)) {
        live->page = NULL;
        live->troubled = true;
        if (err_may_retry(fault.code))
            return true;
        *err = fault;
        return false;
    }
    live->end = live->next + count;
    live->troubled = count == 0;
    if (count == 0)
        drop_page(live);
    return true;
}

static void write_page(struct live *live, struct buf *out)
{
    while (live->next < live->end && out->len < LIVE_CHUNK_BYTES) {
        const struct event *event = &live->page->events[live->next++];

        live->position = event->position;
        if (is_wanted(live, event))
            write_event(live, event, out);
    }
    if (live->next == live->end)
        drop_page(live);
}

/* ---- */

struct live *live_new(struct engine *engine, uint64_t after,
                      const struct event_filter *filter, struct arena *arena)
{
    struct live *live = ARENA_NEW(arena, struct live);

    *live =
        (struct live){.engine = engine, .position = after, .filter = *filter};
    return live;
}

void live_begin(struct live *live, uint64_t now_ms, struct buf *out)
{
    buf_printf(out, "retry: %d\n", LIVE_RETRY_MS);
    write_id(live, out);
    buf_char(out, '\n');
    live->spoke_ms = now_ms;
}

static bool is_time_to_speak(const struct live *live, uint64_t now_ms)
{
    return live->position - live->told >= UNTOLD_MAX ||
           now_ms - live->spoke_ms >= LIVE_SILENCE_MS;
}

bool live_read(struct live *live, uint64_t now_ms, struct buf *out,
               struct err *err)
{
    size_t before = out->len;

    if (live->page == NULL &&
        head_position(live->engine->head) > live->position && !fetch(live, err))
        return false;
    if (live->page != NULL)
        write_page(live, out);
    if (out->len == before && is_time_to_speak(live, now_ms))
        write_comment(live, "nothing new", out);
    if (out->len > before)
        live->spoke_ms = now_ms;
    return true;
}

void live_wait(struct live *live)
{
    uint64_t seen = live->troubled ? UINT64_MAX : live->position;

    if (live->page == NULL)
        head_wait(live->engine->head, seen, LIVE_WAIT_MS);
}

void live_end(struct live *live, const char *why, struct buf *out)
{
    drop_page(live);
    write_comment(live, why, out);
}
