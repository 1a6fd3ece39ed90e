#pragma once
/*
 * Commands against a real store: SQLite, and PostgreSQL when a server is given.
 * Two engines on one store are two queues with two sets of aggregates: each has
 * its own caches and knows nothing of the other's.  A test file defines
 * _GNU_SOURCE first, for nftw.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/aggregate.h"
#include "store/store_ops.h"
#include "unit/core/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define ENGINES 2

struct engine {
    struct head *head;
    struct append_queue *queue;
    struct snapshots *snapshots;
    struct aggregates *aggregates;
};

struct rig {
    struct folder folder;
    struct store *store;
    struct script_set *scripts;
    struct engine engines[ENGINES];
    char prefix[UUID_TEXT_SIZE]; /* of this test's ids */
    struct arena arena;          /* of the test's own thread */
};

static const char *postgres_url; /* NULL: SQLite */

static struct store *open_store(const struct folder *folder)
{
    const char *file = folder_path(folder, "log.db");
    struct arena arena = {0};
    struct store_options options = {
        .url = postgres_url != NULL ? postgres_url
                                    : arena_printf(&arena, "sqlite:%s", file),
        .read_schema = "public",
        .pool_size = 20,
        .pool_timeout_ms = 30000,
        .statement_timeout_ms = 30000,
    };
    struct store *store;
    struct err err;
    uint32_t steps;

    store = store_open(&options, &err);
    if (store == NULL || !store_migrate(store, &steps, &err))
        fail_msg("%s", err.text);
    arena_done(&arena);
    return store;
}

static void start_engine(const struct rig *rig, struct engine *engine)
{
    struct append_options append = {.store = rig->store, .max_waiting = 1000};
    struct err err;

    engine->head = head_new();
    append.head = engine->head;
    engine->queue = append_queue_start(&append, &err);
    assert_non_null(engine->queue);
    engine->snapshots = snapshots_start(rig->store, &err);
    assert_non_null(engine->snapshots);
    engine->aggregates = aggregates_new(&(struct aggregates_options){
        .store = rig->store,
        .queue = engine->queue,
        .snapshots = engine->snapshots,
        .scripts = rig->scripts,
        .command_timeout_ms = 300,
        .append_timeout_ms = 30000,
        .slot_cache = 64,
    });
}

/* Whatever was to be saved is saved then, and caches are empty. */
static void stop_engine(struct engine *engine)
{
    aggregates_free(engine->aggregates);
    snapshots_stop(engine->snapshots, clock_us() + 10000000);
    append_queue_stop(engine->queue, clock_us() + 10000000);
    head_free(engine->head);
}

static void load_scripts(struct rig *rig)
{
    struct script_set_options options = {
        .memory_bytes = 64u << 20,
        .aggregates = rig->folder.path,
        .projections = "no/such/folder",
    };

    script_set_unref(rig->scripts);
    rig->scripts = script_set_load(&options);
    if (rig->scripts->fault_count > 0)
        fail_msg("%s", rig->scripts->faults[0].text);
}

/* Every engine anew, with another text of a script unless that is NULL. */
static void UNUSED rig_restart(struct rig *rig, const char *file,
                               const char *text)
{
    for (size_t i = 0; i < ENGINES; i++)
        stop_engine(&rig->engines[i]);
    if (text != NULL)
        folder_write(&rig->folder, file, text);
    load_scripts(rig);
    for (size_t i = 0; i < ENGINES; i++)
        start_engine(rig, &rig->engines[i]);
}

/* `scripts` are names and texts, up to a NULL. */
static struct rig *rig_new(const char *const *scripts)
{
    struct rig *rig = NEW(struct rig);

    rig->folder = folder_new();
    for (; scripts[0] != NULL; scripts += 2)
        folder_write(&rig->folder, scripts[0], scripts[1]);
    load_scripts(rig);
    rig->store = open_store(&rig->folder);
    for (size_t i = 0; i < ENGINES; i++)
        start_engine(rig, &rig->engines[i]);
    uuid_format(uuid_new(), rig->prefix);
    return rig;
}

static void rig_free(struct rig *rig)
{
    for (size_t i = 0; i < ENGINES; i++)
        stop_engine(&rig->engines[i]);
    store_close(rig->store);
    script_set_unref(rig->scripts);
    folder_remove(&rig->folder);
    arena_done(&rig->arena);
    mem_free(rig);
}

/* ---- short ways ---- */

/* An aggregate as one engine sees it. */
struct at {
    struct rig *rig;
    size_t engine;
    const char *type;
    const char *name;
};

static struct at UNUSED counter(struct rig *rig, const char *name)
{
    return (struct at){.rig = rig, .type = "Counter", .name = name};
}

static struct at UNUSED on_engine(struct at at, size_t engine)
{
    at.engine = engine;
    return at;
}

static struct str id_of(struct at at, struct arena *arena)
{
    return str_of(arena_printf(arena, "%s-%s", at.rig->prefix, at.name));
}

/* Any thread. */
static bool run_in(struct at at, const char *command, const char *input,
                   const uint64_t *version, struct arena *arena,
                   struct command_result *out, struct err *err)
{
    struct command_request request = {
        .aggregate_type = str_of(at.type),
        .aggregate_id = id_of(at, arena),
        .command = str_of(command),
        .input = str_of(input),
        .version_given = version != NULL,
        .version = version != NULL ? *version : 0,
        .tenant_id = STR_NONE,
        .actor_id = STR("somebody"),
        .correlation_id = STR_NONE,
        .causation_id = STR_NONE,
        .metadata = STR("{}"),
    };

    return aggregate_command(at.rig->engines[at.engine].aggregates, &request,
                             arena, out, err);
}

/* The rest is for the test's own thread. */
static struct command_result UNUSED run(struct at at, const char *command,
                                        const char *input)
{
    struct command_result result;
    struct err err;

    if (!run_in(at, command, input, NULL, &at.rig->arena, &result, &err))
        fail_msg("%s: %s", command, err.text);
    return result;
}

static struct err UNUSED refused(struct at at, const char *command,
                                 const char *input, enum err_code code)
{
    struct command_result result;
    struct err err = {0};

    assert_false(
        run_in(at, command, input, NULL, &at.rig->arena, &result, &err));
    if (err.code != code)
        fail_msg("%s: %s", err_name(err.code), err.text);
    return err;
}

static void UNUSED assert_state_at(struct at at, uint64_t version,
                                   const char *state)
{
    struct arena *arena = &at.rig->arena;
    struct str text;
    uint64_t got;
    struct err err;

    if (!aggregate_state(at.rig->engines[at.engine].aggregates, str_of(at.type),
                         id_of(at, arena), version, arena, &got, &text, &err))
        fail_msg("%s", err.text);
    if (version != AGGREGATE_NOW)
        assert_int_equal(got, version);
    assert_string_equal(text.ptr, state);
}

static void UNUSED assert_state(struct at at, const char *state)
{
    assert_state_at(at, AGGREGATE_NOW, state);
}

static void UNUSED assert_no_state(struct at at, uint64_t version)
{
    struct arena *arena = &at.rig->arena;
    struct str text;
    uint64_t got;
    struct err err;

    assert_false(aggregate_state(at.rig->engines[at.engine].aggregates,
                                 str_of(at.type), id_of(at, arena), version,
                                 arena, &got, &text, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* Appends behind the engine's back. */
static void UNUSED append_raw(struct at at, const char *type, struct str data)
{
    struct event event = {
        .event_id = uuid_new(),
        .event_type = str_of(type),
        .event_version = 1,
        .data = data,
        .metadata = STR("{}"),
        .occurred_at_us = clock_wall_us(),
    };
    struct append_request request = {
        .aggregate_type = str_of(at.type),
        .aggregate_id = id_of(at, &at.rig->arena),
        .events = &event,
        .count = 1,
    };
    struct append_result result;
    struct err err;

    if (!append_submit(at.rig->engines[at.engine].queue, &request, 30000,
                       &result, &err))
        fail_msg("%s", err.text);
}

/* Runs the group on SQLite, then on PostgreSQL if there is one. */
#define RUN_ON_BOTH_STORES(name, tests)                                        \
    (postgres_url = NULL,                                                      \
     cmocka_run_group_tests_name(name " sqlite", tests, NULL, NULL) +          \
         ((postgres_url = getenv("PERIGEE_TEST_PG_URL")) != NULL               \
              ? cmocka_run_group_tests_name(name " postgresql", tests, NULL,   \
                                            NULL)                              \
              : 0))
