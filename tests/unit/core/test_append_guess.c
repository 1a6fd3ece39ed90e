#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/append_writer.h"
#include "unit/core/append_rig.h"

/* Guessed batches, keys, the log's lineage, and what is told of trouble. */

static struct answer *last_answer(struct rig *rig)
{
    return &rig->answers[rig->asked - 1];
}

/* Posts and waits. */
static struct answer *append(struct rig *rig, struct ask ask)
{
    struct answer *answer = post(rig, ask);

    await_all(rig);
    return answer;
}

static struct answer *append_to(struct rig *rig, const char *id)
{
    return append(rig, (struct ask){.id = id});
}

/* A queue that guesses: "q" is at version 2, and so is the log. */
static struct rig *guessing_rig(void)
{
    struct rig *rig = rig_new(true);

    append_to(rig, "q");
    append_to(rig, "q");
    assert_int_equal(rig->fake->guessed, 0);
    assert_int_equal(rig->fake->begins, 2);
    return rig;
}

/* What is posted behind this is one guess, the second: the first is held. */
static void open_guess(struct rig *rig)
{
    fake_hold(rig->fake);
    post_to(rig, "q");
    fake_await_begin(rig->fake);
}

static void close_guess(struct rig *rig)
{
    fake_let_go(rig->fake);
    await_all(rig);
}

static void assert_repeated(const struct answer *answer,
                            const struct answer *first)
{
    assert_true(answer->given);
    if (answer->failed)
        fail_msg("%s", answer->err.text);
    assert_true(answer->result.idempotent);
    assert_int_equal(answer->result.version, first->result.version);
    assert_int_equal(answer->result.count, first->result.count);
    assert_int_equal(answer->result.first_position,
                     first->result.first_position);
    assert_int_equal(answer->result.last_position, first->result.last_position);
}

/* ---- guesses ---- */

static void two_batches_without_foreign_events_make_a_guess(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    assert_stored(append_to(rig, "q"), 3, 3, 3);
    assert_stored(append_to(rig, "new"), 1, 4, 4);
    assert_int_equal(rig->fake->guessed, 2);
    assert_int_equal(rig->fake->begins, 2);
    assert_int_equal(last_answer(rig)->result.recorded_at_us, FAKE_GUESS_US);
    assert_int_equal(head_position(rig->head), 4);
    rig_free(rig);
}

static void a_foreign_event_ends_guessing_for_two_batches(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    rig->fake->sneak_event = "q";
    assert_stored(append_to(rig, "q"), 4, 4, 4);
    assert_int_equal(rig->fake->guessed, 1);
    assert_int_equal(rig->fake->begins, 3);
    append_to(rig, "q");
    append_to(rig, "q");
    assert_int_equal(rig->fake->guessed, 1);
    assert_int_equal(rig->fake->begins, 5);
    append_to(rig, "q");
    assert_int_equal(rig->fake->guessed, 2);
    assert_stored(last_answer(rig), 7, 7, 7);
    rig_free(rig);
}

static void
a_guess_that_was_wrong_is_decided_again_under_the_lock(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    append_to(rig, "a"); /* version 1, and known */
    rig->fake->sneak_event = "a";
    rig->fake->sneak_at = 3;
    open_guess(rig);
    post(rig, (struct ask){.id = "a", .expect = EXPECT_VERSION, .version = 1});
    post(rig, (struct ask){.id = "a", .expect = EXPECT_VERSION, .version = 2});
    post(rig, (struct ask){.id = "b", .expect = EXPECT_NO_STREAM});
    post(rig, (struct ask){.id = "b", .expect = EXPECT_NO_STREAM});
    close_guess(rig);
    assert_int_equal(rig->fake->guessed, 3);
    assert_int_equal(rig->fake->begins, 3);
    assert_error(&rig->answers[4], ERR_VERSION_CONFLICT);
    assert_non_null(strstr(rig->answers[4].err.extra, "\"actual_version\":2"));
    assert_stored(&rig->answers[5], 3, 6, 6);
    assert_stored(&rig->answers[6], 1, 7, 7);
    assert_error(&rig->answers[7], ERR_VERSION_CONFLICT);
    rig_free(rig);
}

static void conflicts_of_a_guess_are_answered_when_it_hit(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    open_guess(rig);
    post(rig, (struct ask){.id = "q", .expect = EXPECT_NO_STREAM});
    post_to(rig, "a");
    close_guess(rig);
    assert_error(&rig->answers[3], ERR_VERSION_CONFLICT);
    assert_non_null(strstr(rig->answers[3].err.extra, "\"actual_version\":3"));
    assert_stored(&rig->answers[4], 1, 4, 4);
    assert_int_equal(rig->fake->guessed, 2);
    assert_int_equal(rig->fake->begins, 2);
    rig_free(rig);
}

/* There is nothing that a guard could be put on. */
static void a_batch_without_rows_goes_under_the_lock(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    append(rig, (struct ask){.id = "q", .expect = EXPECT_NO_STREAM});
    assert_error(last_answer(rig), ERR_VERSION_CONFLICT);
    append(rig, (struct ask){.id = "q", .key = "k", .nothing = true});
    assert_false(last_answer(rig)->failed);
    assert_int_equal(rig->fake->guessed, 0);
    assert_int_equal(rig->fake->begins, 4);
    rig_free(rig);
}

static void a_conflict_is_no_conflict_when_others_appended(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    fake_foreign(rig->fake, "q", uuid_new());
    append(rig,
           (struct ask){.id = "q", .expect = EXPECT_VERSION, .version = 3});
    assert_stored(last_answer(rig), 4, 4, 4);
    rig_free(rig);
}

static void a_guess_that_cannot_look_goes_under_the_lock(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    rig->fake->lookups_to_fail = 1;
    assert_stored(append_to(rig, "new"), 1, 3, 3);
    assert_int_equal(rig->fake->guessed, 0);
    assert_int_equal(rig->fake->begins, 3);
    rig_free(rig);
}

static void
a_guess_may_end_as_it_likes_and_its_time_is_the_stores(void **state UNUSED)
{
    static const enum fake_end ends[] = {FAKE_COMMIT,      FAKE_ROLLED_BACK,
                                         FAKE_STALE,       FAKE_LOST,
                                         FAKE_LOST_STORED, FAKE_LOST_LATE};

    for (size_t i = 0; i < COUNT(ends); i++) {
        for (int cut = 0; cut < 2; cut++) {
            struct rig *rig = guessing_rig();

            fake_plan(rig->fake, FAKE_COMMIT);
            fake_plan(rig->fake, ends[i]);
            rig->fake->cut = cut != 0;
            open_guess(rig);
            post(rig, (struct ask){.id = "q", .count = 2});
            post(rig, (struct ask){.id = "b", .expect = EXPECT_NO_STREAM});
            post(rig, (struct ask){.id = "b", .expect = EXPECT_NO_STREAM});
            close_guess(rig);
            assert_stored(&rig->answers[3], 5, 4, 5);
            assert_stored(&rig->answers[4], 1, 6, 6);
            assert_error(&rig->answers[5], ERR_VERSION_CONFLICT);
            assert_int_equal(rig->fake->log->count, 6);
            rig_free(rig);
        }
    }
}

static void refused_data_of_a_guess_fails_alone(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    open_guess(rig);
    post_to(rig, "a");
    post(rig, (struct ask){.id = "b", .type = "Poison", .key = "k"});
    post(rig, (struct ask){.id = "b", .expect = EXPECT_NO_STREAM});
    close_guess(rig);
    assert_stored(&rig->answers[3], 1, 4, 4);
    assert_error(&rig->answers[4], ERR_DATA);
    assert_stored(&rig->answers[5], 1, 5, 5);
    assert_int_equal(rig->fake->marks.count, 0);
    rig_free(rig);
}

/* ---- keys ---- */

static void a_key_stands_for_its_first_answer(void **state UNUSED)
{
    for (int guesses = 0; guesses < 2; guesses++) {
        struct rig *rig = guesses != 0 ? guessing_rig() : rig_new(false);
        uint64_t at = rig->asked + 1;
        struct ask ask = {
            .id = "a", .expect = EXPECT_NO_STREAM, .count = 3, .key = "k"};
        struct answer *first = append(rig, ask);

        assert_stored(first, 3, at, at + 2);
        append_to(rig, "a");
        assert_repeated(append(rig, ask), first);
        ask.id = "other"; /* whatever it says now */
        assert_repeated(append(rig, ask), first);
        assert_int_equal(rig->fake->log->count, at + 3);
        assert_int_equal(rig->fake->marks.count, 1);
        rig_free(rig);
    }
}

static void a_key_of_another_request_is_refused(void **state UNUSED)
{
    struct rig *rig = rig_new(false);

    append(rig, (struct ask){.id = "a", .key = "k", .hash = 1});
    append(rig, (struct ask){.id = "a", .key = "k", .hash = 2});
    assert_error(last_answer(rig), ERR_IDEMPOTENCY);
    assert_int_equal(rig->fake->log->count, 1);
    rig_free(rig);
}

static void twins_of_one_batch_are_stored_once(void **state UNUSED)
{
    for (int guesses = 0; guesses < 2; guesses++) {
        struct rig *rig = guessing_rig();
        struct ask ask = {.id = "a", .expect = EXPECT_NO_STREAM, .key = "k"};
        struct ask other = {.id = "a", .key = "k", .hash = 9};

        if (guesses == 0)
            rig->fake->sneak_event = "z"; /* back under the lock */
        open_guess(rig);
        post(rig, ask);
        post(rig, ask);
        post(rig, other);
        post(rig, ask);
        close_guess(rig);
        assert_false(rig->answers[3].failed);
        assert_false(rig->answers[3].result.idempotent);
        assert_repeated(&rig->answers[4], &rig->answers[3]);
        assert_error(&rig->answers[5], ERR_IDEMPOTENCY);
        assert_repeated(&rig->answers[6], &rig->answers[3]);
        assert_int_equal(rig->fake->marks.count, 1);
        rig_free(rig);
    }
}

/* The first of two with a key is no answer for the second while it may still
 * be rolled back. */
static void a_twin_outlives_the_end_of_its_batch(void **state UNUSED)
{
    static const enum fake_end ends[] = {FAKE_ROLLED_BACK, FAKE_STALE,
                                         FAKE_LOST, FAKE_LOST_STORED,
                                         FAKE_LOST_LATE};

    for (size_t i = 0; i < COUNT(ends); i++) {
        struct rig *rig = guessing_rig();
        struct ask ask = {.id = "a", .count = 2, .key = "k"};

        fake_plan(rig->fake, FAKE_COMMIT);
        fake_plan(rig->fake, ends[i]);
        open_guess(rig);
        post(rig, ask);
        post(rig, ask);
        close_guess(rig);
        assert_stored(&rig->answers[3], 2, 4, 5);
        assert_repeated(&rig->answers[4], &rig->answers[3]);
        rig_free(rig);
    }
}

static void a_request_that_stores_nothing_is_remembered(void **state UNUSED)
{
    static const enum fake_end ends[] = {FAKE_COMMIT,      FAKE_ROLLED_BACK,
                                         FAKE_STALE,       FAKE_LOST,
                                         FAKE_LOST_STORED, FAKE_LOST_LATE};

    for (size_t i = 0; i < COUNT(ends); i++) {
        struct rig *rig = guessing_rig();
        struct ask ask = {.id = "q",
                          .expect = EXPECT_VERSION,
                          .version = 2,
                          .key = "k",
                          .nothing = true};
        struct answer *first;

        fake_plan(rig->fake, ends[i]);
        first = append(rig, ask);
        assert_false(first->failed);
        assert_int_equal(first->result.version, 2);
        assert_int_equal(first->result.count, 0);
        assert_int_equal(first->result.first_position, 0);
        append_to(rig, "q");
        assert_repeated(append(rig, ask), first);
        assert_int_equal(rig->fake->log->count, 3);
        assert_int_equal(rig->fake->marks.count, 1);
        rig_free(rig);
    }
}

static void a_request_that_failed_leaves_no_key(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct ask ask = {.id = "a", .expect = EXPECT_STREAM_EXISTS, .key = "k"};

    open_batch(rig);
    post(rig, ask);
    post_to(rig, "b");
    close_batch(rig);
    assert_error(&rig->answers[0], ERR_VERSION_CONFLICT);
    assert_int_equal(rig->fake->marks.count, 0);
    append_to(rig, "a");
    assert_stored(append(rig, ask), 2, 3, 3);
    assert_int_equal(rig->fake->marks.count, 1);
    rig_free(rig);
}

static void events_that_are_stored_already_leave_no_key(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct uuid ids[] = {uuid_new(), uuid_new()};
    struct ask ask = {.id = "a", .ids = ids, .count = 2};
    struct answer *first = append(rig, ask);

    ask.key = "k";
    assert_repeated(append(rig, ask), first);
    assert_int_equal(rig->fake->marks.count, 0);
    ask.ids = NULL;
    ask.hash = 1;
    assert_stored(append(rig, ask), 4, 3, 4);
    rig_free(rig);
}

/* A request without events moves no head: the guard does not see it, the keys
 * do. */
static void a_key_that_others_used_meanwhile_is_found(void **state UNUSED)
{
    struct rig *rig = guessing_rig();
    struct answer *answer;

    rig->fake->sneak_key = "k";
    answer = append(rig, (struct ask){.id = "q", .key = "k"});
    assert_false(answer->failed);
    assert_true(answer->result.idempotent);
    assert_int_equal(answer->result.count, 0);
    assert_int_equal(rig->fake->log->count, 2);
    rig_free(rig);
}

/* What shows may be gone tomorrow, when its commit waits for a standby. */
static void
a_repetition_is_told_behind_a_commit_that_proves_it(void **state UNUSED)
{
    static const enum fake_end ends[] = {FAKE_COMMIT, FAKE_ROLLED_BACK,
                                         FAKE_LOST};

    for (size_t i = 0; i < COUNT(ends); i++) {
        struct rig *rig = rig_new(false);
        struct uuid id = uuid_new();
        struct ask ask = {.id = "a", .ids = &id};
        struct answer *first = append(rig, ask);

        fake_plan(rig->fake, ends[i]);
        assert_repeated(append(rig, ask), first);
        assert_int_equal(rig->fake->proofs, ends[i] == FAKE_COMMIT ? 1 : 2);
        rig_free(rig);
    }
}

/* ---- lineage ---- */

static void drop_tail(struct rig *rig, size_t count)
{
    lock_take(&rig->fake->lock);
    fake_drop_tail(rig->fake, count);
    lock_give(&rig->fake->lock);
}

static void what_was_decided_on_a_lost_tail_conflicts(void **state UNUSED)
{
    for (int again = 0; again < 2; again++) {
        struct rig *rig = guessing_rig();
        struct ask ask = {.id = "q", .expect = EXPECT_VERSION, .version = 2};

        assert_int_equal(append_lineage(rig->queue), 1);
        drop_tail(rig, 1);
        if (again != 0) /* another event, in the same place */
            fake_foreign(rig->fake, "q", uuid_new());
        ask.version = 1 + (uint64_t)again;
        ask.lineage = append_lineage(rig->queue);
        assert_error(append(rig, ask), ERR_VERSION_CONFLICT);
        assert_int_equal(append_lineage(rig->queue), 2);
        assert_error(append(rig, ask), ERR_VERSION_CONFLICT);
        ask.lineage = append_lineage(rig->queue);
        assert_false(append(rig, ask)->failed);
        ask.version++;
        ask.lineage = 0; /* decided on no state */
        assert_false(append(rig, ask)->failed);
        assert_int_equal(append_lineage(rig->queue), 2);
        rig_free(rig);
    }
}

/* Of an event that another engine had stored: this one's own place in the log
 * was before it, and is as it was. */
static void
what_was_decided_on_a_lost_event_of_others_conflicts(void **state UNUSED)
{
    for (int guesses = 0; guesses < 2; guesses++) {
        struct rig *rig = guesses ? guessing_rig() : rig_new(false);
        struct ask ask = {
            .id = "new", .expect = EXPECT_VERSION, .version = 1, .lineage = 1};
        struct uuid there = uuid_new();

        ask.last_id = uuid_new(); /* as it was, in the lost tail */
        fake_foreign(rig->fake, "new", there);
        assert_error(append(rig, ask), ERR_VERSION_CONFLICT);
        assert_int_equal(append_lineage(rig->queue), 2);
        ask.lineage = 2;
        ask.last_id = there;
        ask.version = 2; /* no longer the end: nothing is proved by it */
        assert_error(append(rig, ask), ERR_VERSION_CONFLICT);
        ask.version = 1;
        ask.last_id = uuid_new();
        assert_error(append(rig, ask), ERR_VERSION_CONFLICT);
        assert_int_equal(append_lineage(rig->queue), 3);
        ask.lineage = 3;
        ask.last_id = there;
        assert_false(append(rig, ask)->failed);
        ask.version = 2;
        ask.last_id = rig->answers[rig->asked - 1].first_id;
        assert_false(append(rig, ask)->failed);
        assert_int_equal(append_lineage(rig->queue), 3);
        rig_free(rig);
    }
}

static void what_others_append_is_no_other_lineage(void **state UNUSED)
{
    struct rig *rig = guessing_rig();

    for (size_t i = 0; i <= APPEND_DELTA_MAX; i++)
        fake_foreign(rig->fake, "z", uuid_new());
    append_to(rig, "q"); /* a delta that is cut */
    assert_int_equal(append_lineage(rig->queue), 1);
    rig_free(rig);
}

/* ---- trouble ---- */

static void await_trouble(struct rig *rig, char *text, size_t size)
{
    while (append_trouble(rig->queue, text, size) == 0)
        ;
}

static void trouble_is_told_until_something_is_stored(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    char text[200];

    assert_int_equal(append_trouble(rig->queue, text, sizeof(text)), 0);
    fake_set(rig->fake, &rig->fake->begins_to_fail, -1);
    post_to(rig, "a");
    await_trouble(rig, text, sizeof(text));
    assert_non_null(strstr(text, "the fake store is away"));
    fake_set(rig->fake, &rig->fake->begins_to_fail, 0);
    await_all(rig);
    assert_int_equal(append_trouble(rig->queue, text, sizeof(text)), 0);
    rig_free(rig);
}

/* As if the last failure were long ago. */
static void age_trouble(struct rig *rig, uint64_t by_ms)
{
    lock_take(&rig->queue->lock);
    rig->queue->trouble_ms -= by_ms;
    rig->queue->trouble_end_ms -= by_ms;
    lock_give(&rig->queue->lock);
}

static void trouble_that_nobody_sees_is_forgotten(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct append_result result;
    char text[200];
    struct err err;

    fake_set(rig->fake, &rig->fake->begins_to_fail, -1);
    do /* until the writer has tried for one of them */
        assert_false(submit(rig, "a", 1, &result, &err));
    while (append_trouble(rig->queue, text, sizeof(text)) == 0);
    age_trouble(rig, 9000);
    assert_true(append_trouble(rig->queue, text, sizeof(text)) > 9000);
    age_trouble(rig, 1000);
    assert_int_equal(append_trouble(rig->queue, text, sizeof(text)), 0);
    post_to(rig, "a"); /* trouble that is new */
    await_trouble(rig, text, sizeof(text));
    assert_true(append_trouble(rig->queue, text, sizeof(text)) < 9000);
    fake_set(rig->fake, &rig->fake->begins_to_fail, 0);
    await_all(rig);
    rig_free(rig);
}

static void who_waits_is_told_why_when_time_is_over(void **state UNUSED)
{
    struct rig *rig = rig_new(false);
    struct append_result result;
    uint64_t begun_ms;
    char text[200];
    struct err err;

    fake_set(rig->fake, &rig->fake->begins_to_fail, 1);
    fake_hold(rig->fake);
    post_to(rig, "a");
    await_trouble(rig, text, sizeof(text));
    fake_await_begin(rig->fake); /* and now the store does not answer */
    begun_ms = clock_ms();
    assert_false(submit(rig, "b", 50, &result, &err));
    assert_true(clock_ms() - begun_ms < 1500);
    assert_int_equal(err.code, ERR_STORE);
    assert_non_null(strstr(err.text, "nothing was stored"));
    assert_non_null(strstr(err.text, "the fake store is away"));
    assert_int_equal(append_queue_waiting(rig->queue), 1);
    fake_let_go(rig->fake);
    await_all(rig);
    assert_stored(&rig->answers[0], 1, 1, 1);
    assert_int_equal(rig->fake->log->count, 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_batches_without_foreign_events_make_a_guess),
        cmocka_unit_test(a_foreign_event_ends_guessing_for_two_batches),
        cmocka_unit_test(
            a_guess_that_was_wrong_is_decided_again_under_the_lock),
        cmocka_unit_test(conflicts_of_a_guess_are_answered_when_it_hit),
        cmocka_unit_test(a_batch_without_rows_goes_under_the_lock),
        cmocka_unit_test(a_conflict_is_no_conflict_when_others_appended),
        cmocka_unit_test(a_guess_that_cannot_look_goes_under_the_lock),
        cmocka_unit_test(
            a_guess_may_end_as_it_likes_and_its_time_is_the_stores),
        cmocka_unit_test(refused_data_of_a_guess_fails_alone),
        cmocka_unit_test(a_key_stands_for_its_first_answer),
        cmocka_unit_test(a_key_of_another_request_is_refused),
        cmocka_unit_test(twins_of_one_batch_are_stored_once),
        cmocka_unit_test(a_twin_outlives_the_end_of_its_batch),
        cmocka_unit_test(a_request_that_stores_nothing_is_remembered),
        cmocka_unit_test(a_request_that_failed_leaves_no_key),
        cmocka_unit_test(events_that_are_stored_already_leave_no_key),
        cmocka_unit_test(a_key_that_others_used_meanwhile_is_found),
        cmocka_unit_test(a_repetition_is_told_behind_a_commit_that_proves_it),
        cmocka_unit_test(what_was_decided_on_a_lost_tail_conflicts),
        cmocka_unit_test(what_was_decided_on_a_lost_event_of_others_conflicts),
        cmocka_unit_test(what_others_append_is_no_other_lineage),
        cmocka_unit_test(trouble_is_told_until_something_is_stored),
        cmocka_unit_test(trouble_that_nobody_sees_is_forgotten),
        cmocka_unit_test(who_waits_is_told_why_when_time_is_over),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, 2); /* troubles are the topic */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
