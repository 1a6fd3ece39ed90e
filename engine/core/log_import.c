/*
 * Life of an event.
 *
 *   there already   it is compared with the stored one, which comes from pages
 *                   that are read along
 *   new             it is copied into the held page; when that is full
 *                   enough, or at the end:
 *
 *       begin       the log's lock; nobody appended since the last batch
 *       heads       streams not known yet are looked up
 *       place       each event's version is the next one of its stream
 *       commit      all rows at once
 *
 * A unique key that refuses the rows can only be an id that is taken; which
 * one is found out then, since it hardly ever happens.
 */
#include "core/log_import.h"

#include "base/mem.h"
#include "core/stream_heads.h"

#include <inttypes.h>

#define BATCH_EVENTS 1000
#define BATCH_BYTES  ((size_t)2 << 20)
#define READ_LIMIT   1000

struct log_import {
    struct store *store; /* borrowed from the command */
    struct store_writer *writer;
    struct log_import_totals totals;
    uint64_t after;        /* where the file begins */
    uint64_t next;         /* the position that comes next */
    uint64_t there;        /* the log's end when it began */
    struct log_place last; /* of what is in the log */
    uint64_t fault;
    /* what is there already, read along */
    struct event_page *stored; /* NULL: none is read */
    size_t stored_next;
    struct buf ours, theirs; /* two events as text, to compare */
    /* what is new */
    struct event_page *held;
    struct append_row rows[BATCH_EVENTS];
    struct stream_heads *heads;
    struct arena arena; /* of one batch */
};

/* The event that should stand at `position` is at fault. */
static void blame(struct log_import *import, uint64_t position)
{
    import->fault = position - import->after;
}

/* ---- events that are there already ---- */

static void write_text(const struct event *event, struct buf *out)
{
    struct json_out json;

    buf_clear(out);
    json_begin(&json, out);
    event_write(&json, NULL, event);
}

static bool read_stored(struct log_import *import, struct err *err)
{
    static const struct event_filter everything = {STR_NONE, STR_NONE};

    if (import->stored != NULL && import->stored_next < import->stored->count)
        return true;
    event_page_unref(import->stored);
    import->stored = NULL;
    import->stored_next = 0;
    return store_read_after(import->store, import->next - 1, READ_LIMIT,
                            &everything, &import->stored, err) &&
           (import->stored->count > 0 ||
            err_set(err, ERR_CONFLICT, "the log became shorter"));
}

static bool compare(struct log_import *import, const struct event *event,
                    struct err *err)
{
    const struct event *stored;

    if (!read_stored(import, err))
        return false;
    stored = &import->stored->events[import->stored_next++];
    write_text(event, &import->ours);
    write_text(stored, &import->theirs);
    if (!str_eq(buf_as_str(&import->ours), buf_as_str(&import->theirs))) {
        blame(import, event->position);
        return err_set(err, ERR_CONFLICT,
                       "the log has another event at position %" PRIu64,
                       event->position);
    }
    import->last = (struct log_place){stored->position, stored->event_id};
    import->totals.already_there++;
    return true;
}

/* ---- a batch ---- */

/* Begun, or nothing is locked. */
static bool begin(struct log_import *import, struct err *err)
{
    struct append_delta delta;

    if (!store_append_begin(import->writer, import->last, &import->arena,
                            &delta, err))
        return false;
    if (delta.head.position == import->last.position &&
        uuid_eq(delta.head.event_id, import->last.event_id))
        return true;
    store_append_abort(import->writer);
    return err_set(err, ERR_CONFLICT,
                   "somebody else appends: the log ends at position %" PRIu64
                   ", not where the import left it, at %" PRIu64,
                   delta.head.position, import->last.position);
}

/* The streams of the batch that are not known, each once. */
static size_t unknown_streams(struct log_import *import,
                              struct append_stream *out)
{
    size_t count = 0;

    for (size_t i = 0; i < import->held->count; i++) {
        const struct event *event = &import->held->events[i];

        if (stream_heads_find(import->heads, event->aggregate_type,
                              event->aggregate_id) != NULL)
            continue;
        out[count++] = (struct append_stream){
            .aggregate_type = event->aggregate_type,
            .aggregate_id = event->aggregate_id,
        };
        (void)stream_heads_put(import->heads, event->aggregate_type,
                               event->aggregate_id, 0, 0);
    }
    return count;
}

static bool look_up_heads(struct log_import *import, struct err *err)
{
    struct append_lookup lookup = {
        .streams = ARENA_ARRAY(&import->arena, struct append_stream,
                               import->held->count),
    };

    lookup.stream_count = unknown_streams(import, lookup.streams);
    if (lookup.stream_count > 0 &&
        !store_append_lookup(import->writer, &lookup, err))
        return false;
    for (size_t i = 0; i < lookup.stream_count; i++) {
        const struct append_stream *stream = &lookup.streams[i];

        (void)stream_heads_put(import->heads, stream->aggregate_type,
                               stream->aggregate_id, stream->stream_id,
                               stream->version);
    }
    return true;
}

static bool place(struct log_import *import, size_t index, struct err *err)
{
    const struct event *event = &import->held->events[index];
    struct stream_head *head = stream_heads_find(
        import->heads, event->aggregate_type, event->aggregate_id);

    if (event->aggregate_version != head->version + 1) {
        blame(import, event->position);
        return err_set(err, ERR_INVALID_INPUT,
                       "aggregate_version: expected %" PRIu64
                       ", the next one of %.*s/%.*s, not %" PRIu64,
                       head->version + 1, STR_ARG(event->aggregate_type),
                       STR_ARG(event->aggregate_id), event->aggregate_version);
    }
    if (head->stream_id == 0)
        head->stream_id = event->position;
    head->version = event->aggregate_version;
    import->rows[index] = (struct append_row){event, head->stream_id};
    return true;
}

static bool place_all(struct log_import *import, struct err *err)
{
    bool good = look_up_heads(import, err);

    for (size_t i = 0; good && i < import->held->count; i++)
        good = place(import, i, err);
    return good;
}

/* ---- an id that is taken ---- */

static bool has_id(const struct event_page *page, size_t count, struct uuid id)
{
    for (size_t i = 0; page != NULL && i < count; i++) {
        if (uuid_eq(page->events[i].event_id, id))
            return true;
    }
    return false;
}

static bool look_up_ids(struct log_import *import, struct event_page **found,
                        struct err *err)
{
    const struct event_page *held = import->held;
    struct uuid *ids = ARENA_ARRAY(&import->arena, struct uuid, held->count);
    struct append_lookup lookup = {.ids = ids, .id_count = held->count};

    for (size_t i = 0; i < held->count; i++)
        ids[i] = held->events[i].event_id;
    if (!begin(import, err))
        return false;
    bool good = store_append_lookup(import->writer, &lookup, err);
    store_append_abort(import->writer);
    *found = good ? lookup.found : NULL;
    return good;
}

/* Within the batch, or in the log. */
static bool blame_id(struct log_import *import, struct err *err)
{
    struct event_page *found = NULL;
    size_t at = 0;

    if (!look_up_ids(import, &found, err))
        return false;
    while (at < import->held->count) {
        struct uuid id = import->held->events[at].event_id;

        if (has_id(found, found != NULL ? found->count : 0, id) ||
            has_id(import->held, at, id))
            break;
        at++;
    }
    event_page_unref(found);
    if (at == import->held->count)
        return err_set(err, ERR_CONFLICT, "the log refuses the events");
    blame(import, import->held->events[at].position);
    return err_set(err, ERR_DUPLICATE_EVENT,
                   "its event_id is that of an earlier event");
}

/* ---- storing ---- */

static void take_stored(struct log_import *import)
{
    size_t count = import->held->count;
    const struct event *last = &import->held->events[count - 1];

    import->last = (struct log_place){last->position, last->event_id};
    import->totals.stored += count;
    event_page_unref(import->held);
    import->held = event_page_new();
    stream_heads_trim(import->heads);
    arena_reset(&import->arena);
}

static bool store_batch(struct log_import *import, struct err *err)
{
    struct append_batch batch = {.rows = import->rows,
                                 .count = import->held->count};

    if (!begin(import, err))
        return false;
    if (!place_all(import, err)) {
        store_append_abort(import->writer);
        return false;
    }
    switch (store_append_commit(import->writer, &batch, err)) {
    case APPEND_COMMITTED:
        return true;
    case APPEND_STALE:
        return blame_id(import, err);
    case APPEND_UNCERTAIN:
        return err_wrap(err, "whether the last batch was stored is not known");
    case APPEND_REFUSED:
    case APPEND_ROLLED_BACK:
    case APPEND_MOVED:
        break;
    }
    return false;
}

static bool store_held(struct log_import *import, struct err *err)
{
    if (import->held->count == 0)
        return true;
    if (!store_batch(import, err))
        return false;
    take_stored(import);
    return true;
}

static bool hold(struct log_import *import, const struct event *event,
                 struct err *err)
{
    event_page_add(import->held, event);
    return (import->held->count < BATCH_EVENTS &&
            import->held->bytes < BATCH_BYTES) ||
           store_held(import, err);
}

/* ---- public ---- */

static bool check_begin(struct log_import *import, struct err *err)
{
    if (!store_head(import->store, &import->there, err))
        return false;
    if (import->after <= import->there)
        return true;
    return err_set(err, ERR_CONFLICT,
                   "the file begins behind position %" PRIu64
                   ", and the log ends at %" PRIu64,
                   import->after, import->there);
}

/* The event at the log's end, when the file begins behind it and it is not
 * seen among those that are compared. */
static bool read_last(struct log_import *import, struct err *err)
{
    static const struct event_filter everything = {STR_NONE, STR_NONE};
    struct event_page *page;

    if (import->there == 0 || import->there >= import->next)
        return true;
    if (!store_read_after(import->store, import->there - 1, 1, &everything,
                          &page, err))
        return false;
    if (page->count > 0)
        import->last =
            (struct log_place){import->there, page->events[0].event_id};
    event_page_unref(page);
    return true;
}

struct log_import *log_import_open(struct store *store, uint64_t after,
                                   struct err *err)
{
    struct log_import *import = NEW(struct log_import);

    import->store = store;
    import->after = after;
    import->next = after + 1;
    import->held = event_page_new();
    import->heads = stream_heads_new();
    import->writer = store_writer_open(store, err);
    if (import->writer != NULL && check_begin(import, err) &&
        read_last(import, err))
        return import;
    log_import_close(import);
    return NULL;
}

bool log_import_add(struct log_import *import, const struct event *event,
                    struct err *err)
{
    if (event->position != import->next) {
        blame(import, import->next);
        return err_set(err, ERR_INVALID_INPUT,
                       "position: expected %" PRIu64 ", not %" PRIu64,
                       import->next, event->position);
    }
    bool good = event->position <= import->there ? compare(import, event, err)
                                                 : hold(import, event, err);
    import->next++;
    return good;
}

bool log_import_finish(struct log_import *import, struct err *err)
{
    return store_held(import, err);
}

const struct log_import_totals *
log_import_totals(const struct log_import *import)
{
    return &import->totals;
}

uint64_t log_import_fault(const struct log_import *import)
{
    return import->fault;
}

void log_import_close(struct log_import *import)
{
    if (import == NULL)
        return;
    if (import->writer != NULL)
        store_writer_close(import->writer);
    event_page_unref(import->stored);
    event_page_unref(import->held);
    stream_heads_free(import->heads);
    buf_done(&import->ours);
    buf_done(&import->theirs);
    arena_done(&import->arena);
    mem_free(import);
}
