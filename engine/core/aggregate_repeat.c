#include "core/aggregate_repeat.h"

#include "core/append_decide.h"

bool repeat_find(struct store *store, const struct append_key *key,
                 struct arena *arena, struct request_mark *out, bool *found_out,
                 struct err *err)
{
    struct request_ask ask = {.key = key->key};

    if (!store_request_find(store, &ask, arena, err))
        return false;
    *found_out = ask.found;
    *out = ask.mark;
    return !ask.found || decide_same_request(key, &ask.mark, err);
}

static void copy_page(struct arena *arena, const struct event_page *page,
                      struct event *events, uint32_t *count)
{
    for (size_t i = 0; i < page->count; i++)
        event_copy(&events[(*count)++], &page->events[i], arena);
}

bool repeat_events(struct store *store, struct str aggregate_type,
                   struct str aggregate_id, const struct request_mark *mark,
                   struct arena *arena, struct event **events_out,
                   struct err *err)
{
    struct event *events = ARENA_ARRAY(arena, struct event, mark->count + 1);
    uint32_t count = 0;

    while (count < mark->count) {
        struct event_page *page;
        uint32_t before = count;

        if (!store_read_stream(store, aggregate_type, aggregate_id,
                               mark->first_version + count, mark->count - count,
                               READ_FORWARD, &page, err))
            return false;
        copy_page(arena, page, events, &count);
        event_page_unref(page);
        if (count == before)
            return err_set(err, ERR_INTERNAL,
                           "%.*s/%.*s has no version %llu, which an "
                           "Idempotency-Key stands for",
                           STR_ARG(aggregate_type), STR_ARG(aggregate_id),
                           (unsigned long long)mark->first_version + count);
    }
    *events_out = events;
    return true;
}
