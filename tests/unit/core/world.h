#pragma once
/*
 * A small world for tests of core/: a SQLite log in a folder of its own, a way
 * to append to it, scripts from texts, and between subscriptions and the store
 * a door at which commits and reads can be held up, failed, or answered
 * wrongly.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "core/head.h"
#include "core/script_set.h"
#include "core/subscription.h"
#include "run/thread.h"
#include "store/store_ops.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* What the door does with the next commit. */
enum commit_fault {
    COMMIT_PASSES,
    COMMIT_IS_ROLLED_BACK, /* and never reached the store */
    COMMIT_LOSES_ANSWER,   /* committed, but UNCERTAIN is what comes back */
    COMMIT_LOSES_REQUEST,  /* not committed, and UNCERTAIN */
    COMMIT_IS_DOUBLED,     /* a zombie offered the same batch just before */
    COMMIT_LOSES_LEASE,    /* another engine took the slice just before */
    COMMIT_IS_BROKEN,
};

struct door {
    struct store store;
    struct store *inner; /* borrowed from the world */
    struct uuid stranger;
    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal changed;
    enum commit_fault faults[16]; /* for the next commits, in order */
    size_t fault_count;
    int commits; /* that were offered */
    int settles;
    int broken_gets;   /* so many rows_get fail */
    int broken_reads;  /* so many read_after fail */
    uint32_t get_ms;   /* that rows_get takes; set before the workers start */
    bool commits_shut; /* commits wait at the door */
    int at_door;
};

struct world {
    char folder[64];
    struct store *log;
    struct door door;
    struct head *head;
    struct feed *feed;
    struct script_set *scripts;
    struct store_writer *writer;
    struct arena arena;
};

/* ---- the door ---- */

static struct door *door_of(struct store *store)
{
    return CONTAINER_OF(store, struct door, store);
}

static bool take_count(struct door *door, int *count)
{
    bool taken;

    lock_take(&door->lock);
    taken = *count > 0;
    if (taken)
        (*count)--;
    lock_give(&door->lock);
    return taken;
}

static enum commit_fault next_fault(struct door *door)
{
    enum commit_fault fault = COMMIT_PASSES;

    lock_take(&door->lock);
    door->commits++;
    door->at_door++;
    signal_all(&door->changed);
    while (door->commits_shut)
        signal_wait(&door->changed, &door->lock);
    door->at_door--;
    if (door->fault_count > 0) {
        fault = door->faults[0];
        memmove(door->faults, door->faults + 1,
                --door->fault_count * sizeof(door->faults[0]));
    }
    lock_give(&door->lock);
    return fault;
}

/* The lease has run out by the time the stranger comes. */
static void let_stranger_in(struct door *door, const struct slice *slice)
{
    struct checkpoint taken;
    struct err err;

    while (store_lease_take(door->inner, slice, door->stranger, 60000, &taken,
                            &err) != LEASE_TAKEN)
        usleep(1000);
}

static enum commit_end door_commit(struct store *store,
                                   const struct batch_commit *batch,
                                   struct err *err)
{
    struct door *door = door_of(store);

    switch (next_fault(door)) {
    case COMMIT_IS_ROLLED_BACK:
        err_set(err, ERR_STORE, "the door rolls back");
        return COMMIT_ROLLED_BACK;
    case COMMIT_LOSES_ANSWER:
        assert_int_equal(store_commit_batch(door->inner, batch, err),
                         COMMIT_DONE);
        err_set(err, ERR_STORE, "the answer was lost");
        return COMMIT_UNCERTAIN;
    case COMMIT_LOSES_REQUEST:
        err_set(err, ERR_STORE, "the request was lost");
        return COMMIT_UNCERTAIN;
    case COMMIT_IS_DOUBLED:
        assert_int_equal(store_commit_batch(door->inner, batch, err),
                         COMMIT_DONE);
        break;
    case COMMIT_LOSES_LEASE:
        let_stranger_in(door, &batch->slice);
        break;
    case COMMIT_IS_BROKEN:
        err_set(err, ERR_CONFIG, "the table is gone");
        return COMMIT_BROKEN;
    case COMMIT_PASSES:
        break;
    }
    return store_commit_batch(door->inner, batch, err);
}

static enum commit_end door_settle(struct store *store,
                                   const struct batch_commit *batch,
                                   struct err *err)
{
    struct door *door = door_of(store);

    lock_take(&door->lock);
    door->settles++;
    lock_give(&door->lock);
    return store_commit_settle(door->inner, batch, err);
}

static bool door_rows_get(struct store *store, const struct table_def *table,
                          uint32_t generation, const struct value *keys,
                          size_t count, struct arena *arena,
                          struct row **rows_out, struct err *err)
{
    struct door *door = door_of(store);

    usleep(door->get_ms * 1000);
    if (take_count(door, &door->broken_gets))
        return err_set(err, ERR_STORE, "the door lets no rows through");
    return store_rows_get(door->inner, table, generation, keys, count, arena,
                          rows_out, err);
}

static bool door_read_after(struct store *store, uint64_t after, uint32_t limit,
                            const struct event_filter *filter,
                            struct event_page **out, struct err *err)
{
    struct door *door = door_of(store);

    if (take_count(door, &door->broken_reads))
        return err_set(err, ERR_STORE, "the door lets no events through");
    return store_read_after(door->inner, after, limit, filter, out, err);
}

static bool door_head(struct store *store, uint64_t *out, struct err *err)
{
    return store_head(door_of(store)->inner, out, err);
}

static enum lease_end door_lease_take(struct store *store,
                                      const struct slice *slice,
                                      struct uuid owner, uint32_t ttl_ms,
                                      struct checkpoint *out, struct err *err)
{
    return store_lease_take(door_of(store)->inner, slice, owner, ttl_ms, out,
                            err);
}

static bool door_lease_release(struct store *store, struct uuid owner,
                               struct err *err)
{
    return store_lease_release(door_of(store)->inner, owner, err);
}

static bool door_list_checkpoints(struct store *store, struct arena *arena,
                                  struct checkpoint **rows_out,
                                  size_t *count_out, struct err *err)
{
    return store_list_checkpoints(door_of(store)->inner, arena, rows_out,
                                  count_out, err);
}

static bool door_find(struct store *store, struct str name, struct arena *arena,
                      struct projection_def *out, struct err *err)
{
    return store_projection_find(door_of(store)->inner, name, arena, out, err);
}

static bool door_install(struct store *store, const struct projection_def *def,
                         uint64_t position, struct err *err)
{
    return store_projection_install(door_of(store)->inner, def, position, err);
}

static bool door_note(struct store *store, const struct projection_def *def,
                      struct err *err)
{
    return store_projection_note(door_of(store)->inner, def, err);
}

static const struct store_ops door_ops = {
    .kind = STORE_SQLITE,
    .head = door_head,
    .read_after = door_read_after,
    .lease_take = door_lease_take,
    .lease_release = door_lease_release,
    .list_checkpoints = door_list_checkpoints,
    .projection_find = door_find,
    .projection_install = door_install,
    .projection_note = door_note,
    .commit_batch = door_commit,
    .commit_settle = door_settle,
    .rows_get = door_rows_get,
};

static void door_will(struct world *world, enum commit_fault fault)
{
    struct door *door = &world->door;

    lock_take(&door->lock);
    door->faults[door->fault_count++] = fault;
    lock_give(&door->lock);
}

static void door_shut(struct world *world, bool shut)
{
    lock_take(&world->door.lock);
    world->door.commits_shut = shut;
    signal_all(&world->door.changed);
    lock_give(&world->door.lock);
}

static UNUSED void door_breaks_reads(struct world *world, int count)
{
    lock_take(&world->door.lock);
    world->door.broken_reads = count;
    lock_give(&world->door.lock);
}

static UNUSED void door_await_commits(struct world *world, int count)
{
    lock_take(&world->door.lock);
    while (world->door.at_door < count)
        signal_wait(&world->door.changed, &world->door.lock);
    lock_give(&world->door.lock);
}

static UNUSED int door_commits(struct world *world)
{
    int commits;

    lock_take(&world->door.lock);
    commits = world->door.commits;
    lock_give(&world->door.lock);
    return commits;
}

/* ---- the world ---- */

static const char *path_in(struct world *world, const char *name)
{
    return arena_printf(&world->arena, "%s/%s", world->folder, name);
}

static void open_log(struct world *world)
{
    struct store_options options = {
        .url = arena_printf(&world->arena, "sqlite:%s", path_in(world, "log")),
        .pool_size = 6,
        .pool_timeout_ms = 5000,
        .statement_timeout_ms = 5000,
    };
    uint32_t steps;
    struct err err;

    world->log = store_open(&options, &err);
    if (world->log == NULL || !store_migrate(world->log, &steps, &err))
        fail_msg("%s", err.text);
    world->writer = store_writer_open(world->log, &err);
    assert_non_null(world->writer);
}

static void init_door(struct world *world)
{
    world->door.store.ops = &door_ops;
    world->door.inner = world->log;
    world->door.stranger = uuid_new();
    lock_init(&world->door.lock);
    signal_init(&world->door.changed);
}

static struct world *world_new(void)
{
    struct world *world = NEW(struct world);

    snprintf(world->folder, sizeof(world->folder), "/tmp/perigee-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(mkdir(path_in(world, "aggregates"), 0700), 0);
    assert_int_equal(mkdir(path_in(world, "projections"), 0700), 0);
    open_log(world);
    init_door(world);
    world->head = head_new();
    world->feed = feed_new(&world->door.store, 16);
    return world;
}

static void world_free(struct world *world)
{
    char command[128];

    script_set_unref(world->scripts);
    feed_free(world->feed);
    head_free(world->head);
    store_writer_close(world->writer);
    store_close(world->log);
    signal_done(&world->door.changed);
    lock_done(&world->door.lock);
    snprintf(command, sizeof(command), "rm -rf %s", world->folder);
    assert_int_equal(system(command), 0);
    arena_done(&world->arena);
    mem_free(world);
}

/* Writes or replaces projections/NAME.lua. */
static void write_script(struct world *world, const char *name,
                         const char *text)
{
    const char *path = arena_printf(&world->arena, "%s/projections/%s.lua",
                                    world->folder, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void load_scripts(struct world *world)
{
    struct script_set_options options = {
        .aggregates = path_in(world, "aggregates"),
        .projections = path_in(world, "projections"),
        .memory_bytes = (size_t)32 << 20,
    };

    if (world->scripts != NULL)
        script_set_unref(world->scripts);
    world->scripts = script_set_load(&options);
    for (size_t i = 0; i < world->scripts->fault_count; i++)
        fail_msg("%s", world->scripts->faults[i].text);
}

/* Appends one event as the first of a stream of its own; its position. */
static uint64_t append_to(struct world *world, const char *event_type,
                          const char *aggregate_id, const char *data)
{
    struct append_delta delta;
    struct append_row row = {0};
    struct append_batch batch = {.rows = &row, .count = 1};
    struct event event = {
        .event_id = uuid_new(),
        .event_type = str_of(event_type),
        .event_version = 1,
        .aggregate_id = str_of(aggregate_id),
        .aggregate_version = 1,
        .data = str_of(data),
        .metadata = STR("{}"),
    };
    struct err err;

    if (!store_append_begin(world->writer, (struct log_place){0}, &world->arena,
                            &delta, &err))
        fail_msg("%s", err.text);
    event.position = delta.head.position + 1;
    event.aggregate_type =
        str_of(arena_printf(&world->arena, "T%" PRIu64, event.position));
    event.occurred_at_us = delta.now_us;
    event.recorded_at_us = delta.now_us;
    row.event = &event;
    row.stream_id = event.position;
    if (store_append_commit(world->writer, &batch, &err) != APPEND_COMMITTED)
        fail_msg("%s", err.text);
    return event.position;
}

/* `count` events about things number `from` and following, value 1 each. */
static void append_many(struct world *world, unsigned from, unsigned count)
{
    uint64_t position = 0;

    for (unsigned i = 0; i < count; i++) {
        char id[32];
        char data[64];

        snprintf(id, sizeof(id), "thing-%u", from + i);
        snprintf(data, sizeof(data), "{\"group\":\"g%u\",\"n\":1}",
                 (from + i) % 3);
        position = append_to(world, "Counted", id, data);
    }
    head_move(world->head, position);
}

static struct subscriptions_options options_of(struct world *world)
{
    return (struct subscriptions_options){
        .store = &world->door.store,
        .feed = world->feed,
        .head = world->head,
        .scripts = world->scripts,
        .owner = uuid_new(),
        .workers = 2,
        .lease_ms = 10000,
        .batch_size = 20,
        .processing_timeout_ms = 300,
    };
}

static struct subscriptions *start_subs(struct world *world)
{
    struct subscriptions_options options = options_of(world);
    struct subscriptions *subs;
    struct err err;

    subs = subscriptions_start(&options, &err);
    assert_non_null(subs);
    return subs;
}

static void stop_subs(struct subscriptions *subs)
{
    struct stop_result result;

    subscriptions_drain(subs);
    assert_true(subscriptions_drained(subs, clock_us() + 10000000, &result));
    subscriptions_stop(subs);
}

static struct subscription_status
status_of(struct world *world, struct subscriptions *subs, const char *name)
{
    struct subscription_status *all;
    size_t count;

    subscriptions_status(subs, &world->arena, &all, &count);
    for (size_t i = 0; i < count; i++)
        if (str_eq(all[i].name, str_of(name)))
            return all[i];
    fail_msg("no subscription %s", name);
    return (struct subscription_status){0};
}

static void await_state(struct world *world, struct subscriptions *subs,
                        const char *name, enum subscription_state state)
{
    uint64_t deadline_us = clock_us() + 20000000;
    struct subscription_status status = status_of(world, subs, name);

    while (status.state != state && clock_us() < deadline_us) {
        usleep(2000);
        status = status_of(world, subs, name);
    }
    if (status.state != state)
        fail_msg("%s is %s (%.*s), not %s", name,
                 subscription_state_name(status.state), STR_ARG(status.reason),
                 subscription_state_name(state));
}

/* Live, and at the head. */
static void await_live(struct world *world, struct subscriptions *subs,
                       const char *name)
{
    uint64_t deadline_us = clock_us() + 20000000;
    struct subscription_status status;

    do {
        await_state(world, subs, name, SUB_LIVE);
        status = status_of(world, subs, name);
        if (status.lag_events == 0)
            return;
        usleep(2000);
    } while (clock_us() < deadline_us);
    fail_msg("%s stays behind", name);
}

/* ---- rows and checkpoints, past the door ---- */

/* An integer column of a row; -1 when there is no such row. */
static int64_t row_value(struct world *world, const char *projection,
                         const char *table, const char *key, const char *column)
{
    const struct projection_decl *decl =
        script_set_projection(world->scripts, str_of(projection));
    struct value value = {.kind = VALUE_TEXT, .text = str_of(key)};
    struct row *rows;
    struct err err;
    int place;

    for (size_t i = 0; i < decl->table_count; i++) {
        const struct table_def *def = &decl->tables[i];

        if (!str_eq(def->name, str_of(table)))
            continue;
        if (!store_rows_get(world->log, def, 1, &value, 1, &world->arena, &rows,
                            &err))
            fail_msg("%s", err.text);
        place = table_column(def, str_of(column));
        assert_true(place >= 0);
        return rows[0].values != NULL ? rows[0].values[place].i64 : -1;
    }
    fail_msg("no table %s", table);
    return -1;
}

static struct checkpoint checkpoint_of(struct world *world, const char *name)
{
    struct checkpoint *rows;
    struct err err;
    size_t count;

    if (!store_list_checkpoints(world->log, &world->arena, &rows, &count, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < count; i++)
        if (str_eq(rows[i].slice.subscription, str_of(name)))
            return rows[i];
    fail_msg("no checkpoint %s", name);
    return (struct checkpoint){0};
}
