/*
 * Projections at work on a real SQLite store, with a door in between that
 * holds up, fails and doubles commits.  Whatever happens at the door, the rows
 * in the end are those of each event once.
 */
#include "unit/core/world.h"

#include "base/log.h"

/* Counts by group; a thing's second count by insert would be an error. */
static const char counts[] =
    "return {\n"
    "  name = 'counts', version = 1,\n"
    "  tables = {\n"
    "    groups = { key = 'id', columns = { id = 'text', n = 'bigint' } },\n"
    "    things = { key = 'id', columns = { id = 'text', seen = 'bigint' } },\n"
    "  },\n"
    "  on = {\n"
    "    Counted = function(event, db)\n"
    "      db.groups:add(event.data.group, { n = event.data.n })\n"
    "      local thing = db.things:get(event.aggregate_id)\n"
    "      db.things:put { id = event.aggregate_id,\n"
    "                      seen = (thing and thing.seen or 0) + 1 }\n"
    "    end,\n"
    "    Broken = function(event, db)\n"
    "      db.groups:add('broken', { n = 1 })\n"
    "      error('this one is broken')\n"
    "    end,\n"
    "    Endless = function(event, db) while true do end end,\n"
    "    Inserted = function(event, db)\n"
    "      db.things:insert { id = event.aggregate_id, seen = 100 }\n"
    "    end,\n"
    "  },\n"
    "}\n";

static struct world *world_of(const char *name, const char *script)
{
    struct world *world = world_new();

    write_script(world, name, script);
    load_scripts(world);
    return world;
}

/* Each of the things 0 to count - 1 was seen once. */
static void assert_counted_once(struct world *world, unsigned count)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        char id[32];

        snprintf(id, sizeof(id), "thing-%u", i);
        assert_int_equal(row_value(world, "counts", "things", id, "seen"), 1);
    }
    for (unsigned i = 0; i < 3 && i < count; i++) {
        char id[32];

        snprintf(id, sizeof(id), "g%u", i);
        sum += row_value(world, "counts", "groups", id, "n");
    }
    assert_int_equal(sum, count);
}

static void it_catches_up_goes_live_and_follows(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscription_status status;
    struct subscriptions *subs;

    append_many(world, 0, 130);
    subs = start_subs(world);
    await_live(world, subs, "counts");
    assert_counted_once(world, 130);
    append_many(world, 130, 7);
    await_live(world, subs, "counts");
    assert_counted_once(world, 137);

    status = status_of(world, subs, "counts");
    assert_int_equal(status.position, 137);
    assert_int_equal(status.head, 137);
    assert_int_equal(status.events_processed, 137);
    assert_int_equal(status.events_failed, 0);
    assert_int_equal(status.generation, 1);
    assert_true(status.required);
    assert_true(status.events_per_second > 0);
    assert_true(str_is_none(status.reason));
    assert_true(status.lag_seconds == 0);
    stop_subs(subs);
    assert_int_equal(checkpoint_of(world, "counts").events_processed, 137);
    world_free(world);
}

static void it_goes_on_from_the_checkpoint(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);

    append_many(world, 0, 50);
    for (int start = 0; start < 3; start++) {
        struct subscriptions *subs = start_subs(world);

        append_many(world, 50 + 10 * (unsigned)start, 10);
        await_live(world, subs, "counts");
        stop_subs(subs);
    }
    assert_counted_once(world, 80);
    world_free(world);
}

static void rows_of_aggregates_come_in_few_queries(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions *subs;

    append_many(world, 0, 100);
    subs = start_subs(world);
    await_live(world, subs, "counts");
    assert_true(door_commits(world) < 10);
    stop_subs(subs);
    world_free(world);
}

static void
what_failed_is_left_out_and_what_came_before_is_stored(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscription_status status;
    struct subscriptions *subs;

    append_many(world, 0, 10);
    append_to(world, "Broken", "b", "{}");
    append_many(world, 10, 5);
    subs = start_subs(world);
    await_state(world, subs, "counts", SUB_ERROR);

    assert_counted_once(world, 10);
    assert_int_equal(row_value(world, "counts", "groups", "broken", "n"), -1);
    assert_int_equal(checkpoint_of(world, "counts").position, 10);
    status = status_of(world, subs, "counts");
    assert_int_equal(status.position, 10);
    assert_int_equal(status.lag_events, 6);
    assert_true(status.lag_seconds > 0);
    assert_int_equal(status.events_failed, 1);
    assert_true(status.error_rate > 0);
    assert_int_equal(status.events_processed, 10);
    assert_non_null(strstr(status.last_error.ptr, "counts.lua:16: "));
    assert_true(str_eq(status.reason, status.last_error));
    stop_subs(subs);
    world_free(world);
}

static void a_failure_at_the_first_event_stores_nothing(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions *subs;

    head_move(world->head, append_to(world, "Broken", "b", "{}"));
    subs = start_subs(world);
    await_state(world, subs, "counts", SUB_ERROR);
    assert_int_equal(checkpoint_of(world, "counts").position, 0);
    assert_int_equal(door_commits(world), 0);
    stop_subs(subs);
    world_free(world);
}

static const char others[] =
    "return {\n"
    "  name = 'others', version = 1,\n"
    "  subscription = { required = false },\n"
    "  tables = { seen = { key = 'id',\n"
    "             columns = { id = 'text', n = 'bigint' } } },\n"
    "  on = { ['*'] = function(event, db)\n"
    "    db.seen:add('all', { n = 1 })\n"
    "  end },\n"
    "}\n";

static void a_runaway_handler_stops_only_its_projection(void **state UNUSED)
{
    struct world *world = world_new();
    struct subscription_status status;
    struct subscriptions *subs;

    write_script(world, "counts", counts);
    write_script(world, "others", others);
    load_scripts(world);
    append_many(world, 0, 10);
    append_to(world, "Endless", "e", "{}");
    append_many(world, 10, 5);
    subs = start_subs(world);
    await_state(world, subs, "counts", SUB_ERROR);
    await_live(world, subs, "others");

    status = status_of(world, subs, "counts");
    assert_int_equal(status.position, 10);
    assert_non_null(strstr(status.last_error.ptr, "counts.lua:18: "));
    assert_false(status_of(world, subs, "others").required);
    assert_int_equal(row_value(world, "others", "seen", "all", "n"), 16);
    stop_subs(subs);
    world_free(world);
}

static void an_insert_of_a_row_that_exists_is_found(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscription_status status;
    struct subscriptions *subs;

    append_many(world, 0, 5);
    subs = start_subs(world);
    await_live(world, subs, "counts");

    door_shut(world, true);
    append_many(world, 5, 5);
    append_to(world, "Inserted", "new", "{}");
    append_to(world, "Inserted", "thing-2", "{}");
    append_many(world, 10, 5);
    door_shut(world, false);
    await_state(world, subs, "counts", SUB_ERROR);

    status = status_of(world, subs, "counts");
    assert_int_equal(status.position, 11);
    assert_non_null(strstr(status.last_error.ptr,
                           "things: a row with id = thing-2 exists already"));
    assert_non_null(strstr(status.last_error.ptr, "counts.lua:20: "));
    assert_counted_once(world, 10);
    assert_int_equal(row_value(world, "counts", "things", "new", "seen"), 100);
    stop_subs(subs);
    assert_int_equal(checkpoint_of(world, "counts").position, 11);
    world_free(world);
}

/* ---- where it starts, what it sees ---- */

/* Line numbers stay those of `counts`. */
static const char *counts_with(struct world *world, const char *more)
{
    struct buf text = {0};
    const char *script;

    buf_printf(&text, "local p = (function() %s end)()\n", counts);
    buf_printf(&text, "%s\nreturn p\n", more);
    script = arena_str(&world->arena, buf_as_str(&text)).ptr;
    buf_done(&text);
    return script;
}

static void assert_starts_behind(const char *start_from, int64_t before)
{
    struct world *world = world_new();
    struct subscriptions *subs;

    write_script(world, "counts",
                 counts_with(world, arena_printf(&world->arena,
                                                 "p.subscription = { "
                                                 "start_from = %s }",
                                                 start_from)));
    load_scripts(world);
    append_many(world, 0, 10);
    for (int start = 0; start < 2; start++) { /* and never again */
        subs = start_subs(world);
        append_many(world, 10 + 5 * (unsigned)start, 5);
        await_live(world, subs, "counts");
        stop_subs(subs);
    }
    for (int64_t i = 0; i < 20; i++) {
        char id[32];

        snprintf(id, sizeof(id), "thing-%" PRId64, i);
        assert_int_equal(row_value(world, "counts", "things", id, "seen"),
                         i < before ? -1 : 1);
    }
    world_free(world);
}

static void a_new_one_starts_where_its_script_says(void **state UNUSED)
{
    assert_starts_behind("'beginning'", 0);
    assert_starts_behind("'checkpoint'", 0);
    assert_starts_behind("'end'", 10);
    assert_starts_behind("7", 7);
}

/* ---- the store's troubles ---- */

struct ending {
    uint64_t processed; /* by this engine, as it says */
    uint64_t epoch;
    int commits;
    int settles;
};

static struct ending run_with_faults(const enum commit_fault *faults,
                                     size_t count)
{
    struct world *world = world_of("counts", counts);
    struct subscription_status status;
    struct subscriptions *subs;
    struct ending ending;

    for (size_t i = 0; i < count; i++)
        door_will(world, faults[i]);
    append_many(world, 0, 90);
    subs = start_subs(world);
    await_live(world, subs, "counts");
    assert_counted_once(world, 90);
    status = status_of(world, subs, "counts");
    assert_int_equal(status.events_failed, 0);
    stop_subs(subs);
    assert_int_equal(checkpoint_of(world, "counts").position, 90);
    ending = (struct ending){
        .processed = status.events_processed,
        .epoch = checkpoint_of(world, "counts").epoch,
        .commits = world->door.commits,
        .settles = world->door.settles,
    };
    world_free(world);
    return ending;
}

static void a_commit_that_is_rolled_back_is_offered_again(void **state UNUSED)
{
    static const enum commit_fault faults[] = {COMMIT_IS_ROLLED_BACK,
                                               COMMIT_IS_ROLLED_BACK};
    struct ending quiet = run_with_faults(NULL, 0);
    struct ending ending = run_with_faults(faults, COUNT(faults));

    assert_int_equal(ending.commits, quiet.commits + 2);
    assert_int_equal(ending.processed, 90);
    assert_int_equal(ending.epoch, quiet.epoch);
}

static void an_uncertain_commit_is_settled_first(void **state UNUSED)
{
    static const enum commit_fault faults[] = {
        COMMIT_LOSES_ANSWER, COMMIT_PASSES, COMMIT_LOSES_REQUEST,
        COMMIT_LOSES_REQUEST, COMMIT_LOSES_ANSWER};
    struct ending quiet = run_with_faults(NULL, 0);
    struct ending ending = run_with_faults(faults, 1);

    assert_int_equal(ending.settles, 1);
    assert_int_equal(ending.commits, quiet.commits);
    assert_int_equal(ending.processed, 90);
    assert_int_equal(ending.epoch, quiet.epoch);

    ending = run_with_faults(faults + 2, 3);
    assert_int_equal(ending.settles, 3);
    assert_int_equal(ending.processed, 90);
    assert_int_equal(ending.epoch, quiet.epoch);
}

static void the_same_batch_offered_twice_commits_once(void **state UNUSED)
{
    static const enum commit_fault faults[] = {COMMIT_IS_DOUBLED,
                                               COMMIT_IS_DOUBLED};

    run_with_faults(faults, COUNT(faults));
}

static void troubles_of_reading_are_waited_out(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions *subs;

    world->door.broken_gets = 2;
    world->door.broken_reads = 2;
    append_many(world, 0, 30);
    subs = start_subs(world);
    await_live(world, subs, "counts");
    assert_counted_once(world, 30);
    assert_int_equal(status_of(world, subs, "counts").events_failed, 0);
    stop_subs(subs);
    world_free(world);
}

/* The last event was recorded long ago, the next one just now. */
static void trouble_makes_no_lag_of_a_quiet_time(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions *subs;

    append_many(world, 0, 3);
    subs = start_subs(world);
    await_live(world, subs, "counts");
    usleep(1500000);
    door_breaks_reads(world, 100);
    append_many(world, 3, 1);
    usleep(300000);
    assert_int_equal(status_of(world, subs, "counts").lag_events, 1);
    assert_true(status_of(world, subs, "counts").lag_seconds > 0.2);
    assert_true(status_of(world, subs, "counts").lag_seconds < 1);
    door_breaks_reads(world, 0);
    stop_subs(subs);
    world_free(world);
}

static void tables_that_are_gone_stop_it(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscription_status status;
    struct subscriptions *subs;

    door_will(world, COMMIT_IS_BROKEN);
    append_many(world, 0, 3);
    subs = start_subs(world);
    await_state(world, subs, "counts", SUB_ERROR);
    status = status_of(world, subs, "counts");
    assert_true(str_eq(status.reason, STR("the table is gone")));
    assert_int_equal(status.events_failed, 0);
    stop_subs(subs);
    assert_int_equal(checkpoint_of(world, "counts").position, 0);
    world_free(world);
}

/* ---- leases ---- */

static void two_engines_never_run_it_at_once(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions_options options = options_of(world);
    struct subscriptions *first = start_subs(world);
    struct subscriptions *second;
    struct err err;

    second = subscriptions_start(&options, &err);
    assert_non_null(second);
    assert_int_equal(status_of(world, second, "counts").state, SUB_PAUSED);
    assert_non_null(strstr(status_of(world, second, "counts").reason.ptr,
                           "run by another engine (owner "));
    append_many(world, 0, 40);
    await_live(world, first, "counts");
    assert_int_equal(status_of(world, second, "counts").state, SUB_PAUSED);

    stop_subs(first);
    append_many(world, 40, 10);
    on_keeper_thread();
    subscriptions_leases(second, NULL, 0);
    await_live(world, second, "counts");
    assert_counted_once(world, 50);
    assert_int_equal(status_of(world, second, "counts").events_processed, 10);
    stop_subs(second);
    world_free(world);
}

static void a_zombie_cannot_commit(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions_options options = options_of(world);
    struct subscriptions *subs;
    struct err err;

    options.lease_ms = 30; /* and nobody renews it */
    door_will(world, COMMIT_LOSES_LEASE);
    append_many(world, 0, 25);
    subs = subscriptions_start(&options, &err);
    assert_non_null(subs);
    await_state(world, subs, "counts", SUB_PAUSED);
    assert_int_equal(checkpoint_of(world, "counts").position, 0);

    assert_true(store_lease_release(world->log, world->door.stranger, &err));
    on_keeper_thread();
    subscriptions_leases(subs, NULL, 0);
    await_live(world, subs, "counts");
    assert_counted_once(world, 25);
    stop_subs(subs);
    world_free(world);
}

static void a_lease_that_is_gone_shows_and_is_taken_again(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions_options options = options_of(world);
    struct checkpoint before;
    struct subscriptions *subs;
    struct err err;

    options.lease_ms = 30;
    subs = subscriptions_start(&options, &err);
    assert_non_null(subs);
    await_live(world, subs, "counts");
    before = checkpoint_of(world, "counts");
    on_keeper_thread();
    subscriptions_leases(subs, &before, 1); /* still held: nothing happens */
    usleep(50000);
    assert_int_equal(checkpoint_of(world, "counts").epoch, before.epoch);
    subscriptions_leases(subs, NULL, 0);
    append_many(world, 0, 3);
    await_live(world, subs, "counts");
    assert_true(checkpoint_of(world, "counts").epoch > before.epoch);
    assert_counted_once(world, 3);
    stop_subs(subs);
    world_free(world);
}

/* ---- other tables, other scripts ---- */

static struct subscription_status restart_with(struct world *world,
                                               const char *from, const char *to)
{
    struct subscription_status status;
    struct subscriptions *subs;
    char text[4096];
    char *at;

    snprintf(text, sizeof(text), "%s", counts);
    at = strstr(text, from);
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    write_script(world, "counts", text);
    load_scripts(world);
    subs = start_subs(world);
    status = status_of(world, subs, "counts");
    if (status.state != SUB_ERROR)
        await_live(world, subs, "counts");
    stop_subs(subs);
    return status;
}

static void other_tables_need_a_rebuild_and_are_named(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscription_status status;
    struct subscriptions *subs = start_subs(world);

    append_many(world, 0, 5);
    await_live(world, subs, "counts");
    stop_subs(subs);
    append_many(world, 5, 5);

    status = restart_with(world, "seen = 'bigint'", "seen = 'double'");
    assert_int_equal(status.state, SUB_ERROR);
    assert_int_equal(status.position, 5);
    assert_int_equal(status.lag_events, 5);
    assert_int_equal(status.generation, 1);
    assert_true(str_eq(status.reason,
                       STR("needs a rebuild: the tables differ: "
                           "things.columns.seen: installed \"bigint\", script "
                           "\"double\"")));
    status = restart_with(world, "version = 1", "version = 2");
    assert_int_equal(status.state, SUB_ERROR);
    assert_true(str_eq(status.reason,
                       STR("needs a rebuild: version 1 is installed, the "
                           "script has version 2")));
    assert_int_equal(checkpoint_of(world, "counts").position, 5);

    status = restart_with(world, "or 0) + 1", "or 0) +1 ");
    assert_int_not_equal(status.state, SUB_ERROR);
    assert_counted_once(world, 10);
    world_free(world);
}

/* ---- events that are left out ---- */

static void what_is_left_out_moves_the_cursor_and_is_stored(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscription_status status;
    struct subscriptions *subs;

    for (int i = 0; i < 60; i++)
        head_move(world->head, append_to(world, "Unknown", "u", "{}"));
    subs = start_subs(world);
    await_live(world, subs, "counts");
    status = status_of(world, subs, "counts");
    assert_int_equal(status.position, 60);
    assert_int_equal(status.events_processed, 0);
    assert_int_equal(door_commits(world), 0); /* not for every page */
    stop_subs(subs);
    assert_int_equal(door_commits(world), 1); /* but before the end */
    assert_int_equal(checkpoint_of(world, "counts").position, 60);
    world_free(world);
}

static void what_is_left_out_before_a_failure_is_stored(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions *subs;

    for (int i = 0; i < 30; i++)
        append_to(world, "Unknown", "u", "{}");
    head_move(world->head, append_to(world, "Broken", "b", "{}"));
    subs = start_subs(world);
    await_state(world, subs, "counts", SUB_ERROR);
    assert_int_equal(checkpoint_of(world, "counts").position, 30);
    stop_subs(subs);
    world_free(world);
}

/* As long as BATCH_SAVE_EVERY_MS says. */
static void what_is_left_out_is_stored_after_a_while(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    uint64_t began_ms = clock_ms();
    struct subscriptions *subs;

    head_move(world->head, append_to(world, "Unknown", "u", "{}"));
    subs = start_subs(world);
    while (checkpoint_of(world, "counts").position == 0 &&
           clock_ms() - began_ms < 20000)
        usleep(20000);
    assert_int_equal(checkpoint_of(world, "counts").position, 1);
    assert_true(clock_ms() - began_ms >= 4900);
    stop_subs(subs);
    assert_int_equal(door_commits(world), 1);
    world_free(world);
}

/* ---- the end ---- */

static void a_batch_in_flight_is_finished_and_counted(void **state UNUSED)
{
    struct world *world = world_new();
    struct stop_result result;
    struct subscriptions *subs;

    write_script(world, "counts", counts);
    write_script(world, "others", others);
    load_scripts(world);
    door_shut(world, true);
    append_many(world, 0, 10);
    subs = start_subs(world);
    door_await_commits(world, 2);

    subscriptions_drain(subs);
    append_many(world, 10, 10); /* not begun any more */
    assert_false(subscriptions_drained(subs, clock_us() + 20000, &result));
    assert_int_equal(result.in_flight_at_start, 20);
    assert_int_equal(result.events_drained, 0);
    assert_int_equal(result.events_not_drained, 20);
    assert_int_equal(result.subscriptions_stopped, 0);

    door_shut(world, false);
    assert_true(subscriptions_drained(subs, clock_us() + 10000000, &result));
    assert_int_equal(result.events_drained, 20);
    assert_int_equal(result.events_not_drained, 0);
    assert_int_equal(result.subscriptions_stopped, 2);
    assert_int_equal(result.checkpoints_saved, 2);
    assert_int_equal(status_of(world, subs, "counts").state, SUB_STOPPED);
    subscriptions_stop(subs);

    assert_int_equal(checkpoint_of(world, "counts").position, 10);
    assert_true(uuid_is_nil(checkpoint_of(world, "counts").owner));
    world_free(world);
}

static void what_cannot_be_stored_at_the_end_is_told(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct stop_result result;
    struct subscriptions *subs;

    head_move(world->head, append_to(world, "Unknown", "u", "{}"));
    subs = start_subs(world);
    await_live(world, subs, "counts");
    door_will(world, COMMIT_IS_ROLLED_BACK);
    subscriptions_drain(subs);
    assert_true(subscriptions_drained(subs, clock_us() + 10000000, &result));
    assert_int_equal(result.subscriptions_stopped, 1);
    assert_int_equal(result.checkpoints_saved, 0);
    subscriptions_stop(subs);
    world_free(world);
}

static void idle_workers_are_not_stalled(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions *subs = start_subs(world);
    struct buf who = {0};

    usleep(30000);
    assert_false(subscriptions_are_stalled(subs, 10, &who));
    buf_done(&who);
    stop_subs(subs);
    world_free(world);
}

/* Watches for 300 ms, with a limit that all of it exceeds. */
static bool stalls(struct subscriptions *subs)
{
    struct buf who = {0};
    bool stalled = false;

    for (int i = 0; i < 60 && !stalled; i++) {
        usleep(5000);
        stalled = subscriptions_are_stalled(subs, 50, &who);
    }
    if (stalled)
        assert_non_null(strstr(who.ptr, "(counts)"));
    buf_done(&who);
    return stalled;
}

static void a_store_that_is_slow_stalls_nobody(void **state UNUSED)
{
    struct world *world = world_of("counts", counts);
    struct subscriptions *subs;

    world->door.get_ms = 200;
    subs = start_subs(world);
    append_many(world, 0, 1);
    assert_false(stalls(subs));
    await_live(world, subs, "counts");
    stop_subs(subs);
    world_free(world);
}

static void a_handler_may_run_as_long_as_its_script_says(void **state UNUSED)
{
    struct world *world = world_new();
    struct subscriptions *subs;

    write_script(
        world, "counts",
        counts_with(world, "p.subscription = { processing_timeout = 0.25 }"));
    load_scripts(world);
    head_move(world->head, append_to(world, "Endless", "e", "{}"));
    subs = start_subs(world);
    assert_false(stalls(subs));
    await_state(world, subs, "counts", SUB_ERROR);
    stop_subs(subs);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_catches_up_goes_live_and_follows),
        cmocka_unit_test(it_goes_on_from_the_checkpoint),
        cmocka_unit_test(rows_of_aggregates_come_in_few_queries),
        cmocka_unit_test(
            what_failed_is_left_out_and_what_came_before_is_stored),
        cmocka_unit_test(a_failure_at_the_first_event_stores_nothing),
        cmocka_unit_test(a_runaway_handler_stops_only_its_projection),
        cmocka_unit_test(an_insert_of_a_row_that_exists_is_found),
        cmocka_unit_test(a_new_one_starts_where_its_script_says),
        cmocka_unit_test(a_commit_that_is_rolled_back_is_offered_again),
        cmocka_unit_test(an_uncertain_commit_is_settled_first),
        cmocka_unit_test(the_same_batch_offered_twice_commits_once),
        cmocka_unit_test(troubles_of_reading_are_waited_out),
        cmocka_unit_test(trouble_makes_no_lag_of_a_quiet_time),
        cmocka_unit_test(tables_that_are_gone_stop_it),
        cmocka_unit_test(two_engines_never_run_it_at_once),
        cmocka_unit_test(a_zombie_cannot_commit),
        cmocka_unit_test(a_lease_that_is_gone_shows_and_is_taken_again),
        cmocka_unit_test(other_tables_need_a_rebuild_and_are_named),
        cmocka_unit_test(what_is_left_out_moves_the_cursor_and_is_stored),
        cmocka_unit_test(what_is_left_out_before_a_failure_is_stored),
        cmocka_unit_test(what_is_left_out_is_stored_after_a_while),
        cmocka_unit_test(a_batch_in_flight_is_finished_and_counted),
        cmocka_unit_test(what_cannot_be_stored_at_the_end_is_told),
        cmocka_unit_test(idle_workers_are_not_stalled),
        cmocka_unit_test(a_store_that_is_slow_stalls_nobody),
        cmocka_unit_test(a_handler_may_run_as_long_as_its_script_says),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, STDOUT_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
