#pragma once
/* The suite's chapter about checkpoints, leases and the fence. */
#include "unit/store/conformance.h"

#include <unistd.h>

static const struct table_def counts = {
    .name = {"counts", 6},
    .column_count = 2,
    .columns = {{{"id", 2}, VALUE_TEXT, false}, {{"n", 1}, VALUE_BIGINT, true}},
};

static struct slice install_partitions(struct fixture *fx, const char *name,
                                       uint32_t partitions)
{
    struct projection_def def = projection_of(name, NULL, 0);

    def.partitions = partitions;
    assert_ok(store_projection_install(fx->store, &def, 0, &fx->err), &fx->err);
    return (struct slice){def.name, 1, 0, partitions};
}

static size_t list_all(struct fixture *fx, struct checkpoint **rows)
{
    size_t count = 0;

    assert_ok(
        store_list_checkpoints(fx->store, &fx->arena, rows, &count, &fx->err),
        &fx->err);
    return count;
}

/* ---- taking and giving back ---- */

static void a_slice_without_a_checkpoint_cannot_be_taken(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "halves", 2);
    struct slice unknown = {STR("nobody"), 1, 0, 1};
    struct checkpoint out;

    assert_int_equal(take(fx, &unknown, uuid_new(), 1000, &out), LEASE_FAILED);
    assert_code(&fx->err, ERR_NOT_FOUND);
    slice.partitions = 3;
    assert_int_equal(take(fx, &slice, uuid_new(), 1000, &out), LEASE_FAILED);
    assert_code(&fx->err, ERR_CONFLICT);
    slice.partitions = 2;
    slice.generation = 2;
    assert_int_equal(take(fx, &slice, uuid_new(), 1000, &out), LEASE_FAILED);
    assert_code(&fx->err, ERR_NOT_FOUND);
}

static void a_lease_is_taken_refused_released_and_taken(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "one", 1);
    struct uuid a = uuid_new();
    struct uuid b = uuid_new();
    struct checkpoint out;
    uint64_t epoch;

    assert_int_equal(take(fx, &slice, a, 60000, &out), LEASE_TAKEN);
    assert_true(uuid_eq(out.owner, a));
    assert_str(out.slice.subscription, "one");
    assert_int_equal(out.position, 0);
    assert_false(out.expired);
    epoch = out.epoch;

    assert_int_equal(take(fx, &slice, b, 60000, &out), LEASE_REFUSED);
    assert_true(uuid_eq(out.owner, a));
    assert_int_equal(out.epoch, epoch);
    assert_false(out.expired);

    assert_ok(store_lease_release(fx->store, b, &fx->err), &fx->err);
    assert_int_equal(take(fx, &slice, b, 60000, &out), LEASE_REFUSED);
    assert_ok(store_lease_release(fx->store, a, &fx->err), &fx->err);
    assert_int_equal(take(fx, &slice, b, 60000, &out), LEASE_TAKEN);
    assert_true(uuid_eq(out.owner, b));
    assert_true(out.epoch > epoch);
}

static void taking_ones_own_lease_again_raises_the_epoch(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "one", 1);
    struct uuid owner = uuid_new();
    struct checkpoint first;
    struct checkpoint again;

    assert_int_equal(take(fx, &slice, owner, 60000, &first), LEASE_TAKEN);
    assert_int_equal(take(fx, &slice, owner, 60000, &again), LEASE_TAKEN);
    assert_true(again.epoch > first.epoch);
}

/* The other owner keeps asking: what is waited for is the store's clock. */
static void a_lease_that_is_not_renewed_expires(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "one", 1);
    uint64_t deadline_ms = clock_ms() + 20000;
    struct checkpoint first;
    struct checkpoint out;
    struct checkpoint *rows;
    enum lease_end end;

    assert_int_equal(take(fx, &slice, uuid_new(), 200, &first), LEASE_TAKEN);
    assert_int_equal(take(fx, &slice, uuid_new(), 200, &out), LEASE_REFUSED);
    do {
        assert_int_equal(list_all(fx, &rows), 1);
    } while (!rows[0].expired && clock_ms() < deadline_ms);
    assert_true(rows[0].expired);
    end = take(fx, &slice, uuid_new(), 60000, &out);
    assert_int_equal(end, LEASE_TAKEN);
    assert_true(out.epoch > first.epoch);
}

#define RIVALS 6
#define TRIES  25

struct rival {
    struct thread *thread;
    struct fixture *fx;
    struct slice slice;
    struct uuid owner;
    int *holders; /* atomic, shared */
    int *most;    /* atomic, shared: the most holders at one time */
    enum lease_end end;
    struct err err;
};

/* Asks the store something meanwhile, so that it holds the slice for a while.
 */
static void hold(struct rival *me)
{
    int now = __atomic_add_fetch(me->holders, 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(me->most, __ATOMIC_SEQ_CST);
    uint64_t head;

    while (now > most &&
           !__atomic_compare_exchange_n(me->most, &most, now, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        continue;
    if (!store_head(me->fx->store, &head, &me->err))
        me->end = LEASE_FAILED;
    __atomic_sub_fetch(me->holders, 1, __ATOMIC_SEQ_CST);
}

static void grab_and_release(void *arg)
{
    struct rival *me = arg;
    struct checkpoint out;

    for (int i = 0; i < TRIES && me->end != LEASE_FAILED; i++) {
        me->end = store_lease_take(me->fx->store, &me->slice, me->owner, 60000,
                                   &out, &me->err);
        if (me->end != LEASE_TAKEN)
            continue;
        hold(me);
        if (!store_lease_release(me->fx->store, me->owner, &me->err))
            me->end = LEASE_FAILED;
    }
}

static void two_owners_never_hold_one_slice(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "one", 1);
    struct rival all[RIVALS];
    int holders = 0;
    int most = 0;

    for (size_t i = 0; i < RIVALS; i++) {
        all[i] = (struct rival){.fx = fx,
                                .slice = slice,
                                .owner = uuid_new(),
                                .holders = &holders,
                                .most = &most};
        all[i].thread =
            thread_start("rival", grab_and_release, &all[i], &fx->err);
        assert_non_null(all[i].thread);
    }
    for (size_t i = 0; i < RIVALS; i++)
        thread_join(all[i].thread);
    for (size_t i = 0; i < RIVALS; i++)
        assert_ok(all[i].end != LEASE_FAILED, &all[i].err);
    assert_int_equal(most, 1);
}

static void checkpoints_are_listed_by_subscription(void **state)
{
    struct fixture *fx = *state;
    struct slice b = install_partitions(fx, "b", 2);
    struct uuid owner = uuid_new();
    struct checkpoint *rows;
    struct checkpoint out;

    install_partitions(fx, "a", 1);
    b.partition = 1;
    assert_int_equal(take(fx, &b, owner, 60000, &out), LEASE_TAKEN);

    assert_int_equal(list_all(fx, &rows), 3);
    assert_str(rows[0].slice.subscription, "a");
    assert_true(uuid_is_nil(rows[0].owner));
    assert_int_equal(rows[0].slice.generation, 1);
    assert_int_equal(rows[0].slice.partitions, 1);
    assert_str(rows[1].slice.subscription, "b");
    assert_int_equal(rows[1].slice.partition, 0);
    assert_true(uuid_is_nil(rows[1].owner));
    assert_int_equal(rows[2].slice.partition, 1);
    assert_int_equal(rows[2].slice.partitions, 2);
    assert_true(uuid_eq(rows[2].owner, owner));
    assert_true(rows[2].updated_at_us > clock_wall_us() - 60000000);
}

/* ---- the keeper ---- */

static struct beat beat_of(struct fixture *fx, struct store_keeper *keeper,
                           struct uuid owner, uint32_t ttl_ms)
{
    struct beat beat;

    assert_ok(
        store_keeper_beat(keeper, owner, ttl_ms, &fx->arena, &beat, &fx->err),
        &fx->err);
    return beat;
}

static void a_beat_tells_head_log_and_what_is_held(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "halves", 2);
    struct store_keeper *keeper = store_keeper_open(fx->store, &fx->err);
    struct uuid owner = uuid_new();
    struct checkpoint out;
    struct uuid log_id;
    struct beat beat;

    assert_ok(keeper != NULL, &fx->err);
    write_ticks(fx, "a", 7);
    beat = beat_of(fx, keeper, owner, 1000);
    assert_int_equal(beat.head, 7);
    assert_int_equal(beat.held_count, 0);
    assert_ok(store_log_id(fx->store, &log_id, &fx->err), &fx->err);
    assert_true(uuid_eq(beat.log_id, log_id));

    slice.partition = 1;
    assert_int_equal(take(fx, &slice, owner, 60000, &out), LEASE_TAKEN);
    beat = beat_of(fx, keeper, owner, 60000);
    assert_int_equal(beat.held_count, 1);
    assert_str(beat.held[0].slice.subscription, "halves");
    assert_int_equal(beat.held[0].slice.partition, 1);
    assert_int_equal(beat.held[0].epoch, out.epoch);
    assert_false(beat.held[0].expired);
    store_keeper_close(keeper);
}

static void a_beat_renews_the_lease(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "one", 1);
    struct store_keeper *keeper = store_keeper_open(fx->store, &fx->err);
    struct uuid owner = uuid_new();
    struct checkpoint *rows;
    struct checkpoint out;

    assert_ok(keeper != NULL, &fx->err);
    assert_int_equal(take(fx, &slice, owner, 1, &out), LEASE_TAKEN);
    do {
        list_all(fx, &rows);
    } while (!rows[0].expired);
    beat_of(fx, keeper, owner, 60000);
    list_all(fx, &rows);
    assert_false(rows[0].expired);
    assert_int_equal(take(fx, &slice, uuid_new(), 1, &out), LEASE_REFUSED);
    store_keeper_close(keeper);
}

static void a_lost_lease_is_missing_in_the_beat(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "one", 1);
    struct store_keeper *keeper = store_keeper_open(fx->store, &fx->err);
    struct uuid owner = uuid_new();
    struct checkpoint out;

    assert_ok(keeper != NULL, &fx->err);
    assert_int_equal(take(fx, &slice, owner, 60000, &out), LEASE_TAKEN);
    assert_ok(store_lease_release(fx->store, owner, &fx->err), &fx->err);
    assert_int_equal(take(fx, &slice, uuid_new(), 60000, &out), LEASE_TAKEN);
    assert_int_equal(beat_of(fx, keeper, owner, 60000).held_count, 0);
    store_keeper_close(keeper);
}

static void the_keeper_wakes_by_its_descriptor_and_by_time(void **state)
{
    struct fixture *fx = *state;
    struct store_keeper *keeper = store_keeper_open(fx->store, &fx->err);
    uint64_t began_ms = clock_ms();
    uint64_t head = 0;
    int ends[2];

    assert_ok(keeper != NULL, &fx->err);
    assert_int_equal(pipe(ends), 0);
    assert_false(store_keeper_wait(keeper, ends[0], 50, &head));
    assert_true(clock_ms() - began_ms >= 45);
    assert_int_equal(write(ends[1], "x", 1), 1);
    began_ms = clock_ms();
    assert_false(store_keeper_wait(keeper, ends[0], 60000, &head));
    assert_true(clock_ms() - began_ms < 30000);
    close(ends[0]);
    close(ends[1]);
    store_keeper_close(keeper);
}

static void a_claim_gives_back_what_the_dead_engine_held(void **state)
{
    struct fixture *fx = *state;
    struct slice slice = install_partitions(fx, "one", 1);
    struct checkpoint first;
    struct checkpoint out;

    assert_int_equal(take(fx, &slice, uuid_new(), 600000, &first), LEASE_TAKEN);
    assert_ok(store_claim(fx->store, "here", &fx->err), &fx->err);
    if (store_kind(fx->store) == STORE_POSTGRES) {
        assert_int_equal(take(fx, &slice, uuid_new(), 1, &out), LEASE_REFUSED);
        return;
    }
    assert_int_equal(take(fx, &slice, uuid_new(), 1, &out), LEASE_TAKEN);
    assert_true(out.epoch > first.epoch);
}

/* ---- the fence ---- */

static struct row_change put_count(struct value values[2], const char *id,
                                   int64_t n)
{
    values[0] = (struct value){.kind = VALUE_TEXT, .text = str_of(id)};
    values[1] = (struct value){.kind = VALUE_BIGINT, .i64 = n};
    return (struct row_change){ROW_ADD, 2, values};
}

static int64_t count_of(struct runner *runner, const char *id)
{
    struct row row =
        get_row(runner, (struct value){.kind = VALUE_TEXT, .text = str_of(id)});

    return row.values != NULL ? row.values[1].i64 : -1;
}

static struct checkpoint only_checkpoint(struct fixture *fx)
{
    struct checkpoint *rows;

    assert_int_equal(list_all(fx, &rows), 1);
    return rows[0];
}

static void a_batch_commits_once_however_often_it_is_offered(void **state)
{
    struct fixture *fx = *state;
    struct runner runner;
    struct value values[2];
    struct row_change row = put_count(values, "x", 5);
    struct table_change change = {&counts, &row, 1};
    struct batch_commit batch;

    write_ticks(fx, "a", 10);
    runner = start_runner(fx, &counts);
    batch = next_batch(&runner, &change);
    batch.to = 4;
    batch.to_event_id = event_at(fx, 4);
    batch.events_processed = 3;
    assert_int_equal(store_commit_batch(fx->store, &batch, &fx->err),
                     COMMIT_DONE);
    assert_int_equal(store_commit_batch(fx->store, &batch, &fx->err),
                     COMMIT_FENCED);
    assert_int_equal(count_of(&runner, "x"), 5);
    assert_int_equal(only_checkpoint(fx).position, 4);
    assert_int_equal(only_checkpoint(fx).events_processed, 3);
}

static void a_zombies_batch_is_fenced_off(void **state)
{
    struct fixture *fx = *state;
    struct runner zombie;
    struct value values[2];
    struct row_change row = put_count(values, "x", 5);
    struct table_change change = {&counts, &row, 1};
    struct batch_commit batch;
    struct checkpoint out;

    write_ticks(fx, "a", 10);
    zombie = start_runner(fx, &counts);
    batch = next_batch(&zombie, &change);
    assert_ok(store_lease_release(fx->store, zombie.owner, &fx->err), &fx->err);
    assert_int_equal(take(fx, &zombie.slice, uuid_new(), 60000, &out),
                     LEASE_TAKEN);
    assert_int_equal(store_commit_batch(fx->store, &batch, &fx->err),
                     COMMIT_FENCED);
    assert_int_equal(count_of(&zombie, "x"), -1);
    assert_int_equal(only_checkpoint(fx).position, 0);
}

static void a_batch_must_start_where_the_checkpoint_stands(void **state)
{
    struct fixture *fx = *state;
    struct runner runner;
    struct value values[2];
    struct row_change row = put_count(values, "x", 5);
    struct table_change change = {&counts, &row, 1};
    struct batch_commit batch;

    write_ticks(fx, "a", 10);
    runner = start_runner(fx, &counts);
    runner.position = 3;
    batch = next_batch(&runner, &change);
    assert_int_equal(store_commit_batch(fx->store, &batch, &fx->err),
                     COMMIT_FENCED);
    assert_int_equal(count_of(&runner, "x"), -1);
}

static void a_batch_read_from_another_log_is_fenced_off(void **state)
{
    struct fixture *fx = *state;
    struct runner runner;
    struct value values[2];
    struct row_change row = put_count(values, "x", 5);
    struct table_change change = {&counts, &row, 1};
    struct batch_commit batch;

    write_ticks(fx, "a", 10);
    runner = start_runner(fx, &counts);
    batch = next_batch(&runner, &change);
    batch.to_event_id = uuid_new();
    assert_int_equal(store_commit_batch(fx->store, &batch, &fx->err),
                     COMMIT_FENCED);
    /* The log ends before the batch does. */
    batch.to = 99;
    assert_int_equal(store_commit_batch(fx->store, &batch, &fx->err),
                     COMMIT_FENCED);
    assert_int_equal(count_of(&runner, "x"), -1);
    assert_int_equal(only_checkpoint(fx).position, 0);
}

static void a_commit_renews_the_lease_and_needs_no_rows(void **state)
{
    struct fixture *fx = *state;
    struct runner runner;
    struct batch_commit batch;
    struct checkpoint out;

    write_ticks(fx, "a", 10);
    runner = start_runner(fx, &counts);
    assert_int_equal(take(fx, &runner.slice, runner.owner, 1, &out),
                     LEASE_TAKEN);
    while (!only_checkpoint(fx).expired)
        continue;
    runner.epoch = out.epoch;
    batch = next_batch(&runner, NULL);
    assert_int_equal(store_commit_batch(fx->store, &batch, &fx->err),
                     COMMIT_DONE);
    assert_false(only_checkpoint(fx).expired);
    assert_int_equal(only_checkpoint(fx).position, 1);
}

static void settling_tells_what_became_of_a_batch(void **state)
{
    struct fixture *fx = *state;
    struct runner runner;
    struct batch_commit batch;
    struct batch_commit elsewhere;
    struct checkpoint out;

    write_ticks(fx, "a", 10);
    runner = start_runner(fx, &counts);
    batch = next_batch(&runner, NULL);
    assert_int_equal(store_commit_settle(fx->store, &batch, &fx->err),
                     COMMIT_ROLLED_BACK);
    assert_int_equal(store_commit_batch(fx->store, &batch, &fx->err),
                     COMMIT_DONE);
    assert_int_equal(store_commit_settle(fx->store, &batch, &fx->err),
                     COMMIT_DONE);
    elsewhere = batch;
    elsewhere.to_event_id = uuid_new();
    assert_int_equal(store_commit_settle(fx->store, &elsewhere, &fx->err),
                     COMMIT_FENCED);
    elsewhere = batch;
    elsewhere.from = 5;
    elsewhere.to = 6;
    elsewhere.to_event_id = event_at(fx, 6);
    assert_int_equal(store_commit_settle(fx->store, &elsewhere, &fx->err),
                     COMMIT_FENCED);
    assert_int_equal(take(fx, &runner.slice, runner.owner, 60000, &out),
                     LEASE_TAKEN);
    assert_int_equal(store_commit_settle(fx->store, &batch, &fx->err),
                     COMMIT_FENCED);
}

#define LEASE_TESTS(migrated)                                                  \
    migrated(a_slice_without_a_checkpoint_cannot_be_taken),                    \
        migrated(a_lease_is_taken_refused_released_and_taken),                 \
        migrated(taking_ones_own_lease_again_raises_the_epoch),                \
        migrated(a_lease_that_is_not_renewed_expires),                         \
        migrated(two_owners_never_hold_one_slice),                             \
        migrated(checkpoints_are_listed_by_subscription),                      \
        migrated(a_beat_tells_head_log_and_what_is_held),                      \
        migrated(a_beat_renews_the_lease),                                     \
        migrated(a_lost_lease_is_missing_in_the_beat),                         \
        migrated(the_keeper_wakes_by_its_descriptor_and_by_time),              \
        migrated(a_claim_gives_back_what_the_dead_engine_held),                \
        migrated(a_batch_commits_once_however_often_it_is_offered),            \
        migrated(a_zombies_batch_is_fenced_off),                               \
        migrated(a_batch_must_start_where_the_checkpoint_stands),              \
        migrated(a_batch_read_from_another_log_is_fenced_off),                 \
        migrated(a_commit_renews_the_lease_and_needs_no_rows),                 \
        migrated(settling_tells_what_became_of_a_batch)
