/*
 * Life of a row in a batch: the first handler that names its key makes an
 * entry (in the batch's arena, found by the key's hash), later ones compose
 * their changes into it (core/row_state), seal turns what is pending into one
 * change for the store, reset forgets entry, arena and all.
 *
 * Undo: before the first change of an event an entry's state is copied to the
 * journal; undo copies it back.  What was merely learnt of a row is not saved:
 * it is true whoever asked.
 *
 * All of it belongs to the worker that runs the slice; there is no lock.
 */
#include "core/changes.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define FIRST_SLOTS ((size_t)64)

/* How many aggregates' rows are brought at once, as long as they take no more
 * than so many bytes. */
#define AHEAD_FIRST 100
#define AHEAD_MAX   400
#define AHEAD_BYTES ((size_t)4 << 20)

struct entry {
    struct value key;
    uint64_t hash;
    uint64_t saved_in; /* number of the event whose journal has the state */
    bool asked;        /* among the keys that are being fetched */
    struct row_state state;
};

struct saved {
    struct entry *entry;
    struct row_state state;
};

struct overlay { /* of one table */
    const struct table_def *table;
    struct entry **slots; /* by hash, open addressing; a power of two */
    size_t slot_count;
    struct entry **entries; /* in order of arrival; all in the arena */
    size_t count;
    size_t capacity;
    size_t ahead; /* of AHEAD_FIRST, kept from batch to batch */
};

struct changes {
    struct store *store; /* borrowed: the engine closes it last */
    uint32_t generation;
    struct arena arena;
    struct arena rows; /* brought ahead: no script has to answer for them */
    struct overlay *overlays; /* one a table, in the order of the declaration */
    size_t overlay_count;
    /* --- of the batch --- */
    const struct event *const *events; /* borrowed from the batch */
    size_t event_count;
    enum compose_mode mode;
    struct heartbeat *beat; /* of the worker, or NULL */
    bool doubtful;
    uint64_t waited_us; /* for the store, since the beginning */
    /* --- of the event --- */
    const struct event *event; /* borrowed likewise */
    size_t place;              /* of it in `events` */
    uint64_t event_number;     /* counts up for ever */
    struct saved *journal;
    size_t journal_count;
    size_t journal_capacity;
};

/* ---- entries by key ---- */

static void put_in_slot(struct overlay *overlay, struct entry *entry)
{
    size_t mask = overlay->slot_count - 1;
    size_t i = (size_t)entry->hash & mask;

    while (overlay->slots[i] != NULL)
        i = (i + 1) & mask;
    overlay->slots[i] = entry;
}

/* At most half of the slots are in use, so that a search ends soon. */
static void make_slots(struct overlay *overlay)
{
    if (overlay->count * 2 < overlay->slot_count)
        return;
    mem_free(overlay->slots);
    overlay->slot_count = MAX(overlay->slot_count * 2, FIRST_SLOTS);
    overlay->slots = NEW_ARRAY(struct entry *, overlay->slot_count);
    for (size_t i = 0; i < overlay->count; i++)
        put_in_slot(overlay, overlay->entries[i]);
}

static struct entry *find_entry(const struct overlay *overlay,
                                const struct value *key, uint64_t hash)
{
    size_t mask = overlay->slot_count - 1;

    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct entry *entry = overlay->slots[i];

        if (entry == NULL ||
            (entry->hash == hash && value_eq(&entry->key, key)))
            return entry;
    }
}

static struct entry *entry_of(struct changes *changes, struct overlay *overlay,
                              const struct value *key)
{
    uint64_t hash = value_hash(key);
    struct entry *entry;

    make_slots(overlay);
    entry = find_entry(overlay, key, hash);
    if (entry != NULL)
        return entry;
    entry = ARENA_NEW(&changes->arena, struct entry);
    entry->key = value_copy(&changes->arena, key);
    entry->hash = hash;
    GROW(overlay->entries, overlay->capacity, overlay->count + 1);
    overlay->entries[overlay->count++] = entry;
    put_in_slot(overlay, entry);
    return entry;
}

/* ---- journal ---- */

static void save(struct changes *changes, struct entry *entry)
{
    if (entry->saved_in == changes->event_number)
        return;
    entry->saved_in = changes->event_number;
    GROW(changes->journal, changes->journal_capacity,
         changes->journal_count + 1);
    changes->journal[changes->journal_count++] =
        (struct saved){entry, entry->state};
}

/* ---- fetching ---- */

static void learn(struct changes *changes, const struct overlay *overlay,
                  struct entry *entry, const struct value *row)
{
    if (!row_learn(&changes->arena, &entry->state, overlay->table, row))
        changes->doubtful = true;
}

struct wanted { /* keys to fetch, and whose they are */
    struct value *keys;
    struct entry **entries;
    size_t count;
};

static void want(struct wanted *wanted, struct entry *entry)
{
    if (entry->asked || entry->state.base != KNOWN_NOTHING)
        return;
    entry->asked = true;
    wanted->keys[wanted->count] = entry->key;
    wanted->entries[wanted->count++] = entry;
}

/* The key that an aggregate's row has, in a table that is keyed by them. */
static bool key_of_aggregate(const struct overlay *overlay,
                             const struct event *event, struct value *out)
{
    const struct table_def *table = overlay->table;

    out->kind = table->columns[table->key].kind;
    if (out->kind == VALUE_UUID)
        return uuid_parse(event->aggregate_id, &out->uuid);
    out->text = event->aggregate_id;
    return out->kind == VALUE_TEXT;
}

static size_t events_ahead(const struct changes *changes,
                           const struct overlay *overlay)
{
    return MIN(overlay->ahead, changes->event_count - changes->place);
}

static void want_aggregates(struct changes *changes, struct overlay *overlay,
                            struct wanted *wanted)
{
    size_t end = changes->place + events_ahead(changes, overlay);
    struct value key;

    for (size_t i = changes->place; i < end; i++)
        if (key_of_aggregate(overlay, changes->events[i], &key))
            want(wanted, entry_of(changes, overlay, &key));
}

static bool is_own_aggregate(const struct changes *changes,
                             const struct overlay *overlay,
                             const struct value *key)
{
    struct value own;

    return changes->event != NULL &&
           key_of_aggregate(overlay, changes->event, &own) &&
           value_eq(&own, key);
}

/* A worker that waits for the store is not stalled. */
static bool ask_store(struct changes *changes, const struct table_def *table,
                      const struct wanted *wanted, struct arena *arena,
                      struct row **rows, struct err *err)
{
    uint64_t began_us = clock_us();
    bool good;

    if (changes->beat != NULL)
        heartbeat_wait(changes->beat);
    good = store_rows_get(changes->store, table, changes->generation,
                          wanted->keys, wanted->count, arena, rows, err);
    if (changes->beat != NULL)
        heartbeat_resume(changes->beat);
    changes->waited_us += clock_us() - began_us;
    return good;
}

static bool fetch_wanted(struct changes *changes, struct overlay *overlay,
                         struct wanted *wanted, struct arena *arena,
                         struct err *err)
{
    struct row *rows = NULL;
    bool good = ask_store(changes, overlay->table, wanted, arena, &rows, err);

    for (size_t i = 0; i < wanted->count; i++) {
        wanted->entries[i]->asked = false;
        if (good)
            learn(changes, overlay, wanted->entries[i], rows[i].values);
    }
    return good;
}

/* Rows are taken to be as large as those that just came; only as many as were
 * asked for at once say that there may be more. */
static void adapt(struct overlay *overlay, size_t count, size_t bytes)
{
    CHECK(count > 0);
    size_t fit = MIN(AHEAD_BYTES / (bytes / count + 1), AHEAD_MAX);

    if (count >= overlay->ahead)
        overlay->ahead *= 2;
    overlay->ahead = MAX(MIN(overlay->ahead, fit), 1);
}

/* Brings the row, and in the same query those of the next aggregates of the
 * batch when a handler asks for its own. */
static bool fetch(struct changes *changes, struct overlay *overlay,
                  struct entry *entry, struct err *err)
{
    bool own = is_own_aggregate(changes, overlay, &entry->key);
    size_t room = 1 + (own ? events_ahead(changes, overlay) : 0);
    struct arena *arena = own ? &changes->rows : &changes->arena;
    size_t used = arena->used;
    struct wanted wanted = {
        .keys = ARENA_ARRAY(&changes->arena, struct value, room),
        .entries = ARENA_ARRAY(&changes->arena, struct entry *, room),
    };

    want(&wanted, entry);
    if (own)
        want_aggregates(changes, overlay, &wanted);
    if (!fetch_wanted(changes, overlay, &wanted, arena, err))
        return false;
    if (own)
        adapt(overlay, wanted.count, arena->used - used);
    return true;
}

/* ---- what handlers call ---- */

static struct overlay *overlay_at(struct changes *changes, size_t table)
{
    CHECK(table < changes->overlay_count);
    return &changes->overlays[table];
}

static bool change(struct changes *changes, struct overlay *overlay,
                   struct row_request request, struct err *err)
{
    struct entry *entry = entry_of(changes, overlay, request.key);
    enum compose end;

    request.table = overlay->table;
    request.key = &entry->key;
    request.mode = changes->mode;
    save(changes, entry);
    end = row_compose(&changes->arena, &entry->state, &request, err);
    if (end == COMPOSE_NEEDS_ROW) {
        if (!fetch(changes, overlay, entry, err))
            return false;
        end = row_compose(&changes->arena, &entry->state, &request, err);
        CHECK(end != COMPOSE_NEEDS_ROW);
    }
    return end == COMPOSE_DONE;
}

static bool db_get(void *context, size_t table, const struct value *key,
                   const struct value **row_out, struct err *err)
{
    struct changes *changes = context;
    struct overlay *overlay = overlay_at(changes, table);
    struct entry *entry = entry_of(changes, overlay, key);

    if (entry->state.now == KNOWN_NOTHING &&
        !fetch(changes, overlay, entry, err))
        return false;
    *row_out = entry->state.now == KNOWN_ROW ? entry->state.values : NULL;
    return true;
}

static bool change_whole(void *context, size_t table, enum row_op op,
                         const struct value *row, struct err *err)
{
    struct overlay *overlay = overlay_at(context, table);

    return change(context, overlay,
                  (struct row_request){
                      .op = op,
                      .key = &row[overlay->table->key],
                      .values = row,
                  },
                  err);
}

static bool db_put(void *context, size_t table, const struct value *row,
                   struct err *err)
{
    return change_whole(context, table, ROW_PUT, row, err);
}

static bool db_insert(void *context, size_t table, const struct value *row,
                      struct err *err)
{
    return change_whole(context, table, ROW_INSERT, row, err);
}

static bool change_columns(void *context, size_t table,
                           const struct row_request *request, struct err *err)
{
    return change(context, overlay_at(context, table), *request, err);
}

static bool db_patch(void *context, size_t table, const struct value *key,
                     const struct value *values, uint64_t columns,
                     struct err *err)
{
    struct row_request request = {
        .op = ROW_PATCH, .key = key, .values = values, .columns = columns};

    return change_columns(context, table, &request, err);
}

static bool db_add(void *context, size_t table, const struct value *key,
                   const struct value *values, uint64_t columns,
                   struct err *err)
{
    struct row_request request = {
        .op = ROW_ADD, .key = key, .values = values, .columns = columns};

    return change_columns(context, table, &request, err);
}

static bool db_remove(void *context, size_t table, const struct value *key,
                      struct err *err)
{
    struct row_request request = {.op = ROW_DELETE, .key = key};

    return change_columns(context, table, &request, err);
}

static uint64_t db_waited_us(void *context)
{
    const struct changes *changes = context;

    return changes->waited_us;
}

const struct vm_db changes_db = {
    .get = db_get,
    .put = db_put,
    .insert = db_insert,
    .patch = db_patch,
    .add = db_add,
    .remove = db_remove,
    .waited_us = db_waited_us,
};

/* ---- life ---- */

struct changes *changes_new(struct store *store,
                            const struct projection_decl *decl,
                            uint32_t generation)
{
    struct changes *changes = NEW(struct changes);

    changes->store = store;
    changes->generation = generation;
    changes->overlay_count = decl->table_count;
    changes->overlays = NEW_ARRAY(struct overlay, decl->table_count);
    for (size_t i = 0; i < decl->table_count; i++) {
        changes->overlays[i].table = &decl->tables[i];
        changes->overlays[i].ahead = AHEAD_FIRST;
    }
    return changes;
}

void changes_free(struct changes *changes)
{
    if (changes == NULL)
        return;
    for (size_t i = 0; i < changes->overlay_count; i++) {
        mem_free(changes->overlays[i].slots);
        mem_free(changes->overlays[i].entries);
    }
    mem_free(changes->overlays);
    mem_free(changes->journal);
    arena_done(&changes->arena);
    arena_done(&changes->rows);
    mem_free(changes);
}

struct arena *changes_arena(struct changes *changes)
{
    return &changes->arena;
}

static bool is_empty(const struct changes *changes)
{
    for (size_t i = 0; i < changes->overlay_count; i++)
        if (changes->overlays[i].count > 0)
            return false;
    return true;
}

void changes_begin(struct changes *changes, const struct event *const *events,
                   size_t count, enum compose_mode mode, struct heartbeat *beat)
{
    CHECK(is_empty(changes));
    changes->events = events;
    changes->event_count = count;
    changes->mode = mode;
    changes->beat = beat;
}

/* Events come in the order of the batch. */
static void find_place(struct changes *changes)
{
    while (changes->place < changes->event_count &&
           changes->events[changes->place] != changes->event)
        changes->place++;
}

void changes_event_begin(struct changes *changes, const struct event *event)
{
    changes->event = event;
    find_place(changes);
    changes->event_number++;
    changes->journal_count = 0;
}

void changes_event_undo(struct changes *changes)
{
    for (size_t i = 0; i < changes->journal_count; i++) {
        struct saved *saved = &changes->journal[i];

        saved->entry->state = saved->state;
        saved->entry->saved_in = 0;
    }
    changes->journal_count = 0;
}

size_t changes_bytes(const struct changes *changes)
{
    return changes->arena.used + changes->rows.used;
}

bool changes_are_doubtful(const struct changes *changes)
{
    return changes->doubtful;
}

/* ---- seal ---- */

/* The key column comes first in every table (base/value.h). */
static int compare_keys(const void *a, const void *b)
{
    const struct row_change *left = a;
    const struct row_change *right = b;

    return value_cmp(&left->values[0], &right->values[0]);
}

static struct table_change seal_overlay(struct changes *changes,
                                        const struct overlay *overlay)
{
    struct row_change *rows =
        ARENA_ARRAY(&changes->arena, struct row_change, overlay->count);
    size_t count = 0;

    for (size_t i = 0; i < overlay->count; i++) {
        const struct entry *entry = overlay->entries[i];

        if (entry->state.changed)
            rows[count++] = row_seal(&changes->arena, &entry->state,
                                     overlay->table, &entry->key);
    }
    qsort(rows, count, sizeof(*rows), compare_keys);
    return (struct table_change){overlay->table, rows, count};
}

void changes_seal(struct changes *changes, const struct table_change **out,
                  size_t *count_out)
{
    struct table_change *tables = ARENA_ARRAY(
        &changes->arena, struct table_change, changes->overlay_count);
    size_t count = 0;

    for (size_t i = 0; i < changes->overlay_count; i++) {
        struct table_change table =
            seal_overlay(changes, &changes->overlays[i]);

        if (table.count > 0)
            tables[count++] = table;
    }
    *out = tables;
    *count_out = count;
}

void changes_reset(struct changes *changes)
{
    for (size_t i = 0; i < changes->overlay_count; i++) {
        struct overlay *overlay = &changes->overlays[i];

        if (overlay->count > 0)
            memset(overlay->slots, 0,
                   overlay->slot_count * sizeof(*overlay->slots));
        overlay->count = 0;
    }
    changes->journal_count = 0;
    changes->event = NULL;
    changes->events = NULL;
    changes->event_count = 0;
    changes->place = 0;
    changes->beat = NULL;
    changes->doubtful = false;
    arena_reset(&changes->arena);
    arena_reset(&changes->rows);
}
