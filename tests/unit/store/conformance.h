#pragma once
/*
 * What the chapters of the conformance suite share: the store under test, and
 * short words for saying what a test is about.
 *
 * The suite speaks store/store.h and nothing else.  A target stands for what
 * it cannot say in that language: how to get an empty database, and how to
 * damage one from outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "run/thread.h"
#include "store/schema.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

struct target {
    const char *name;
    const char *url;
    const char *prefix; /* of the engine's tables in SQL */
    void (*wipe)(void);
    void (*sql)(const char *statements);
    uint64_t (*number)(const char *query); /* the one it answers */
    /* Makes every stored request so many hours older. */
    void (*age)(unsigned hours);
    /* Puts a copy of the database into its place, as a restore does; nobody
     * has it open. */
    void (*restore)(void);
};
static const struct target *target; /* set before a group runs */

struct fixture {
    struct store *store;
    struct store_writer *writer;
    struct arena arena;
    struct err err;
};

/* One statement about one of the engine's tables. */
static inline void change_table(const char *verb, const char *table,
                                const char *rest)
{
    char sql[300];

    snprintf(sql, sizeof(sql), "%s %s%s %s", verb, target->prefix, table, rest);
    target->sql(sql);
}

static inline uint64_t count_rows(const char *table)
{
    char sql[100];

    snprintf(sql, sizeof(sql), "select count(*) from %s%s", target->prefix,
             table);
    return target->number(sql);
}

/* ---- opening and closing ---- */

#define assert_ok(call, err)                                                   \
    do {                                                                       \
        if (!(call))                                                           \
            fail_msg("%s: %s: %s", #call, err_name((err)->code), (err)->text); \
    } while (0)
#define assert_code(err, wanted)                                               \
    assert_string_equal(err_name((err)->code), err_name(wanted))

static inline struct store *open_store(struct err *err)
{
    struct store_options options = {
        .url = target->url,
        .read_schema = "public",
        .pool_size = 10,
        .pool_timeout_ms = 20000,
        .statement_timeout_ms = 20000,
    };

    return store_open(&options, err);
}

static inline int open_empty(void **state)
{
    struct fixture *fx = NEW(struct fixture);

    target->wipe();
    fx->store = open_store(&fx->err);
    assert_ok(fx->store != NULL, &fx->err);
    *state = fx;
    return 0;
}

static inline int open_migrated(void **state)
{
    uint32_t steps;
    struct fixture *fx;

    open_empty(state);
    fx = *state;
    assert_ok(store_migrate(fx->store, &steps, &fx->err), &fx->err);
    fx->writer = store_writer_open(fx->store, &fx->err);
    assert_ok(fx->writer != NULL, &fx->err);
    return 0;
}

/* Where the store is closed for a while. */
static inline void close_stores(struct fixture *fx)
{
    store_writer_close(fx->writer);
    store_close(fx->store);
    fx->writer = NULL;
    fx->store = NULL;
}

static inline void open_again(struct fixture *fx)
{
    fx->store = open_store(&fx->err);
    assert_ok(fx->store != NULL, &fx->err);
    fx->writer = store_writer_open(fx->store, &fx->err);
    assert_ok(fx->writer != NULL, &fx->err);
}

static inline int close_all(void **state)
{
    struct fixture *fx = *state;

    close_stores(fx);
    arena_done(&fx->arena);
    mem_free(fx);
    return 0;
}

/* ---- appending ---- */

#define BATCH_MAX 1000

/* An event with every field filled in but its place. */
static inline struct event draft(const char *type, const char *id,
                                 const char *event_type)
{
    return (struct event){
        .event_id = uuid_new(),
        .event_type = str_of(event_type),
        .event_version = 1,
        .aggregate_type = str_of(type),
        .aggregate_id = str_of(id),
        .data = STR("{}"),
        .metadata = STR("{}"),
        .occurred_at_us = 1291191960000000,
    };
}

struct written {
    struct append_row rows[BATCH_MAX];
    struct append_stream streams[BATCH_MAX];
};

/* Gives each event its place behind the head and its stream's version, as the
 * writer of core/ does it. */
static inline void place_events(struct event *events, size_t count,
                                const struct append_delta *delta,
                                struct written *out)
{
    for (size_t i = 0; i < count; i++) {
        struct append_stream *stream = &out->streams[i];

        events[i].position = delta->head.position + 1 + i;
        events[i].recorded_at_us = delta->now_us;
        for (size_t j = 0; j < i; j++)
            if (str_eq(events[j].aggregate_id, events[i].aggregate_id) &&
                str_eq(events[j].aggregate_type, events[i].aggregate_type))
                *stream = (struct append_stream){
                    .stream_id = out->rows[j].stream_id,
                    .version = events[j].aggregate_version};
        if (stream->stream_id == 0)
            stream->stream_id = events[i].position;
        events[i].aggregate_version = stream->version + 1;
        out->rows[i] = (struct append_row){&events[i], stream->stream_id};
    }
}

/* Any thread, with a writer of its own. */
static inline enum append_end write_with(struct store_writer *writer,
                                         struct event *events, size_t count,
                                         struct err *err)
{
    struct written *placed = NEW(struct written);
    struct arena arena = {0};
    struct append_delta delta;
    struct append_lookup lookup = {.streams = placed->streams,
                                   .stream_count = count};
    enum append_end end = APPEND_ROLLED_BACK;

    for (size_t i = 0; i < count; i++) {
        placed->streams[i].aggregate_type = events[i].aggregate_type;
        placed->streams[i].aggregate_id = events[i].aggregate_id;
    }
    if (store_append_begin(writer, (struct log_place){0}, &arena, &delta,
                           err)) {
        if (store_append_lookup(writer, &lookup, err)) {
            place_events(events, count, &delta, placed);
            end = store_append_commit(
                writer,
                &(struct append_batch){.rows = placed->rows, .count = count},
                err);
        } else {
            store_append_abort(writer);
        }
    }
    arena_done(&arena);
    mem_free(placed);
    return end;
}

static inline void write_events(struct fixture *fx, struct event *events,
                                size_t count)
{
    enum append_end end = write_with(fx->writer, events, count, &fx->err);

    if (end != APPEND_COMMITTED)
        fail_msg("append ended as %d: %s", (int)end, fx->err.text);
}

/* `count` events of type Ticked to one stream. */
static inline void write_ticks(struct fixture *fx, const char *id, size_t count)
{
    struct event *events = NEW_ARRAY(struct event, BATCH_MAX);

    while (count > 0) {
        size_t now = MIN(count, BATCH_MAX);

        for (size_t i = 0; i < now; i++)
            events[i] = draft("Clock", id, "Ticked");
        write_events(fx, events, now);
        count -= now;
    }
    mem_free(events);
}

/* ---- reading the log ---- */

static inline uint64_t head_of(struct fixture *fx)
{
    uint64_t head = 0;

    assert_ok(store_head(fx->store, &head, &fx->err), &fx->err);
    return head;
}

static inline struct event_page *read_page(struct fixture *fx, uint64_t after,
                                           uint32_t limit)
{
    struct event_page *page = NULL;

    assert_ok(store_read_after(fx->store, after, limit, NULL, &page, &fx->err),
              &fx->err);
    return page;
}

/* The id of the event at a position. */
static inline struct uuid event_at(struct fixture *fx, uint64_t position)
{
    struct event_page *page = read_page(fx, position - 1, 1);
    struct uuid id;

    assert_int_equal(page->count, 1);
    assert_int_equal(page->events[0].position, position);
    id = page->events[0].event_id;
    event_page_unref(page);
    return id;
}

/* Blames the line that asked. */
static inline void check_str(struct str got, const char *want, const char *file,
                             int line)
{
    _assert_int_equal(got.len, strlen(want), file, line);
    _assert_memory_equal(got.ptr, want, got.len, file, line);
}
#define assert_str(got, want) check_str((got), (want), __FILE__, __LINE__)

/* ---- values ---- */

/* The value that is written like this; NULL is null. */
static inline struct value value_of(struct fixture *fx, enum value_kind kind,
                                    const char *text)
{
    struct value value = {.kind = VALUE_NULL};

    if (text != NULL)
        assert_ok(
            value_from_text(kind, str_of(text), &fx->arena, &value, &fx->err),
            &fx->err);
    return value;
}

/* To the letter: 1.50 is not 1.5 here. */
static inline void check_value(const struct value *value, const char *text,
                               const char *file, int line)
{
    struct buf got = {0};

    _assert_int_equal(value->kind != VALUE_NULL, text != NULL, file, line);
    if (text == NULL)
        return;
    value_to_text(value, &got);
    _assert_string_equal(buf_as_str(&got).ptr, text, file, line);
    buf_done(&got);
}
#define assert_value(value, text)                                              \
    check_value((value), (text), __FILE__, __LINE__)

/* ---- tables ---- */

static inline struct column_def column(const char *name, enum value_kind kind)
{
    return (struct column_def){str_of(name), kind, false};
}

static inline struct column_def maybe(const char *name, enum value_kind kind)
{
    return (struct column_def){str_of(name), kind, true};
}

static inline struct projection_def
projection_of(const char *name, const struct table_def *tables, size_t count)
{
    return (struct projection_def){
        .name = str_of(name),
        .generation = 1,
        .partitions = 1,
        .version = 1,
        .script_hash = STR("hash-1"),
        .definition = STR("{\"tables\":\"as they are\"}"),
        .tables = tables,
        .table_count = count,
    };
}

/* A projection that this test runs: its lease, and where it stands. */
struct runner {
    struct fixture *fx;
    const struct table_def *table;
    struct slice slice;
    struct uuid owner;
    uint64_t epoch;
    uint64_t position;
};

static inline void install_table(struct fixture *fx,
                                 const struct table_def *table)
{
    struct projection_def def = projection_of("", table, 1);

    def.name = table->name;
    assert_ok(store_projection_install(fx->store, &def, 0, &fx->err), &fx->err);
}

static inline enum lease_end take(struct fixture *fx, const struct slice *slice,
                                  struct uuid owner, uint32_t ttl_ms,
                                  struct checkpoint *out)
{
    return store_lease_take(fx->store, slice, owner, ttl_ms, out, &fx->err);
}

/* Installs the table as a projection of its own name, and takes its lease. */
static inline struct runner start_runner(struct fixture *fx,
                                         const struct table_def *table)
{
    struct runner runner = {.fx = fx,
                            .table = table,
                            .slice = {table->name, 1, 0, 1},
                            .owner = uuid_new()};
    struct checkpoint checkpoint;

    install_table(fx, table);
    assert_int_equal(take(fx, &runner.slice, runner.owner, 60000, &checkpoint),
                     LEASE_TAKEN);
    runner.epoch = checkpoint.epoch;
    runner.position = checkpoint.position;
    return runner;
}

/* The batch that moves the runner by one event with these changes. */
static inline struct batch_commit next_batch(const struct runner *runner,
                                             const struct table_change *change)
{
    return (struct batch_commit){
        .slice = runner->slice,
        .epoch = runner->epoch,
        .from = runner->position,
        .to = runner->position + 1,
        .to_event_id = event_at(runner->fx, runner->position + 1),
        .events_processed = 1,
        .ttl_ms = 60000,
        .tables = change,
        .table_count = change != NULL ? 1 : 0,
    };
}

static inline enum commit_end
try_rows(struct runner *runner, const struct row_change *rows, size_t count)
{
    struct table_change change = {runner->table, rows, count};
    struct batch_commit batch;
    enum commit_end end;

    if (head_of(runner->fx) == runner->position)
        write_ticks(runner->fx, "runner", 100);
    batch = next_batch(runner, &change);
    end = store_commit_batch(runner->fx->store, &batch, &runner->fx->err);
    if (end == COMMIT_DONE)
        runner->position++;
    return end;
}

static inline void commit_rows(struct runner *runner,
                               const struct row_change *rows, size_t count)
{
    enum commit_end end = try_rows(runner, rows, count);

    if (end != COMMIT_DONE)
        fail_msg("commit ended as %d: %s", (int)end, runner->fx->err.text);
}

static inline struct row get_row(struct runner *runner, struct value key)
{
    struct fixture *fx = runner->fx;
    struct row *rows = NULL;

    assert_ok(store_rows_get(fx->store, runner->table, 1, &key, 1, &fx->arena,
                             &rows, &fx->err),
              &fx->err);
    return rows[0];
}
