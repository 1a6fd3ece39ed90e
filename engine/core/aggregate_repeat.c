#include "core/aggregate_repeat.h"

bool repeat_find(struct store *store, const struct append_key *key,
                 struct arena *arena, struct request_mark *out, bool *found_out,
                 struct err *err)
{
    struct request_ask ask = {.key = key->key};

    if (!store_request_find(store, &ask, arena, err))
        return false;
    *found_out = ask.found;
    *out = ask.mark;
    if (!ask.found || memcmp(ask.mark.hash, key->hash, SHA256_SIZE) == 0)
        return true;
    return err_set(err, ERR_IDEMPOTENCY,
                   "this Idempotency-Key was used for another request");
}

static void copy_event(struct arena *arena, const struct event *from,
                       struct event *to)
{
    *to = *from;
    to->event_type = arena_str(arena, from->event_type);
    to->aggregate_type = arena_str(arena, from->aggregate_type);
    to->aggregate_id = arena_str(arena, from->aggregate_id);
    to->data = arena_str(arena, from->data);
    to->metadata = arena_str(arena, from->metadata);
    to->tenant_id = arena_str(arena, from->tenant_id);
    to->actor_id = arena_str(arena, from->actor_id);
    to->correlation_id = arena_str(arena, from->correlation_id);
    to->causation_id = arena_str(arena, from->causation_id);
}

static void copy_page(struct arena *arena, const struct event_page *page,
                      struct event *events, uint32_t *count)
{
    for (size_t i = 0; i < page->count; i++)
        copy_event(arena, &page->events[i], &events[(*count)++]);
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
