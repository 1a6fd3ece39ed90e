#pragma once
/*
 * A store in memory whose transactions end as a test says.
 *
 * It keeps the contract of store.h for one log and any number of writers: the
 * log's lock from begin to the end of the transaction, contiguous positions,
 * unique ids and versions (a batch that breaks them is STALE, as an index of a
 * real store would find).  What is against the contract ends the process.
 *
 * A test plans ends of commits with fake_plan; they are used up in order, by
 * guarded commits, too.  It stops writers at begin with fake_hold, so that a
 * batch can be filled, and lets other programs append with fake_foreign, or
 * (`sneak_event`, `sneak_key`) just when a guess has looked and not yet been
 * sent.
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

/* What the store says recorded_at is, for the rows of a guess. */
#define FAKE_GUESS_US 4711

struct fake_marks {
    struct request_mark *items; /* texts in the store's arena */
    size_t count;
    size_t capacity;
};

struct fake_store {
    struct store base;
    /* --- under lock --- */
    struct lock lock;
    struct signal changed;
    struct event_page *log;  /* position n is events[n - 1] */
    struct event_page *late; /* of a frozen transaction, or NULL */
    struct fake_marks marks;
    struct fake_marks late_marks;
    struct arena arena; /* texts of marks */
    bool taken;         /* the log's lock */
    bool held;          /* begins wait at the door */
    size_t at_the_door;
    enum fake_end plans[FAKE_PLANS];
    size_t plan_count;
    size_t plan_next;
    int begins_to_fail; /* -1: all, until it is set to 0 */
    int lookups_to_fail;
    int commits_to_roll_back;
    bool cut;                /* deltas are cut */
    bool blind;              /* deltas leave out what they should tell */
    unsigned chaos;          /* 0: none; else a seed for random ends */
    const char *sneak_event; /* at the next guess: to Thing/… */
    const char *sneak_key;   /* likewise: a request without events */
    size_t sneak_at;         /* at the how many-th guess; 0: the next */
    size_t commits, begins, lookups, guessed, proofs;
};

struct fake_writer {
    struct store_writer base;
    bool begun;
    bool broken;    /* begin failed: only an abort may follow */
    bool uncertain; /* only a begin may follow */
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

/* ---- marks ---- */

static inline bool fake_same_key(const struct request_key *a,
                                 const struct request_key *b)
{
    return str_eq(a->token, b->token) && str_eq(a->tenant, b->tenant) &&
           str_eq(a->key, b->key);
}

static inline const struct request_mark *
fake_mark_of(const struct fake_store *fake, const struct request_key *key)
{
    for (size_t i = 0; i < fake->marks.count; i++)
        if (fake_same_key(&fake->marks.items[i].key, key))
            return &fake->marks.items[i];
    return NULL;
}

static inline void fake_add_mark(struct fake_store *fake,
                                 struct fake_marks *marks,
                                 const struct request_mark *mark)
{
    struct request_mark *own;

    GROW(marks->items, marks->capacity, marks->count + 1);
    own = &marks->items[marks->count++];
    *own = *mark;
    own->key.token = arena_str(&fake->arena, mark->key.token);
    own->key.tenant = arena_str(&fake->arena, mark->key.tenant);
    own->key.key = arena_str(&fake->arena, mark->key.key);
}

static inline bool fake_insert_marks(struct fake_store *fake,
                                     const struct append_batch *batch)
{
    size_t before = fake->marks.count;

    for (size_t i = 0; i < batch->mark_count; i++) {
        if (fake_mark_of(fake, &batch->marks[i].key) != NULL) {
            fake->marks.count = before;
            return false;
        }
        fake_add_mark(fake, &fake->marks, &batch->marks[i]);
    }
    return true;
}

/* All rows and marks, or nothing.  `recorded_at_us` is given for a guess. */
static inline bool fake_insert(struct fake_store *fake,
                               const struct append_batch *batch,
                               const int64_t *recorded_at_us)
{
    size_t before = fake->log->count;

    if (!fake_insert_marks(fake, batch))
        return false;

    for (size_t i = 0; i < batch->count; i++) {
        struct event event = *batch->rows[i].event;

        if (recorded_at_us != NULL)
            event.recorded_at_us = *recorded_at_us;
        if (!fake_fits(fake, &event)) {
            fake_drop_tail(fake, before);
            fake->marks.count -= batch->mark_count;
            return false;
        }
        event_page_add(fake->log, &event);
        CHECK(batch->rows[i].stream_id ==
              fake_stream_id(fake, event.aggregate_type, event.aggregate_id));
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
    out->lost =
        after > head ||
        (after > 0 && !uuid_eq(events[after - 1].event_id, known.event_id));
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
    for (size_t i = 0; i < fake->late_marks.count; i++)
        fake_add_mark(fake, &fake->marks, &fake->late_marks.items[i]);
    fake->late_marks.count = 0;
}

/* Under the store's lock: the log's, and what froze with it is over. */
static inline void fake_take_log(struct fake_store *fake,
                                 struct fake_writer *writer)
    REQUIRES(fake->lock)
{
    fake->at_the_door++;
    signal_all(&fake->changed);
    while (fake->held || fake->taken)
        signal_wait(&fake->changed, &fake->lock);
    fake->at_the_door--;
    fake->taken = true;
    writer->begun = true;
    writer->uncertain = false;
    fake_thaw(fake);
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
    fake_take_log(fake, writer);
    fake_fill_delta(fake, known, arena, out);
    lock_give(&fake->lock);
    return true;
}

static inline void fake_answer_asks(const struct fake_store *fake,
                                    struct append_lookup *lookup)
{
    for (size_t i = 0; i < lookup->key_count; i++) {
        struct request_ask *ask = &lookup->keys[i];
        const struct request_mark *mark = fake_mark_of(fake, &ask->key);

        ask->found = mark != NULL;
        if (mark != NULL)
            ask->mark = *mark;
    }
}

static inline bool fake_lookup(struct store_writer *base,
                               struct append_lookup *lookup, struct err *err)
{
    struct fake_store *fake = fake_of(base->store);
    bool fails;

    CHECK(fake_writer_of(base)->begun || base->store->ops->append_guarded);
    CHECK(!fake_writer_of(base)->uncertain);
    CHECK(lookup->stream_count + lookup->id_count + lookup->key_count > 0);
    lock_take(&fake->lock);
    fake->lookups++;
    fails = fake_takes(&fake->lookups_to_fail) ||
            (fake->chaos != 0 && rand_r(&fake->chaos) % 16 == 0);
    for (size_t i = 0; i < lookup->stream_count && !fails; i++) {
        struct append_stream *stream = &lookup->streams[i];
        const struct event *last =
            fake_last_of(fake, stream->aggregate_type, stream->aggregate_id);

        stream->version = last != NULL ? last->aggregate_version : 0;
        stream->last_id = last != NULL ? last->event_id : (struct uuid){{0}};
        stream->stream_id =
            fake_stream_id(fake, stream->aggregate_type, stream->aggregate_id);
    }
    if (!fails)
        fake_answer_asks(fake, lookup);
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
                                          const int64_t *recorded_at_us,
                                          struct err *err)
{
    switch (end) {
    case FAKE_COMMIT:
    case FAKE_LOST_STORED:
        if (!fake_insert(fake, batch, recorded_at_us)) {
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
        for (size_t i = 0; i < batch->count; i++) {
            struct event event = *batch->rows[i].event;

            if (recorded_at_us != NULL)
                event.recorded_at_us = *recorded_at_us;
            event_page_add(fake->late, &event);
        }
        for (size_t i = 0; i < batch->mark_count; i++)
            fake_add_mark(fake, &fake->late_marks, &batch->marks[i]);
        break;
    case FAKE_LOST:
        break;
    }
    err_set(err, ERR_STORE, "the answer was lost");
    return APPEND_UNCERTAIN;
}

/* The end of a transaction that holds the log. */
static inline enum append_end fake_end_log(struct store_writer *base,
                                           const struct append_batch *batch,
                                           const int64_t *recorded_at_us,
                                           struct err *err)
{
    struct fake_store *fake = fake_of(base->store);
    enum append_end end;

    if (batch->count + batch->mark_count == 0)
        fake->proofs++;
    else
        fake->commits++;
    end = fake_finish(
        fake, fake_is_poisoned(batch) ? FAKE_REFUSED : fake_next_end(fake),
        batch, recorded_at_us, err);
    fake_writer_of(base)->uncertain = end == APPEND_UNCERTAIN;
    fake_end_transaction(fake_writer_of(base));
    return end;
}

static inline enum append_end fake_commit(struct store_writer *base,
                                          const struct append_batch *batch,
                                          struct err *err)
{
    struct fake_store *fake = fake_of(base->store);
    enum append_end end;

    CHECK(fake_writer_of(base)->begun);
    lock_take(&fake->lock);
    end = fake_end_log(base, batch, NULL, err);
    lock_give(&fake->lock);
    return end;
}

/* ---- guesses ---- */

/* Under lock: another program appends an event to Thing/`id`. */
static inline void fake_add_foreign(struct fake_store *fake, const char *id,
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
    const struct event *last =
        fake_last_of(fake, event.aggregate_type, event.aggregate_id);

    event.position = fake->log->count + 1;
    event.aggregate_version = last != NULL ? last->aggregate_version + 1 : 1;
    event_page_add(fake->log, &event);
}

/* Under lock: another program stores a request without events. */
static inline void fake_add_foreign_mark(struct fake_store *fake,
                                         const char *key)
{
    struct request_mark mark = {
        .key = {.token = STR(""), .tenant = STR(""), .key = str_of(key)},
        .first_version = 1,
    };

    fake_add_mark(fake, &fake->marks, &mark);
}

static inline void fake_sneak(struct fake_store *fake)
{
    if (fake->sneak_at != 0 && fake->sneak_at != fake->guessed)
        return;
    if (fake->sneak_event != NULL)
        fake_add_foreign(fake, fake->sneak_event, uuid_new());
    if (fake->sneak_key != NULL)
        fake_add_foreign_mark(fake, fake->sneak_key);
    fake->sneak_event = NULL;
    fake->sneak_key = NULL;
}

static inline bool fake_is_head(const struct fake_store *fake,
                                struct log_place known)
{
    const struct event_page *log = fake->log;

    return log->count == known.position &&
           (log->count == 0 ||
            uuid_eq(log->events[log->count - 1].event_id, known.event_id));
}

static inline enum append_end fake_guarded(struct store_writer *base,
                                           struct log_place known,
                                           const struct append_batch *batch,
                                           int64_t *recorded_at_us,
                                           struct err *err)
{
    struct fake_writer *writer = fake_writer_of(base);
    struct fake_store *fake = fake_of(base->store);
    const int64_t now_us = FAKE_GUESS_US;
    enum append_end end = APPEND_MOVED;

    CHECK(!writer->begun && !writer->broken && !writer->uncertain);
    CHECK(batch->count > 0);
    lock_take(&fake->lock);
    fake->guessed++;
    fake_take_log(fake, writer);
    fake_sneak(fake);
    if (fake_is_head(fake, known)) {
        end = fake_end_log(base, batch, &now_us, err);
    } else {
        err_set(err, ERR_STORE, "the head is elsewhere");
        fake_end_transaction(writer);
    }
    lock_give(&fake->lock);
    *recorded_at_us = end == APPEND_COMMITTED ? now_us : 0;
    return end;
}

/* `guesses`: it has guarded commits. */
static inline struct fake_store *fake_new(bool guesses)
{
    static const struct store_ops ops = {
        .writer_open = fake_writer_open,
        .writer_close = fake_writer_close,
        .append_begin = fake_begin,
        .append_lookup = fake_lookup,
        .append_commit = fake_commit,
        .append_abort = fake_abort,
    };
    static const struct store_ops guessing_ops = {
        .writer_open = fake_writer_open,
        .writer_close = fake_writer_close,
        .append_begin = fake_begin,
        .append_lookup = fake_lookup,
        .append_commit = fake_commit,
        .append_abort = fake_abort,
        .append_guarded = fake_guarded,
    };
    struct fake_store *fake = NEW(struct fake_store);

    fake->base.ops = guesses ? &guessing_ops : &ops;
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
    mem_free(fake->marks.items);
    mem_free(fake->late_marks.items);
    arena_done(&fake->arena);
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
    lock_take(&fake->lock);
    CHECK(!fake->taken);
    fake_add_foreign(fake, id, event_id);
    lock_give(&fake->lock);
}
