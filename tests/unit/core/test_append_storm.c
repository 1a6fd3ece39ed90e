#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/core/append_rig.h"

/*
 * Everything at once: two instances on one log whose transactions end in every
 * way, guesses too, and producers that repeat themselves at any instance until
 * somebody knows.  Against a model: what was acknowledged is where it was said
 * to be, once; a key and an event id have their first answer for ever; who
 * writes alone never meets a conflict.
 */

#define PRODUCERS 12
#define QUEUES    2
#define ROUNDS    60
#define SHARED    5
#define EVENTS    3 /* of an append */

struct storm {
    struct fake_store *fake;
    struct head *heads[QUEUES];
    struct append_queue *queues[QUEUES];
};

enum kind { KIND_PLAIN, KIND_IDS, KIND_KEY, KIND_KEY_ONLY };

struct attempt {
    enum kind kind;
    bool is_own;
    char id[32];
    char key[32];
    char data[32];
    struct uuid ids[EVENTS];
    struct ask ask;
};

struct acknowledged {
    char data[32];
    struct append_result result;
};

struct producer {
    struct storm *storm;
    size_t number;
    unsigned seed;
    uint64_t own; /* version of its own stream */
    size_t stored;
    struct acknowledged answers[ROUNDS];
};

static unsigned roll(struct producer *producer, unsigned sides)
{
    return (unsigned)rand_r(&producer->seed) % sides;
}

static void expect_something(struct producer *producer, struct attempt *attempt)
{
    static const enum expect expects[] = {EXPECT_ANY, EXPECT_NO_STREAM,
                                          EXPECT_STREAM_EXISTS, EXPECT_VERSION};

    attempt->is_own = roll(producer, 3) == 0;
    if (attempt->is_own) {
        (void)snprintf(attempt->id, sizeof(attempt->id), "own-%zu",
                       producer->number);
        attempt->ask.expect = EXPECT_VERSION;
        attempt->ask.version = producer->own;
    } else {
        (void)snprintf(attempt->id, sizeof(attempt->id), "shared-%u",
                       roll(producer, SHARED));
        attempt->ask.expect = expects[roll(producer, COUNT(expects))];
        attempt->ask.version = EVENTS * (uint64_t)roll(producer, 4);
    }
}

static void prepare(struct producer *producer, size_t round,
                    struct attempt *attempt)
{
    *attempt = (struct attempt){.kind = (enum kind)roll(producer, 4)};
    (void)snprintf(attempt->data, sizeof(attempt->data), "{\"n\":\"%zu-%zu\"}",
                   producer->number, round);
    (void)snprintf(attempt->key, sizeof(attempt->key), "%zu-%zu",
                   producer->number, round);
    for (size_t i = 0; i < EVENTS; i++)
        attempt->ids[i] = uuid_new();
    expect_something(producer, attempt);
    attempt->ask.id = attempt->id;
    attempt->ask.count = EVENTS;
    if (attempt->kind == KIND_IDS)
        attempt->ask.ids = attempt->ids;
    if (attempt->kind == KIND_KEY || attempt->kind == KIND_KEY_ONLY)
        attempt->ask.key = attempt->key;
    attempt->ask.nothing = attempt->kind == KIND_KEY_ONLY;
}

static bool send_to(struct producer *producer, const struct attempt *attempt,
                    uint32_t timeout_ms, struct append_result *out,
                    struct err *err)
{
    struct event events[EVENTS];
    struct append_key key;
    struct append_request request = request_of(&attempt->ask, events, &key);

    for (size_t i = 0; i < request.count; i++)
        events[i].data = str_of(attempt->data);
    return append_submit(producer->storm->queues[roll(producer, QUEUES)],
                         &request, timeout_ms, out, err);
}

/* Again and again, anywhere, until somebody knows. */
static bool insist(struct producer *producer, const struct attempt *attempt,
                   struct append_result *out, struct err *err)
{
    bool may_repeat = attempt->kind != KIND_PLAIN;

    do {
        uint32_t timeout_ms =
            may_repeat && roll(producer, 3) == 0 ? roll(producer, 4) : 60000;

        if (send_to(producer, attempt, timeout_ms, out, err))
            return true;
    } while (may_repeat && err->code == ERR_STORE);
    return false;
}

static void check_repeated(struct producer *producer,
                           const struct attempt *attempt,
                           const struct append_result *first)
{
    struct append_result again;
    struct err err;
    bool is_answered = insist(producer, attempt, &again, &err);

    CHECK(is_answered);
    CHECK(again.idempotent);
    CHECK(again.version == first->version && again.count == first->count);
    CHECK(again.first_position == first->first_position);
    CHECK(again.last_position == first->last_position);
}

static void check_key_is_taken(struct producer *producer,
                               struct attempt *attempt)
{
    struct append_result result;
    struct err err;

    attempt->ask.hash = 1;
    CHECK(!insist(producer, attempt, &result, &err));
    CHECK(err.code == ERR_IDEMPOTENCY);
}

static void note(struct producer *producer, const struct attempt *attempt,
                 const struct append_result *result)
{
    struct acknowledged *stored = &producer->answers[producer->stored];

    CHECK(!result->idempotent || attempt->kind != KIND_PLAIN);
    CHECK(result->count == (attempt->ask.nothing ? 0 : EVENTS));
    if (attempt->is_own) {
        producer->own += result->count;
        CHECK(result->version == producer->own);
    }
    if (result->count == 0)
        return;
    memcpy(stored->data, attempt->data, sizeof(stored->data));
    stored->result = *result;
    producer->stored++;
}

static void play_round(struct producer *producer, size_t round)
{
    struct append_result result;
    struct attempt attempt;
    struct err err;

    prepare(producer, round, &attempt);
    if (!insist(producer, &attempt, &result, &err)) {
        CHECK(err.code == ERR_VERSION_CONFLICT);
        CHECK(!attempt.is_own && attempt.ask.expect != EXPECT_ANY);
        return;
    }
    note(producer, &attempt, &result);
    if (attempt.kind == KIND_PLAIN)
        return;
    if (roll(producer, 2) == 0)
        check_repeated(producer, &attempt, &result);
    if (attempt.ask.key != NULL && roll(producer, 4) == 0)
        check_key_is_taken(producer, &attempt);
}

static void produce(void *arg)
{
    struct producer *producer = arg;

    for (size_t round = 0; round < ROUNDS; round++)
        play_round(producer, round);
}

/* ---- the model ---- */

static void check_log(const struct event_page *log)
{
    for (size_t i = 0; i < log->count; i++) {
        const struct event *event = &log->events[i];
        uint64_t before = 0;

        assert_int_equal(event->position, i + 1);
        for (size_t p = i; p > 0 && before == 0; p--)
            if (str_eq(log->events[p - 1].aggregate_id, event->aggregate_id))
                before = log->events[p - 1].aggregate_version;
        assert_int_equal(event->aggregate_version, before + 1);
    }
}

static void check_producer(const struct producer *producer)
{
    const struct event_page *log = producer->storm->fake->log;

    for (size_t i = 0; i < producer->stored; i++) {
        const struct acknowledged *stored = &producer->answers[i];
        const struct append_result *result = &stored->result;

        assert_int_equal(result->last_position,
                         result->first_position + EVENTS - 1);
        assert_true(result->last_position <= log->count);
        for (size_t e = 0; e < EVENTS; e++) {
            const struct event *event =
                &log->events[result->first_position - 1 + e];

            assert_true(str_eq(event->data, str_of(stored->data)));
            assert_int_equal(event->aggregate_version,
                             result->version - EVENTS + 1 + e);
        }
    }
}

static void storm_begin(struct storm *storm, bool guesses, unsigned seed)
{
    struct err err;

    *storm = (struct storm){.fake = fake_new(guesses)};
    storm->fake->chaos = seed;
    for (size_t i = 0; i < QUEUES; i++) {
        storm->heads[i] = head_new();
        storm->queues[i] = append_queue_start(
            &(struct append_options){&storm->fake->base, storm->heads[i], 1000},
            &err);
        assert_non_null(storm->queues[i]);
    }
}

static void storm_end(struct storm *storm)
{
    for (size_t i = 0; i < QUEUES; i++) {
        append_queue_stop(storm->queues[i], clock_us() + 10000000);
        head_free(storm->heads[i]);
    }
}

static void run_storm(bool guesses, unsigned seed)
{
    struct producer *producers = NEW_ARRAY(struct producer, PRODUCERS);
    struct thread *threads[PRODUCERS];
    struct storm storm;
    struct err err;
    size_t stored = 0;

    storm_begin(&storm, guesses, seed);
    for (size_t i = 0; i < PRODUCERS; i++) {
        producers[i].storm = &storm;
        producers[i].number = i;
        producers[i].seed = seed + (unsigned)i;
        threads[i] = thread_start("producer", produce, &producers[i], &err);
        assert_non_null(threads[i]);
    }
    for (size_t i = 0; i < PRODUCERS; i++)
        thread_join(threads[i]);
    storm_end(&storm);
    check_log(storm.fake->log);
    for (size_t i = 0; i < PRODUCERS; i++) {
        check_producer(&producers[i]);
        stored += producers[i].stored;
    }
    assert_int_equal(storm.fake->log->count, stored * EVENTS);
    assert_true(stored > PRODUCERS * ROUNDS / 4);
    assert_true(!guesses || storm.fake->guessed > 0);
    fake_free(storm.fake);
    mem_free(producers);
}

static void
two_instances_and_every_mishap_lose_and_double_nothing(void **state UNUSED)
{
    run_storm(false, 4711);
}

static void likewise_when_they_guess(void **state UNUSED)
{
    run_storm(true, 815);
    run_storm(true, 1234567);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            two_instances_and_every_mishap_lose_and_double_nothing),
        cmocka_unit_test(likewise_when_they_guess),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, 2); /* troubles are the topic */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
