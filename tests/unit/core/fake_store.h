#pragma once
/*
 * A store in memory whose transactions end as a test says.
 *
 * It keeps the contract of store.h for one log and any number of writers: the
 * log's lock from begin to the end of the transaction, contiguous positions,
 * unique ids and versions (a batch that breaks them is STALE, as an index of a
 * real store would find).  What is against the contract ends the process.
 *
 * A test plans ends of commits with fake_plan; they are used up in order.  It
 * stops writers at begin with fake_hold, so that a batch can be filled, and
 * lets other programs append with fake_foreign.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "run/thread.h"
#include "store/store_ops.h"

#include <stdlib.h>

enum fake_end {
    FAKE_COMMIT,
    FAKE_ROLLED_BACK,
    FAKE_STALE,
    FAKE_REFUSED,
    FAKE_LOST_STORED, /* uncertain; it was stored */
    FAKE_LOST,        /* uncertain; it was not */
    FAKE_LOST_LATE,   /* uncertain; stored only once somebody waits it out */
};

#define FAKE_PLANS 64

struct fake_store {
    struct store base;
    /* --- under lock --- */
    struct lock lock;
    struct signal changed;
    struct event_page *log;  /* position n is events[n - 1] */
    struct event_page *late; /* of a frozen transaction, or NULL */
    bool taken;              /* the log's lock */
    bool held;               /* begins wait at the door */
    size_t at_the_door;
    enum fake_end plans[FAKE_PLANS];
    size_t plan_count;
    size_t plan_next;
    int begins_to_fail; /* -1: all, until it is set to 0 */
    int lookups_to_fail;
    int commits_to_roll_back;
    bool cut;       /* deltas are cut */
    bool blind;     /* deltas leave out what they should tell */
    unsigned chaos; /* 0: none; else a seed for random ends */
    size_t commits, begins, lookups;
};

struct fake_writer {
    struct store_writer base;
    bool begun;
    bool broken; /* begin failed: only an abort may follow */
};

static inline struct fake_store *fake_of(struct store *store)
{
    return CONTAINER_OF(store, struct fake_store, base);
}

static inline struct fake_writer *fake_writer_of(struct store_writer *writer)
{
    return CONTAINER_OF(writer, struct fake_writer, base);
}

/* ---- the log ---- */

static inline const struct event *fake_last_of(const struct fake_store *fake,
                                               struct str type, struct str id)
{
    for (size_t i = fake->log->count; i > 0; i--) {
        const struct event *event = &fake->log->events[i - 1];

        if (str_eq(event->aggregate_id, id) &&
            str_eq(event->aggregate_type, type))
            return event;
    }
    return NULL;
}

static inline uint64_t fake_stream_id(const struct fake_store *fake,
                                      struct str type, struct str id)
{
    for (size_t i = 0; i < fake->log->count; i++)
        if (str_eq(fake->log->events[i].aggregate_id, id) &&
            str_eq(fake->log->events[i].aggregate_type, type))
            return i + 1;
    return 0;
}

static inline const struct event *fake_by_id(const struct fake_store *fake,
                                             struct uuid id)
{
    for (size_t i = 0; i < fake->log->count; i++)
        if (uuid_eq(fake->log->events[i].event_id, id))
            return &fake->log->events[i];
    return NULL;
}

/* What unique keys would say. */
static inline bool fake_fits(const struct fake_store *fake,
                             const struct event *event)
{
    const struct event *last =
        fake_last_of(fake, event->aggregate_type, event->aggregate_id);
    uint64_t version = last != NULL ? last->aggregate_version : 0;

    return event->position == fake->log->count + 1 &&
           event->aggregate_version == version + 1 &&
           fake_by_id(fake, event->event_id) == NULL;
}

static inline void fake_drop_tail(struct fake_store *fake, size_t count)
{
    struct event_page *kept = event_page_new();

    for (size_t i = 0; i < count; i++)
        event_page_add(kept, &fake->log->events[i]);
    event_page_unref(fake->log);
    fake->log = kept;
}

/* All rows or none. */
static inline bool fake_insert(struct fake_store *fake,
                               const struct append_batch *batch)
{
    size_t before = fake->log->count;

    for (size_t i = 0; i < batch->count; i++) {
        const struct event *event = batch->rows[i].event;

        if (!fake_fits(fake, event)) {
            fake_drop_tail(fake, before);
            return false;
        }
        event_page_add(fake->log, event);
        CHECK(batch->rows[i].stream_id ==
              fake_stream_id(fake, event->aggregate_type, event->aggregate_id));
    }
    return true;
}

/* ---- the functions of a store ---- */

static inline bool fake_takes(int *left)
{
    if (*left == 0)
        return false;
    if (*left > 0)
        --*left;
    return true;
}

static inline struct store_writer *fake_writer_open(struct store *store,
                                                    struct err *err UNUSED)
{
    struct fake_writer *writer = NEW(struct fake_writer);

    writer->base.store = store;
    return &writer->base;
}

static inline void fake_end_transaction(struct fake_writer *writer)
{
    struct fake_store *fake = fake_of(writer->base.store);

    if (writer->begun) {
        fake->taken = false;
        signal_all(&fake->changed);
    }
    writer->begun = false;
    writer->broken = false;
}

static inline void fake_abort(struct store_writer *base)
{
    struct fake_store *fake = fake_of(base->store);

    lock_take(&fake->lock);
    fake_end_transaction(fake_writer_of(base));
    lock_give(&fake->lock);
}

static inline void fake_writer_close(struct store_writer *base)
{
    fake_abort(base);
    mem_free(fake_writer_of(base));
}

static inline void fake_fill_delta(const struct fake_store *fake,
                                   struct log_place known, struct arena *arena,
                                   struct append_delta *out)
{
    const struct event *events = fake->log->events;
    size_t head = fake->log->count;
    size_t after = (size_t)known.position;

    *out = (struct append_delta){.now_us = clock_wall_us(), .cut = fake->cut};
    if (head > 0)
        out->head = (struct log_place){.position = head,
                                       .event_id = events[head - 1].event_id};
    if (after > head || head - after > APPEND_DELTA_MAX ||
        (after > 0 && !uuid_eq(events[after - 1].event_id, known.event_id)))
        out->cut = true;
    if (out->cut || fake->blind)
        return;
    out->moved = ARENA_ARRAY(arena, struct append_moved, head - after);
    for (size_t i = after; i < head; i++)
        out->moved[out->count++] = (struct append_moved){
            .position = i + 1,
            .stream_id = fake_stream_id(fake, events[i].aggregate_type,
                                        events[i].aggregate_id),
            .aggregate_type = arena_str(arena, events[i].aggregate_type),
            .aggregate_id = arena_str(arena, events[i].aggregate_id),
            .aggregate_version = events[i].aggregate_version,
            .event_id = events[i].event_id,
        };
}

/* A frozen transaction holds the log's lock, so whoever begins has waited for
 * its end. */
static inline void fake_thaw(struct fake_store *fake)
{
    if (fake->late == NULL)
        return;
    for (size_t i = 0; i < fake->late->count; i++) {
        CHECK(fake_fits(fake, &fake->late->events[i]));
        event_page_add(fake->log, &fake->late->events[i]);
    }
    event_page_unref(fake->late);
    fake->late = NULL;
}

static inline bool fake_begin(struct store_writer *base, struct log_place known,
                              struct arena *arena, struct append_delta *out,
                              struct err *err)
{
    struct fake_writer *writer = fake_writer_of(base);
    struct fake_store *fake = fake_of(base->store);

    CHECK(!writer->begun && !writer->broken);
    lock_take(&fake->lock);
    fake->begins++;
    if (fake_takes(&fake->begins_to_fail) ||
        (fake->chaos != 0 && rand_r(&fake->chaos) % 16 == 0)) {
        writer->broken = true;
        lock_give(&fake->lock);
        return err_set(err, ERR_STORE, "the fake store is away");
    }
    fake->at_the_door++;
    signal_all(&fake->changed);
    while (fake->held || fake->taken)
        signal_wait(&fake->changed, &fake->lock);
    fake->at_the_door--;
    fake->taken = true;
    writer->begun = true;
    fake_thaw(fake);
    fake_fill_delta(fake, known, arena, out);
    lock_give(&fake->lock);
    return true;
}

static inline bool fake_lookup(struct store_writer *base,
                               struct append_lookup *lookup, struct err *err)
{
    struct fake_store *fake = fake_of(base->store);
    bool fails;

    CHECK(fake_writer_of(base)->begun);
    CHECK(lookup->stream_count + lookup->id_count > 0);
    lock_take(&fake->lock);
    fake->lookups++;
    fails = fake_takes(&fake->lookups_to_fail) ||
            (fake->chaos != 0 && rand_r(&fake->chaos) % 16 == 0);
    for (size_t i = 0; i < lookup->stream_count && !fails; i++) {
        struct append_stream *stream = &lookup->streams[i];
        const struct event *last =
            fake_last_of(fake, stream->aggregate_type, stream->aggregate_id);

        stream->version = last != NULL ? last->aggregate_version : 0;
        stream->stream_id =
            fake_stream_id(fake, stream->aggregate_type, stream->aggregate_id);
    }
    lookup->found = NULL;
    for (size_t p = 0; p < fake->log->count && !fails; p++)
        for (size_t i = 0; i < lookup->id_count; i++) {
            if (!uuid_eq(lookup->ids[i], fake->log->events[p].event_id))
                continue;
            if (lookup->found == NULL)
                lookup->found = event_page_new();
            event_page_add(lookup->found, &fake->log->events[p]);
            break;
        }
    lock_give(&fake->lock);
    return fails ? err_set(err, ERR_STORE, "the fake lookup failed") : true;
}

static inline enum fake_end fake_next_end(struct fake_store *fake)
{
    static const enum fake_end ends[] = {FAKE_ROLLED_BACK, FAKE_STALE,
                                         FAKE_LOST_STORED, FAKE_LOST,
                                         FAKE_LOST_LATE};

    if (fake->plan_next < fake->plan_count)
        return fake->plans[fake->plan_next++];
    if (fake_takes(&fake->commits_to_roll_back))
        return FAKE_ROLLED_BACK;
    if (fake->chaos != 0 && rand_r(&fake->chaos) % 4 == 0)
        return ends[(size_t)rand_r(&fake->chaos) % COUNT(ends)];
    return FAKE_COMMIT;
}

/* Events of the type "Poison" are data that no database takes. */
static inline bool fake_is_poisoned(const struct append_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (str_eq(batch->rows[i].event->event_type, STR("Poison")))
            return true;
    return false;
}

static inline enum append_end fake_finish(struct fake_store *fake,
                                          enum fake_end end,
                                          const struct append_batch *batch,
                                          struct err *err)
{
    switch (end) {
    case FAKE_COMMIT:
    case FAKE_LOST_STORED:
        if (!fake_insert(fake, batch)) {
            err_set(err, ERR_STORE, "a key was violated");
            return APPEND_STALE;
        }
        err_set(err, ERR_STORE, "the answer was lost");
        return end == FAKE_COMMIT ? APPEND_COMMITTED : APPEND_UNCERTAIN;
    case FAKE_STALE:
        err_set(err, ERR_STORE, "a key was violated");
        return APPEND_STALE;
    case FAKE_REFUSED:
        err_set(err, ERR_DATA, "refused");
        return APPEND_REFUSED;
    case FAKE_ROLLED_BACK:
        err_set(err, ERR_STORE, "rolled back");
        return APPEND_ROLLED_BACK;
    case FAKE_LOST_LATE:
        fake->late = event_page_new();
        for (size_t i = 0; i < batch->count; i++)
            event_page_add(fake->late, batch->rows[i].event);
        break;
    case FAKE_LOST:
        break;
    }
    err_set(err, ERR_STORE, "the answer was lost");
    return APPEND_UNCERTAIN;
}

static inline enum append_end fake_commit(struct store_writer *base,
                                          const struct append_batch *batch,
                                          struct err *err)
{
    struct fake_store *fake = fake_of(base->store);
    enum append_end end;

    CHECK(fake_writer_of(base)->begun);
    lock_take(&fake->lock);
    fake->commits++;
    end = fake_is_poisoned(batch)
              ? fake_finish(fake, FAKE_REFUSED, batch, err)
              : fake_finish(fake, fake_next_end(fake), batch, err);
    fake_end_transaction(fake_writer_of(base));
    lock_give(&fake->lock);
    return end;
}

static inline struct fake_store *fake_new(void)
{
    static const struct store_ops ops = {
        .writer_open = fake_writer_open,
        .writer_close = fake_writer_close,
        .append_begin = fake_begin,
        .append_lookup = fake_lookup,
        .append_commit = fake_commit,
        .append_abort = fake_abort,
    };
    struct fake_store *fake = NEW(struct fake_store);

    fake->base.ops = &ops;
    fake->log = event_page_new();
    lock_init(&fake->lock);
    signal_init(&fake->changed);
    return fake;
}

static inline void fake_free(struct fake_store *fake)
{
    CHECK(!fake->taken); /* every transaction was ended */
    event_page_unref(fake->late);
    event_page_unref(fake->log);
    signal_done(&fake->changed);
    lock_done(&fake->lock);
    mem_free(fake);
}

/* ---- the test's hands ---- */

static inline void fake_plan(struct fake_store *fake, enum fake_end end)
{
    lock_take(&fake->lock);
    CHECK(fake->plan_count < FAKE_PLANS);
    fake->plans[fake->plan_count++] = end;
    lock_give(&fake->lock);
}

/* Changes a number that writers read. */
static inline void fake_set(struct fake_store *fake, int *number, int value)
{
    lock_take(&fake->lock);
    *number = value;
    lock_give(&fake->lock);
}

static inline void fake_hold(struct fake_store *fake)
{
    lock_take(&fake->lock);
    fake->held = true;
    lock_give(&fake->lock);
}

/* Waits until somebody stands at the door. */
static inline void fake_await_begin(struct fake_store *fake)
{
    lock_take(&fake->lock);
    while (fake->at_the_door == 0)
        signal_wait(&fake->changed, &fake->lock);
    lock_give(&fake->lock);
}

static inline void fake_let_go(struct fake_store *fake)
{
    lock_take(&fake->lock);
    fake->held = false;
    signal_all(&fake->changed);
    lock_give(&fake->lock);
}

/* Another program appends an event to Thing/`id`; not while a writer has the
 * log's lock. */
static inline void fake_foreign(struct fake_store *fake, const char *id,
                                struct uuid event_id)
{
    struct event event = {
        .event_id = event_id,
        .event_type = STR("Happened"),
        .event_version = 1,
        .aggregate_type = STR("Thing"),
        .aggregate_id = str_of(id),
        .data = STR("{}"),
        .metadata = STR("{}"),
    };
    const struct event *last;

    lock_take(&fake->lock);
    CHECK(!fake->taken);
    last = fake_last_of(fake, event.aggregate_type, event.aggregate_id);
    event.position = fake->log->count + 1;
    event.aggregate_version = last != NULL ? last->aggregate_version + 1 : 1;
    event_page_add(fake->log, &event);
    lock_give(&fake->lock);
}
