#include "base/mem.h"
#include "core/append_decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/*
 * A batch on the bench: jobs in a list, a page that stands for what the store
 * holds, and the questions answered from it as a store would.
 */

#define NOW 1700000000000000

struct bench {
    struct arena arena;
    struct stream_heads *heads;
    struct list jobs;
    struct event_page *stored;
    struct decision decision;
    struct append_lookup questions;
};

/* The id of a test's event number `n`. */
static struct uuid id_of(uint8_t n)
{
    return (struct uuid){.bytes = {0xe0, n, [15] = n}};
}

static void bench_init(struct bench *bench)
{
    *bench = (struct bench){
        .heads = stream_heads_new(),
        .stored = event_page_new(),
    };
    list_init(&bench->jobs);
}

static void jobs_free(struct bench *bench)
{
    list_each_safe (&bench->jobs, item, after) {
        struct append_job *job = LIST_ITEM(item, struct append_job, link);

        arena_done(&job->arena);
        mem_free(job);
    }
    list_init(&bench->jobs);
}

static void bench_done(struct bench *bench)
{
    jobs_free(bench);
    event_page_unref(bench->stored);
    stream_heads_free(bench->heads);
    arena_done(&bench->arena);
}

static struct event event_of(uint8_t n)
{
    return (struct event){
        .event_id = id_of(n),
        .event_type = STR("Happened"),
        .event_version = 1,
        .data = STR("{\"a\":1}"),
        .metadata = STR("{}"),
    };
}

/* The event `n` is in the store, at the end of Thing/`id`. */
static void store(struct bench *bench, const char *id, uint8_t n)
{
    struct event event = event_of(n);

    event.aggregate_type = STR("Thing");
    event.aggregate_id = str_of(id);
    event.position = bench->stored->count + 1;
    event.aggregate_version = 1;
    event.recorded_at_us = 1000 + (int64_t)event.position;
    for (size_t i = 0; i < bench->stored->count; i++)
        if (str_eq(bench->stored->events[i].aggregate_id, event.aggregate_id))
            event.aggregate_version++;
    event_page_add(bench->stored, &event);
}

/* One job for Thing/`id`; the numbers of its events end with a 0. */
static struct append_job *ask(struct bench *bench, const char *id,
                              enum expect expect, uint64_t version,
                              const uint8_t *numbers)
{
    struct append_job *job = NEW(struct append_job);
    struct append_request *request = &job->request;

    list_init(&job->link);
    while (numbers[request->count] != 0)
        request->count++;
    job->events = ARENA_ARRAY(&job->arena, struct event, request->count);
    for (size_t i = 0; i < request->count; i++) {
        job->events[i] = event_of(numbers[i]);
        job->events[i].aggregate_type = STR("Thing");
        job->events[i].aggregate_id = str_of(id);
    }
    request->aggregate_type = STR("Thing");
    request->aggregate_id = str_of(id);
    request->expect = expect;
    request->expected_version = version;
    request->events = job->events;
    request->ids_given = true;
    list_append(&bench->jobs, &job->link);
    return job;
}

#define NUMBERS(...) ((const uint8_t[]){__VA_ARGS__, 0})

static void answer_stream(const struct bench *bench,
                          struct append_stream *stream)
{
    const struct event_page *stored = bench->stored;

    for (size_t i = 0; i < stored->count; i++) {
        if (!str_eq(stored->events[i].aggregate_id, stream->aggregate_id))
            continue;
        if (stream->stream_id == 0)
            stream->stream_id = stored->events[i].position;
        stream->version = stored->events[i].aggregate_version;
    }
}

static bool is_asked(const struct append_lookup *questions, struct uuid id)
{
    for (size_t i = 0; i < questions->id_count; i++)
        if (uuid_eq(questions->ids[i], id))
            return true;
    return false;
}

static void answer_ids(struct bench *bench)
{
    struct event_page *found = event_page_new();

    for (size_t i = 0; i < bench->stored->count; i++)
        if (is_asked(&bench->questions, bench->stored->events[i].event_id))
            event_page_add(found, &bench->stored->events[i]);
    bench->questions.found = found;
}

static void decide(struct bench *bench)
{
    const struct event_page *stored = bench->stored;
    struct decision *decision = &bench->decision;

    *decision = (struct decision){
        .heads = bench->heads,
        .arena = &bench->arena,
        .head = {.position = stored->count},
        .now_us = NOW,
        .ask_every_id = decision->ask_every_id,
    };
    decide_questions(decision, &bench->jobs, &bench->questions);
    for (size_t i = 0; i < bench->questions.stream_count; i++)
        answer_stream(bench, &bench->questions.streams[i]);
    answer_ids(bench);
    decide_batch(decision, &bench->jobs, &bench->questions);
    event_page_unref(bench->questions.found);
}

#define BENCH                                                                  \
    struct bench bench_;                                                       \
    struct bench *bench = &bench_;                                             \
    bench_init(bench)

static void assert_decided(const struct append_job *job, uint64_t version,
                           uint64_t first, uint64_t last)
{
    assert_int_equal(job->state, JOB_DECIDED);
    assert_false(job->failed);
    assert_int_equal(job->result.version, version);
    assert_int_equal(job->result.first_position, first);
    assert_int_equal(job->result.last_position, last);
    assert_int_equal(job->result.recorded_at_us, NOW);
    assert_false(job->result.idempotent);
}

static void assert_failed(const struct append_job *job, enum err_code code,
                          const char *extra)
{
    assert_int_equal(job->state, JOB_ANSWERED);
    assert_true(job->failed);
    assert_int_equal(job->err.code, code);
    assert_string_equal(job->err.extra, extra);
}

/* ---- places ---- */

static void a_fresh_stream_begins_at_one_and_takes_its_first_place_as_id(
    void **state UNUSED)
{
    BENCH;
    struct append_job *job;

    store(bench, "other", 9);
    job = ask(bench, "a", EXPECT_NO_STREAM, 0, NUMBERS(1, 2, 3));
    decide(bench);
    assert_decided(job, 3, 2, 4);
    assert_int_equal(bench->decision.row_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct append_row *row = &bench->decision.rows[i];

        assert_int_equal(row->stream_id, 2);
        assert_int_equal(row->event->position, 2 + i);
        assert_int_equal(row->event->aggregate_version, 1 + i);
        assert_int_equal(row->event->recorded_at_us, NOW);
    }
    assert_int_equal(bench->decision.last.position, 4);
    assert_true(uuid_eq(bench->decision.last.event_id, id_of(3)));
    bench_done(bench);
}

static void neighbours_see_what_was_decided_before_them(void **state UNUSED)
{
    BENCH;
    struct append_job *jobs[5];

    store(bench, "a", 1);
    jobs[0] = ask(bench, "a", EXPECT_VERSION, 1, NUMBERS(2));
    jobs[1] = ask(bench, "b", EXPECT_NO_STREAM, 0, NUMBERS(3));
    jobs[2] = ask(bench, "a", EXPECT_VERSION, 1, NUMBERS(4));
    jobs[3] = ask(bench, "a", EXPECT_VERSION, 2, NUMBERS(5));
    jobs[4] = ask(bench, "b", EXPECT_NO_STREAM, 0, NUMBERS(6));
    decide(bench);
    assert_decided(jobs[0], 2, 2, 2);
    assert_decided(jobs[1], 1, 3, 3);
    assert_failed(jobs[2], ERR_VERSION_CONFLICT,
                  "\"expected_version\":1,\"actual_version\":2");
    assert_decided(jobs[3], 3, 4, 4);
    assert_failed(jobs[4], ERR_VERSION_CONFLICT,
                  "\"expected_version\":\"no_stream\",\"actual_version\":1");
    assert_int_equal(bench->decision.row_count, 3);
    assert_int_equal(bench->decision.last.position, 4);
    bench_done(bench);
}

static void
each_expectation_holds_or_is_named_in_the_conflict(void **state UNUSED)
{
    static const struct {
        const char *id; /* "old" has two events, "new" none */
        enum expect expect;
        uint64_t version;
        const char *extra; /* NULL: it holds */
    } cases[] = {
        {"new", EXPECT_ANY, 0, NULL},
        {"new", EXPECT_NO_STREAM, 0, NULL},
        {"new", EXPECT_VERSION, 0, NULL},
        {"new", EXPECT_STREAM_EXISTS, 0,
         "\"expected_version\":\"stream_exists\",\"actual_version\":0"},
        {"new", EXPECT_VERSION, 1,
         "\"expected_version\":1,\"actual_version\":0"},
        {"old", EXPECT_ANY, 0, NULL},
        {"old", EXPECT_STREAM_EXISTS, 0, NULL},
        {"old", EXPECT_VERSION, 2, NULL},
        {"old", EXPECT_NO_STREAM, 0,
         "\"expected_version\":\"no_stream\",\"actual_version\":2"},
        {"old", EXPECT_VERSION, 0,
         "\"expected_version\":0,\"actual_version\":2"},
        {"old", EXPECT_VERSION, UINT64_MAX,
         "\"expected_version\":18446744073709551615,\"actual_version\":2"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        BENCH;
        struct append_job *job;

        store(bench, "old", 8);
        store(bench, "old", 9);
        job = ask(bench, cases[i].id, cases[i].expect, cases[i].version,
                  NUMBERS(1));
        decide(bench);
        if (cases[i].extra == NULL)
            assert_decided(job, cases[i].id[0] == 'o' ? 3 : 1, 3, 3);
        else
            assert_failed(job, ERR_VERSION_CONFLICT, cases[i].extra);
        bench_done(bench);
    }
}

/* ---- what is asked ---- */

static void
only_given_ids_and_unknown_streams_are_asked_for(void **state UNUSED)
{
    BENCH;
    struct append_job *made;

    stream_heads_put(bench->heads, STR("Thing"), STR("known"), 1, 1);
    ask(bench, "known", EXPECT_ANY, 0, NUMBERS(1, 2));
    made = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(3, 4));
    made->request.ids_given = false;
    ask(bench, "a", EXPECT_ANY, 0, NUMBERS(5));
    decide(bench);
    assert_int_equal(bench->questions.stream_count, 1);
    assert_string_equal(bench->questions.streams[0].aggregate_id.ptr, "a");
    assert_int_equal(bench->questions.id_count, 3);

    bench->decision.ask_every_id = true;
    decide(bench);
    assert_int_equal(bench->questions.id_count, 5);
    bench_done(bench);
}

/* ---- ids ---- */

static void an_id_twice_in_one_request_is_a_duplicate(void **state UNUSED)
{
    BENCH;
    struct append_job *job = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1, 2, 1));

    decide(bench);
    assert_failed(job, ERR_DUPLICATE_EVENT,
                  "\"event_id\":\"e0010000-0000-0000-0000-000000000001\"");
    assert_int_equal(bench->decision.row_count, 0);
    bench_done(bench);
}

/* C-ES-09: nothing of the request is stored, its new events included. */
static void
an_id_stored_elsewhere_is_a_duplicate_with_its_place(void **state UNUSED)
{
    BENCH;
    struct append_job *job;

    store(bench, "x", 7);
    store(bench, "elsewhere", 8);
    store(bench, "elsewhere", 1);
    job = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(2, 1));
    decide(bench);
    assert_failed(job, ERR_DUPLICATE_EVENT,
                  "\"event_id\":\"e0010000-0000-0000-0000-000000000001\","
                  "\"position\":3,\"aggregate_version\":2");
    assert_int_equal(bench->decision.row_count, 0);
    bench_done(bench);
}

/* Thing/a holds 1 2 3 4, with an event of Thing/b between 2 and 3. */
static void store_history(struct bench *bench)
{
    store(bench, "a", 1);
    store(bench, "a", 2);
    store(bench, "b", 50);
    store(bench, "a", 3);
    store(bench, "a", 4);
}

static void
repetitions_get_the_first_answer_whatever_they_expect(void **state UNUSED)
{
    static const struct {
        const uint8_t numbers[6];
        uint64_t version, first, last;
    } cases[] = {
        {{1}, 1, 1, 1},          {{1, 2}, 2, 1, 2}, {{2, 3}, 3, 2, 4},
        {{1, 2, 3, 4}, 4, 1, 5}, {{4}, 4, 5, 5},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        BENCH;
        struct append_job *job;

        store_history(bench);
        job = ask(bench, "a", EXPECT_NO_STREAM, 0, cases[i].numbers);
        decide(bench);
        assert_int_equal(job->state, JOB_ANSWERED);
        assert_false(job->failed);
        assert_true(job->result.idempotent);
        assert_int_equal(job->result.version, cases[i].version);
        assert_int_equal(job->result.first_position, cases[i].first);
        assert_int_equal(job->result.last_position, cases[i].last);
        assert_int_equal(job->result.recorded_at_us, 1000 + cases[i].first);
        assert_int_equal(bench->decision.row_count, 0);
        bench_done(bench);
    }
}

static void anything_but_the_same_append_is_a_duplicate(void **state UNUSED)
{
    static const struct {
        const char *id;
        const uint8_t numbers[6];
    } cases[] = {
        {"a", {2, 1}},          /* another order */
        {"a", {1, 3}},          /* a hole */
        {"a", {1, 2, 3, 4, 5}}, /* one more than there is */
        {"a", {5, 1}},          /* one new before */
        {"a", {1, 5, 2}},
        {"a", {2, 50}}, /* of two streams */
        {"b", {1, 2}},  /* of another stream */
        {"c", {50}},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        BENCH;
        struct append_job *job;

        store_history(bench);
        job = ask(bench, cases[i].id, EXPECT_ANY, 0, cases[i].numbers);
        decide(bench);
        assert_int_equal(job->state, JOB_ANSWERED);
        assert_true(job->failed);
        assert_int_equal(job->err.code, ERR_DUPLICATE_EVENT);
        assert_non_null(strstr(job->err.extra, "\"position\":"));
        assert_int_equal(bench->decision.row_count, 0);
        bench_done(bench);
    }
}

static void other_content_under_the_same_ids_is_a_duplicate(void **state UNUSED)
{
    for (int change = 0; change < 5; change++) {
        BENCH;
        struct append_job *job;
        struct event *second;

        store_history(bench);
        job = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1, 2));
        second = &job->events[1];
        switch (change) {
        case 0:
            second->data = STR("{\"a\":2}");
            break;
        case 1:
            second->metadata = STR("{\"m\":1}");
            break;
        case 2:
            second->event_type = STR("Else");
            break;
        case 3:
            second->event_version = 2;
            break;
        case 4: /* the producer's clock is no content */
            second->occurred_at_us = 5;
            break;
        }
        decide(bench);
        assert_int_equal(job->state, JOB_ANSWERED);
        assert_int_equal(job->failed, change != 4);
        bench_done(bench);
    }
}

static void an_id_in_a_row_of_the_batch_puts_the_job_off(void **state UNUSED)
{
    BENCH;
    struct append_job *first = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1, 2));
    struct append_job *again = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1, 2));
    struct append_job *half = ask(bench, "b", EXPECT_ANY, 0, NUMBERS(3, 2));
    struct append_job *last = ask(bench, "b", EXPECT_ANY, 0, NUMBERS(3));

    decide(bench);
    assert_decided(first, 2, 1, 2);
    assert_int_equal(again->state, JOB_PUT_OFF);
    assert_int_equal(half->state, JOB_PUT_OFF);
    assert_decided(last, 1, 3, 3);
    assert_int_equal(bench->decision.row_count, 3);
    bench_done(bench);
}

/* A neighbour that did not get rows is no reason to wait for the next batch. */
static void an_id_of_a_job_that_conflicts_is_free(void **state UNUSED)
{
    BENCH;
    struct append_job *first = ask(bench, "a", EXPECT_VERSION, 7, NUMBERS(1));
    struct append_job *again = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1));

    decide(bench);
    assert_true(first->failed);
    assert_decided(again, 1, 1, 1);
    bench_done(bench);
}

static void a_job_is_decided_anew_in_its_next_batch(void **state UNUSED)
{
    BENCH;
    struct append_job *ahead = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1));
    struct append_job *job = ask(bench, "a", EXPECT_NO_STREAM, 0, NUMBERS(2));

    decide(bench);
    assert_true(job->failed);
    /* That batch was rolled back, and the one ahead is gone. */
    stream_heads_forget(bench->heads);
    list_remove(&ahead->link);
    decide(bench);
    assert_decided(job, 1, 1, 1);
    list_append(&bench->jobs, &ahead->link);
    bench_done(bench);
}

/* ---- chains ---- */

static void
behind_a_failure_its_chain_fails_and_others_go_on(void **state UNUSED)
{
    BENCH;
    int chain = 0, other = 0;
    struct append_job *jobs[] = {
        ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1)),
        ask(bench, "a", EXPECT_NO_STREAM, 0, NUMBERS(2)),
        ask(bench, "b", EXPECT_ANY, 0, NUMBERS(3)),
        ask(bench, "b", EXPECT_ANY, 0, NUMBERS(4)),
        ask(bench, "c", EXPECT_ANY, 0, NUMBERS(5)),
    };

    jobs[0]->request.chain = &chain;
    jobs[1]->request.chain = &chain;
    jobs[2]->request.chain = &other;
    jobs[3]->request.chain = &chain;
    decide(bench);
    assert_decided(jobs[0], 1, 1, 1);
    assert_true(jobs[1]->failed);
    assert_decided(jobs[2], 1, 2, 2);
    assert_failed(jobs[3], ERR_CONFLICT, "");
    assert_decided(jobs[4], 1, 3, 3);
    assert_int_equal(chain, 0); /* nothing is final yet */
    bench_done(bench);
}

static void behind_a_job_put_off_its_chain_is_put_off(void **state UNUSED)
{
    BENCH;
    int chain = 0;
    struct append_job *jobs[] = {
        ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1)),
        ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1)),
        ask(bench, "b", EXPECT_ANY, 0, NUMBERS(2)),
        ask(bench, "b", EXPECT_ANY, 0, NUMBERS(3)),
    };

    jobs[1]->request.chain = &chain;
    jobs[2]->request.chain = &chain;
    decide(bench);
    assert_decided(jobs[0], 1, 1, 1);
    assert_int_equal(jobs[1]->state, JOB_PUT_OFF);
    assert_int_equal(jobs[2]->state, JOB_PUT_OFF);
    assert_decided(jobs[3], 1, 2, 2);
    bench_done(bench);
}

static void
a_broken_chain_takes_nothing_until_it_is_cleared(void **state UNUSED)
{
    BENCH;
    int chain = 1;
    struct append_job *job = ask(bench, "a", EXPECT_ANY, 0, NUMBERS(1));

    job->request.chain = &chain;
    decide(bench);
    assert_failed(job, ERR_CONFLICT, "");
    chain = 0;
    decide(bench);
    assert_decided(job, 1, 1, 1);
    bench_done(bench);
}

static void an_empty_batch_decides_nothing(void **state UNUSED)
{
    BENCH;

    decide(bench);
    assert_int_equal(bench->decision.row_count, 0);
    assert_int_equal(bench->questions.stream_count, 0);
    bench_done(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_fresh_stream_begins_at_one_and_takes_its_first_place_as_id),
        cmocka_unit_test(neighbours_see_what_was_decided_before_them),
        cmocka_unit_test(each_expectation_holds_or_is_named_in_the_conflict),
        cmocka_unit_test(only_given_ids_and_unknown_streams_are_asked_for),
        cmocka_unit_test(an_id_twice_in_one_request_is_a_duplicate),
        cmocka_unit_test(an_id_stored_elsewhere_is_a_duplicate_with_its_place),
        cmocka_unit_test(repetitions_get_the_first_answer_whatever_they_expect),
        cmocka_unit_test(anything_but_the_same_append_is_a_duplicate),
        cmocka_unit_test(other_content_under_the_same_ids_is_a_duplicate),
        cmocka_unit_test(an_id_in_a_row_of_the_batch_puts_the_job_off),
        cmocka_unit_test(an_id_of_a_job_that_conflicts_is_free),
        cmocka_unit_test(a_job_is_decided_anew_in_its_next_batch),
        cmocka_unit_test(behind_a_failure_its_chain_fails_and_others_go_on),
        cmocka_unit_test(behind_a_job_put_off_its_chain_is_put_off),
        cmocka_unit_test(a_broken_chain_takes_nothing_until_it_is_cleared),
        cmocka_unit_test(an_empty_batch_decides_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
