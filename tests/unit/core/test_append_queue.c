#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/core/append_rig.h"

/* The queue over a store whose transactions end as the test says. */

/* ---- when all goes well ---- */

static void appends_get_versions_and_contiguous_positions(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    post(rig, (struct ask){.id = "a", .expect = EXPECT_NO_STREAM});
    post_to(rig, "a");
    post(rig,
         (struct ask){
             .id = "a", .expect = EXPECT_VERSION, .version = 2, .count = 3});
    post(rig, (struct ask){.id = "b", .expect = EXPECT_VERSION});
    post(rig, (struct ask){.id = "b", .expect = EXPECT_VERSION});
    await_all(rig);
    assert_stored(&rig->answers[0], 1, 1, 1);
    assert_stored(&rig->answers[1], 2, 2, 2);
    assert_stored(&rig->answers[2], 5, 3, 5);
    assert_stored(&rig->answers[3], 1, 6, 6);
    assert_error(&rig->answers[4], ERR_VERSION_CONFLICT);
    assert_int_equal(head_position(rig->head), 6);
    assert_int_equal(append_queue_waiting(rig->queue), 0);
    rig_free(rig);
}

static void the_largest_append_is_taken_whole(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    post(rig, (struct ask){.id = "a", .count = APPEND_MAX_EVENTS});
    await_all(rig);
    assert_stored(&rig->answers[0], APPEND_MAX_EVENTS, 1, APPEND_MAX_EVENTS);
    rig_free(rig);
}

static void who_arrives_while_the_writer_queues_comes_along(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    open_batch(rig);
    post_to(rig, "a");
    fake_await_begin(rig->fake);
    for (int i = 0; i < 20; i++)
        post_to(rig, i % 2 == 0 ? "a" : "b");
    assert_int_equal(append_queue_waiting(rig->queue), 21);
    close_batch(rig);
    assert_int_equal(rig->fake->commits, 1);
    for (size_t i = 0; i < 21; i++) {
        assert_int_equal(rig->answers[i].turn, i);
        assert_int_equal(rig->answers[i].result.first_position, i + 1);
    }
    rig_free(rig);
}

static void a_batch_is_bounded_by_events(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    open_batch(rig);
    for (int i = 0; i < 12; i++)
        post(rig, (struct ask){.id = "a", .count = 900});
    close_batch(rig);
    assert_int_equal(rig->fake->commits, 3); /* 5 × 900 fit into 5,000 */
    for (size_t i = 0; i < 12; i++)
        assert_stored(&rig->answers[i], (i + 1) * 900, i * 900 + 1,
                      (i + 1) * 900);
    rig_free(rig);
}

static void a_batch_of_answers_alone_commits_nothing(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    post(rig, (struct ask){.id = "a", .expect = EXPECT_STREAM_EXISTS});
    await_all(rig);
    assert_error(&rig->answers[0], ERR_VERSION_CONFLICT);
    assert_int_equal(rig->fake->commits, 0);
    post_to(rig, "a");
    await_all(rig);
    assert_stored(&rig->answers[1], 1, 1, 1);
    rig_free(rig);
}

static void a_known_head_is_not_looked_up_again(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    for (int i = 0; i < 5; i++) {
        post_to(rig, "a");
        await_all(rig);
    }
    assert_int_equal(rig->fake->lookups, 1);
    rig_free(rig);
}

/* ---- ids ---- */

static void
the_same_append_twice_in_one_batch_is_answered_twice(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct uuid ids[] = {uuid_new(), uuid_new()};
    struct ask ask = {
        .id = "a", .expect = EXPECT_NO_STREAM, .count = 2, .ids = ids};

    open_batch(rig);
    post(rig, ask);
    post(rig, ask);
    post_to(rig, "a");
    post(rig, ask);
    close_batch(rig);
    assert_stored(&rig->answers[0], 2, 1, 2);
    assert_stored(&rig->answers[2], 3, 3, 3);
    for (size_t i = 1; i < 4; i += 2) {
        assert_false(rig->answers[i].failed);
        assert_true(rig->answers[i].result.idempotent);
        assert_int_equal(rig->answers[i].result.version, 2);
        assert_int_equal(rig->answers[i].result.first_position, 1);
        assert_int_equal(rig->answers[i].result.last_position, 2);
    }
    rig_free(rig);
}

static void the_same_append_in_a_batch_that_is_rolled_back_is_stored_once(
    void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct uuid id = uuid_new();

    fake_plan(rig->fake, FAKE_ROLLED_BACK);
    fake_plan(rig->fake, FAKE_LOST);
    open_batch(rig);
    post(rig, (struct ask){.id = "a", .ids = &id});
    post(rig, (struct ask){.id = "a", .ids = &id});
    close_batch(rig);
    assert_stored(&rig->answers[0], 1, 1, 1);
    assert_true(rig->answers[1].result.idempotent);
    rig_free(rig);
}

/* ---- other writers ---- */

static void what_others_append_is_seen_before_deciding(void **state UNUSED)
{
    for (int cut = 0; cut < 2; cut++) {
        struct rig *rig = rig_new(false);

        post_to(rig, "a");
        await_all(rig);
        rig->fake->cut = cut != 0;
        open_batch(rig);
        fake_foreign(rig->fake, "a", uuid_new());
        fake_foreign(rig->fake, "new", uuid_new());
        post(rig,
             (struct ask){.id = "a", .expect = EXPECT_VERSION, .version = 1});
        post(rig,
             (struct ask){.id = "a", .expect = EXPECT_VERSION, .version = 2});
        post(rig, (struct ask){.id = "new", .expect = EXPECT_NO_STREAM});
        post_to(rig, "new");
        close_batch(rig);
        assert_error(&rig->answers[1], ERR_VERSION_CONFLICT);
        assert_non_null(
            strstr(rig->answers[1].err.extra, "\"actual_version\":2"));
        assert_stored(&rig->answers[2], 3, 4, 4);
        assert_error(&rig->answers[3], ERR_VERSION_CONFLICT);
        assert_stored(&rig->answers[4], 2, 5, 5);
        assert_int_equal(head_position(rig->head), 5);
        rig_free(rig);
    }
}

/* Without a row nothing but the delta could show that the cache is wrong. */
static void
no_conflict_is_told_from_a_head_that_was_not_proven(void **state UNUSED)
{
    for (int cut = 0; cut < 2; cut++) {
        struct rig *rig = rig_new(false);

        post_to(rig, "a");
        await_all(rig);
        fake_foreign(rig->fake, "a", uuid_new());
        rig->fake->cut = cut != 0;
        post(rig,
             (struct ask){.id = "a", .expect = EXPECT_VERSION, .version = 2});
        await_all(rig);
        assert_stored(&rig->answers[1], 3, 3, 3);
        rig_free(rig);
    }
}

/* After a failover that lost the log's tail, positions are given again. */
static void a_log_that_lost_its_tail_is_gone_on_with(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    for (int i = 0; i < 5; i++)
        post_to(rig, "a");
    await_all(rig);
    lock_take(&rig->fake->lock);
    fake_drop_tail(rig->fake, 2);
    lock_give(&rig->fake->lock);
    post_to(rig, "a");
    await_all(rig);
    assert_stored(&rig->answers[5], 3, 3, 3);
    rig_free(rig);
}

/* ---- transactions that do not commit ---- */

static void what_was_rolled_back_is_tried_again(void **state UNUSED)
{
    static const enum fake_end ends[] = {FAKE_ROLLED_BACK, FAKE_STALE,
                                         FAKE_LOST, FAKE_LOST_STORED,
                                         FAKE_LOST_LATE};

    for (size_t i = 0; i < COUNT(ends); i++) {
        for (int cut = 0; cut < 2; cut++) {
            struct rig *rig = rig_new(false);

            post_to(rig, "a");
            await_all(rig);
            rig->fake->cut = cut != 0;
            fake_plan(rig->fake, ends[i]);
            open_batch(rig);
            post(rig, (struct ask){.id = "a", .count = 2});
            post(rig, (struct ask){.id = "b", .expect = EXPECT_NO_STREAM});
            post(rig, (struct ask){.id = "b", .expect = EXPECT_NO_STREAM});
            close_batch(rig);
            post_to(rig, "b");
            await_all(rig);
            assert_stored(&rig->answers[1], 3, 2, 3);
            assert_stored(&rig->answers[2], 1, 4, 4);
            assert_error(&rig->answers[3], ERR_VERSION_CONFLICT);
            assert_stored(&rig->answers[4], 2, 5, 5);
            assert_int_equal(rig->fake->log->count, 5);
            rig_free(rig);
        }
    }
}

/* A batch larger than a delta: its own rows cut it. */
static void
a_large_batch_of_unknown_outcome_is_settled_by_its_ids(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    fake_plan(rig->fake, FAKE_LOST_STORED);
    open_batch(rig);
    for (int i = 0; i < 4; i++)
        post(rig, (struct ask){.id = "a", .count = 1000});
    close_batch(rig);
    for (size_t i = 0; i < 4; i++)
        assert_stored(&rig->answers[i], (i + 1) * 1000, i * 1000 + 1,
                      (i + 1) * 1000);
    assert_int_equal(rig->fake->log->count, 4000);
    rig_free(rig);
}

static void an_outcome_is_settled_once_the_store_is_back(void **state UNUSED)
{
    static const enum fake_end ends[] = {FAKE_LOST, FAKE_LOST_STORED,
                                         FAKE_LOST_LATE};

    for (size_t i = 0; i < COUNT(ends); i++) {
        struct rig *rig = rig_new(false);

        lose_answer(rig, ends[i]);
        post(rig, (struct ask){.id = "a", .expect = EXPECT_NO_STREAM});
        go_away_at_commit(rig);
        assert_int_equal(rig->given, 0);
        post_to(rig, "a"); /* waits behind it */
        fake_set(rig->fake, &rig->fake->begins_to_fail, 0);
        await_all(rig);
        assert_stored(&rig->answers[0], 1, 1, 1);
        assert_stored(&rig->answers[1], 2, 2, 2);
        rig_free(rig);
    }
}

/* The producer of one event sent it to another instance meanwhile, and there
 * it got the very position that it would have had here. */
static void one_event_in_its_place_does_not_prove_the_batch(void **state UNUSED)
{
    for (int cut = 0; cut < 2; cut++) {
        struct rig *rig = rig_new(false);
        struct uuid id = uuid_new();

        lose_answer(rig, FAKE_LOST);
        post(rig, (struct ask){.id = "a", .ids = &id});
        post_to(rig, "b");
        go_away_at_commit(rig);
        fake_foreign(rig->fake, "a", id);
        rig->fake->cut = cut != 0;
        fake_set(rig->fake, &rig->fake->begins_to_fail, 0);
        await_all(rig);
        /* Foreign content differs: it is told as a duplicate.  What matters
         * is the other one: acknowledged, so it must be there. */
        assert_error(&rig->answers[0], ERR_DUPLICATE_EVENT);
        assert_stored(&rig->answers[1], 1, 2, 2);
        rig_free(rig);
    }
}

static void others_may_append_before_an_outcome_is_settled(void **state UNUSED)
{
    static const enum fake_end ends[] = {FAKE_LOST, FAKE_LOST_STORED};

    for (size_t i = 0; i < COUNT(ends); i++) {
        struct rig *rig = rig_new(false);
        uint64_t at = ends[i] == FAKE_LOST ? 3 : 1;

        lose_answer(rig, ends[i]);
        post_to(rig, "a");
        go_away_at_commit(rig);
        fake_foreign(rig->fake, "a", uuid_new());
        fake_foreign(rig->fake, "b", uuid_new());
        fake_set(rig->fake, &rig->fake->begins_to_fail, 0);
        await_all(rig);
        assert_stored(&rig->answers[0], ends[i] == FAKE_LOST ? 2 : 1, at, at);
        post(rig,
             (struct ask){.id = "b", .expect = EXPECT_VERSION, .version = 1});
        post(rig,
             (struct ask){.id = "a", .expect = EXPECT_VERSION, .version = 2});
        await_all(rig);
        assert_stored(&rig->answers[1], 2, 4, 4);
        assert_stored(&rig->answers[2], 3, 5, 5);
        rig_free(rig);
    }
}

static void
a_lookup_that_fails_while_settling_is_made_again(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    post_to(rig, "a"); /* its head is known from now on */
    await_all(rig);
    lose_answer(rig, FAKE_LOST_STORED);
    post_to(rig, "a");
    go_away_at_commit(rig);
    rig->fake->cut = true;
    rig->fake->lookups_to_fail = 2;
    fake_set(rig->fake, &rig->fake->begins_to_fail, 0);
    await_all(rig);
    assert_stored(&rig->answers[1], 2, 2, 2);
    assert_int_equal(rig->fake->lookups_to_fail, 0);
    rig_free(rig);
}

static void a_lookup_that_fails_leaves_no_guess_behind(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    fake_foreign(rig->fake, "a", uuid_new());
    rig->fake->blind = true;
    rig->fake->lookups_to_fail = 3;
    post(rig, (struct ask){.id = "a", .expect = EXPECT_VERSION, .version = 1});
    await_all(rig);
    assert_stored(&rig->answers[0], 2, 2, 2);
    assert_int_equal(rig->fake->commits, 1);
    rig_free(rig);
}

static void a_cache_that_was_wrong_is_found_by_the_keys(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct uuid id = uuid_new();

    post_to(rig, "a");
    await_all(rig);
    fake_foreign(rig->fake, "a", id);
    rig->fake->blind = true; /* the delta does not tell */
    post_to(rig, "a");
    await_all(rig);
    assert_stored(&rig->answers[1], 3, 3, 3);
    rig_free(rig);
}

static void keys_violated_for_ever_end_with_an_answer(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    for (int i = 0; i < 6; i++)
        fake_plan(rig->fake, FAKE_STALE);
    open_batch(rig);
    post_to(rig, "a");
    post_to(rig, "b");
    close_batch(rig);
    assert_error(&rig->answers[0], ERR_STORE);
    assert_stored(&rig->answers[1], 1, 1, 1);
    rig_free(rig);
}

static void
an_id_that_was_not_looked_up_is_found_by_the_keys(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct uuid id = uuid_new();

    post(rig, (struct ask){.id = "a", .ids = &id});
    await_all(rig);
    open_batch(rig);
    post_to(rig, "b");
    post(rig, (struct ask){.id = "b", .ids = &id, .secret = true});
    close_batch(rig);
    assert_stored(&rig->answers[1], 1, 2, 2);
    assert_error(&rig->answers[2], ERR_DUPLICATE_EVENT);
    rig_free(rig);
}

static void violations_long_ago_do_not_count(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    for (uint64_t i = 1; i <= 3; i++) {
        fake_plan(rig->fake, FAKE_STALE);
        fake_plan(rig->fake, FAKE_STALE);
        fake_plan(rig->fake, FAKE_COMMIT);
        post_to(rig, "a");
        await_all(rig);
        assert_stored(&rig->answers[i - 1], i, i, i);
    }
    rig_free(rig);
}

static void refused_data_fails_alone(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    size_t commits;

    open_batch(rig);
    post_to(rig, "a");
    post(rig, (struct ask){.id = "b", .type = "Poison"});
    post(rig, (struct ask){.id = "b", .expect = EXPECT_NO_STREAM});
    post_to(rig, "c");
    close_batch(rig);
    assert_stored(&rig->answers[0], 1, 1, 1);
    assert_error(&rig->answers[1], ERR_DATA);
    assert_stored(&rig->answers[2], 1, 2, 2); /* its conflict was not final */
    assert_stored(&rig->answers[3], 1, 3, 3);

    /* Group commit is back. */
    commits = rig->fake->commits;
    open_batch(rig);
    for (int i = 0; i < 10; i++)
        post_to(rig, "a");
    close_batch(rig);
    assert_int_equal(rig->fake->commits, commits + 1);
    rig_free(rig);
}

/* ---- chains ---- */

static void a_failure_leaves_no_hole_in_its_chain(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    int chain = 0;
    struct ask good = {.id = "a", .chain = &chain};
    struct ask bad = {.id = "a", .expect = EXPECT_NO_STREAM, .chain = &chain};

    fake_plan(rig->fake, FAKE_ROLLED_BACK);
    open_batch(rig);
    post(rig, good);
    post(rig, bad);
    post(rig, good);
    close_batch(rig);
    post(rig, good); /* a later batch */
    await_all(rig);
    assert_stored(&rig->answers[0], 1, 1, 1);
    assert_error(&rig->answers[1], ERR_VERSION_CONFLICT);
    assert_error(&rig->answers[2], ERR_CONFLICT);
    assert_error(&rig->answers[3], ERR_CONFLICT);
    assert_int_equal(chain, 1);
    chain = 0;
    post(rig, good);
    await_all(rig);
    assert_stored(&rig->answers[4], 2, 2, 2);
    rig_free(rig);
}

static void refused_data_breaks_its_chain(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    int chain = 0;

    open_batch(rig);
    post(rig, (struct ask){.id = "a", .chain = &chain});
    post(rig, (struct ask){.id = "b", .type = "Poison", .chain = &chain});
    post(rig, (struct ask){.id = "c", .chain = &chain});
    close_batch(rig);
    assert_stored(&rig->answers[0], 1, 1, 1);
    assert_error(&rig->answers[1], ERR_DATA);
    assert_error(&rig->answers[2], ERR_CONFLICT);
    rig_free(rig);
}

/* ---- time ---- */

static void a_store_that_is_away_for_a_while_is_waited_for(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct append_result result;
    struct err err;

    rig->fake->begins_to_fail = 3;
    assert_true(submit(rig, "a", 30000, &result, &err));
    assert_int_equal(result.version, 1);
    assert_int_equal(rig->fake->begins_to_fail, 0);
    rig_free(rig);
}

static void a_submit_is_told_when_its_time_is_over(void **state UNUSED)
{
    static const struct {
        int begins, lookups, commits;
    } trouble[] = {{-1, 0, 0}, {0, -1, 0}, {0, 0, -1}};

    for (size_t i = 0; i < COUNT(trouble); i++) {
        struct rig *rig = rig_new(false);
        struct append_result result;
        struct err err;
        uint64_t begun_ms = clock_ms();

        rig->fake->begins_to_fail = trouble[i].begins;
        rig->fake->lookups_to_fail = trouble[i].lookups;
        rig->fake->commits_to_roll_back = trouble[i].commits;
        assert_false(submit(rig, "a", 100, &result, &err));
        assert_int_equal(err.code, ERR_STORE);
        assert_non_null(strstr(err.text, "nothing was stored"));
        assert_true(clock_ms() - begun_ms >= 99);
        assert_true(clock_ms() - begun_ms < 2000);
        assert_int_equal(append_queue_waiting(rig->queue), 0);
        /* A store that begins and never commits is not asked in a loop. */
        assert_true(rig->fake->commits < 20);
        assert_int_equal(rig->fake->log->count, 0);
        rig_free(rig);
    }
}

static void what_comes_too_late_to_the_batch_is_not_stored(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct append_result result;
    uint64_t begun_ms = clock_ms();
    struct err err;

    fake_hold(rig->fake);
    assert_false(submit(rig, "a", 1, &result, &err));
    assert_int_equal(err.code, ERR_STORE);
    assert_non_null(strstr(err.text, "nothing was stored"));
    assert_true(clock_ms() - begun_ms < 1000); /* the writer still waits */
    fake_let_go(rig->fake);
    assert_true(submit(rig, "b", 30000, &result, &err));
    assert_int_equal(result.first_position, 1);
    rig_free(rig);
}

struct submitter {
    struct rig *rig;
    bool has_left; /* atomic */
    bool stored;
    struct append_result result;
    struct err err;
};

static void submit_shortly(void *arg)
{
    struct submitter *submitter = arg;

    submitter->stored = submit(submitter->rig, "short", 50, &submitter->result,
                               &submitter->err);
}

/* One of the batch is told that nobody knows, and is gone when the outcome is
 * settled for the other. */
static void
an_outcome_may_come_too_late_for_one_of_the_batch(void **state UNUSED)
{
    static const enum fake_end ends[] = {FAKE_LOST, FAKE_LOST_STORED,
                                         FAKE_LOST_LATE};

    for (size_t i = 0; i < COUNT(ends); i++) {
        struct rig *rig = rig_new(false);
        struct submitter submitter = {.rig = rig};
        size_t stored = ends[i] == FAKE_LOST ? 0 : 1;
        struct thread *thread;
        struct err err;

        lose_answer(rig, ends[i]);
        thread = thread_start("submitter", submit_shortly, &submitter, &err);
        assert_non_null(thread);
        fake_await_begin(rig->fake);
        post_to(rig, "long");
        go_away_at_commit(rig);
        thread_join(thread);
        assert_false(submitter.stored);
        assert_int_equal(submitter.err.code, ERR_STORE);
        assert_non_null(strstr(submitter.err.text, "not known"));
        assert_int_equal(rig->given, 0);
        fake_set(rig->fake, &rig->fake->begins_to_fail, 0);
        await_all(rig);
        assert_stored(&rig->answers[0], 1, stored + 1, stored + 1);
        assert_int_equal(rig->fake->log->count, stored + 1);
        rig_free(rig);
    }
}

static void too_many_waiting_are_refused(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct append_result result;
    struct err err;

    stop_within(rig, 10000);
    start(rig, 4);
    open_batch(rig);
    for (int i = 0; i < 4; i++)
        post_to(rig, "a");
    assert_false(submit(rig, "a", 1000, &result, &err));
    assert_int_equal(err.code, ERR_OVERLOADED);
    close_batch(rig);
    assert_true(submit(rig, "a", 30000, &result, &err));
    assert_int_equal(result.version, 5);
    rig_free(rig);
}

static void a_wait_for_the_store_is_no_stall(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    uint64_t begun_ms;

    open_batch(rig);
    post_to(rig, "a");
    fake_await_begin(rig->fake);
    begun_ms = clock_ms();
    while (clock_ms() - begun_ms < 5)
        ;
    assert_false(heartbeat_is_stalled(append_queue_heartbeat(rig->queue), 1));
    close_batch(rig);
    rig_free(rig);
}

/* ---- stop ---- */

static void a_stop_finishes_what_waits(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    rig->fake->begins_to_fail = 2;
    for (int i = 0; i < 40; i++)
        post_to(rig, "a");
    stop_within(rig, 10000);
    for (size_t i = 0; i < 40; i++)
        assert_false(rig->answers[i].failed);
    assert_int_equal(rig->fake->log->count, 40);
    rig_free(rig);
}

/* Whatever the store does, a stop ends at its deadline and answers all. */
static void a_stop_ends_whatever_the_store_does(void **state UNUSED)
{
    static const struct {
        int begins, lookups, commits;
        uint32_t ms;
    } trouble[] = {
        {-1, 0, 0, 150}, {0, -1, 0, 150}, {0, 0, -1, 150},
        {-1, 0, 0, 0},   {0, -1, 0, 0},   {0, 0, 0, 0},
    };

    for (size_t i = 0; i < COUNT(trouble); i++) {
        struct rig *rig = rig_new(false);
        uint64_t begun_ms = clock_ms();

        lock_take(&rig->fake->lock);
        rig->fake->begins_to_fail = trouble[i].begins;
        rig->fake->lookups_to_fail = trouble[i].lookups;
        rig->fake->commits_to_roll_back = trouble[i].commits;
        lock_give(&rig->fake->lock);
        for (int n = 0; n < 40; n++)
            post_to(rig, "a");
        stop_within(rig, trouble[i].ms);
        assert_true(clock_ms() - begun_ms < 1500);
        assert_int_equal(rig->given, 40);
        rig_free(rig);
    }
}

static void stop_at_once(void *arg)
{
    stop_within(arg, 0);
}

static void await_stopping(struct rig *rig)
{
    struct append_result result;
    struct err err = {0};

    while (err.code != ERR_SHUTTING_DOWN)
        assert_false(submit(rig, "late", 0, &result, &err));
}

static void what_waits_at_the_end_of_a_stop_is_refused(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct thread *thread;
    struct err err;

    open_batch(rig);
    for (int i = 0; i < 5; i++)
        post_to(rig, "a");
    fake_await_begin(rig->fake);
    thread = thread_start("stopper", stop_at_once, rig, &err);
    assert_non_null(thread);
    await_stopping(rig);
    fake_let_go(rig->fake);
    thread_join(thread);
    for (size_t i = 0; i < 5; i++)
        assert_error(&rig->answers[i], ERR_SHUTTING_DOWN);
    assert_int_equal(rig->fake->log->count, 0);
    rig_free(rig);
}

static void submit_in_passing(void *arg)
{
    struct submitter *submitter = arg;

    submitter->stored =
        submit(submitter->rig, "a", 20, &submitter->result, &submitter->err);
    __atomic_store_n(&submitter->has_left, true, __ATOMIC_RELEASE);
}

static size_t count_left(const struct submitter *submitters, size_t count)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++)
        left += __atomic_load_n(&submitters[i].has_left, __ATOMIC_ACQUIRE);
    return left;
}

/* Callers take their requests out by themselves just when the queue goes. */
static void a_stop_waits_for_callers_that_give_up(void **state UNUSED)
{
    for (int round = 0; round < 30; round++) {
        struct rig *rig = rig_new(false);
        struct submitter submitters[4];
        struct thread *threads[4];
        uint64_t begun_ms = clock_ms();
        struct err err;

        fake_set(rig->fake, &rig->fake->begins_to_fail, -1);
        for (size_t i = 0; i < COUNT(threads); i++) {
            submitters[i] = (struct submitter){.rig = rig};
            threads[i] = thread_start("submitter", submit_in_passing,
                                      &submitters[i], &err);
            assert_non_null(threads[i]);
        }
        while (append_queue_waiting(rig->queue) +
                   count_left(submitters, COUNT(threads)) <
               COUNT(threads))
            ;
        stop_within(rig, (uint32_t)(20 - MIN(clock_ms() - begun_ms, 20)));
        for (size_t i = 0; i < COUNT(threads); i++) {
            thread_join(threads[i]);
            assert_false(submitters[i].stored);
        }
        rig_free(rig);
    }
}

static void a_stop_does_not_wait_for_an_outcome_for_ever(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    lose_answer(rig, FAKE_LOST_LATE);
    post_to(rig, "a");
    go_away_at_commit(rig);
    post_to(rig, "b");
    stop_within(rig, 150);
    assert_error(&rig->answers[0], ERR_STORE);
    assert_non_null(strstr(rig->answers[0].err.text, "not known"));
    assert_error(&rig->answers[1], ERR_STORE);
    assert_non_null(strstr(rig->answers[1].err.text, "nothing was stored"));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_get_versions_and_contiguous_positions),
        cmocka_unit_test(the_largest_append_is_taken_whole),
        cmocka_unit_test(who_arrives_while_the_writer_queues_comes_along),
        cmocka_unit_test(a_batch_is_bounded_by_events),
        cmocka_unit_test(a_batch_of_answers_alone_commits_nothing),
        cmocka_unit_test(a_known_head_is_not_looked_up_again),
        cmocka_unit_test(the_same_append_twice_in_one_batch_is_answered_twice),
        cmocka_unit_test(
            the_same_append_in_a_batch_that_is_rolled_back_is_stored_once),
        cmocka_unit_test(what_others_append_is_seen_before_deciding),
        cmocka_unit_test(no_conflict_is_told_from_a_head_that_was_not_proven),
        cmocka_unit_test(a_log_that_lost_its_tail_is_gone_on_with),
        cmocka_unit_test(what_was_rolled_back_is_tried_again),
        cmocka_unit_test(
            a_large_batch_of_unknown_outcome_is_settled_by_its_ids),
        cmocka_unit_test(an_outcome_is_settled_once_the_store_is_back),
        cmocka_unit_test(one_event_in_its_place_does_not_prove_the_batch),
        cmocka_unit_test(others_may_append_before_an_outcome_is_settled),
        cmocka_unit_test(a_lookup_that_fails_while_settling_is_made_again),
        cmocka_unit_test(a_lookup_that_fails_leaves_no_guess_behind),
        cmocka_unit_test(a_cache_that_was_wrong_is_found_by_the_keys),
        cmocka_unit_test(keys_violated_for_ever_end_with_an_answer),
        cmocka_unit_test(an_id_that_was_not_looked_up_is_found_by_the_keys),
        cmocka_unit_test(violations_long_ago_do_not_count),
        cmocka_unit_test(refused_data_fails_alone),
        cmocka_unit_test(a_failure_leaves_no_hole_in_its_chain),
        cmocka_unit_test(refused_data_breaks_its_chain),
        cmocka_unit_test(a_store_that_is_away_for_a_while_is_waited_for),
        cmocka_unit_test(a_submit_is_told_when_its_time_is_over),
        cmocka_unit_test(what_comes_too_late_to_the_batch_is_not_stored),
        cmocka_unit_test(an_outcome_may_come_too_late_for_one_of_the_batch),
        cmocka_unit_test(too_many_waiting_are_refused),
        cmocka_unit_test(a_wait_for_the_store_is_no_stall),
        cmocka_unit_test(a_stop_finishes_what_waits),
        cmocka_unit_test(a_stop_ends_whatever_the_store_does),
        cmocka_unit_test(what_waits_at_the_end_of_a_stop_is_refused),
        cmocka_unit_test(a_stop_waits_for_callers_that_give_up),
        cmocka_unit_test(a_stop_does_not_wait_for_an_outcome_for_ever),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, 2); /* troubles are the topic */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
