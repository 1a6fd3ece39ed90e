#pragma once
/*
 * The queue over a store whose transactions end as the test says.  Requests
 * are posted, so that one thread can have many on their way; `answers` collects
 * what the writer says, in order of the requests.
 *
 * Included behind cmocka.h.
 */
#include "core/append_queue.h"
#include "unit/core/fake_store.h"

#define MAX_ANSWERS 64

struct answer {
    struct rig *rig;
    struct uuid first_id;
    bool given;
    bool failed;
    size_t turn; /* the how many-th answer it was */
    struct append_result result;
    struct err err;
};

struct rig {
    struct fake_store *fake;
    struct head *head;
    struct append_queue *queue;
    /* --- under lock --- */
    struct lock lock;
    struct signal answered;
    struct answer answers[MAX_ANSWERS];
    size_t asked;
    size_t given;
};

static inline void start(struct rig *rig, uint32_t max_waiting)
{
    struct append_options options = {
        .store = &rig->fake->base,
        .head = rig->head,
        .max_waiting = max_waiting,
    };
    struct err err;

    rig->queue = append_queue_start(&options, &err);
    assert_non_null(rig->queue);
}

/* `guesses`: over a store with guarded commits. */
static inline struct rig *rig_new(bool guesses)
{
    struct rig *rig = NEW(struct rig);

    rig->fake = fake_new(guesses);
    rig->head = head_new();
    lock_init(&rig->lock);
    signal_init(&rig->answered);
    start(rig, 1000);
    return rig;
}

/* A stop that hangs would hang the test: it has 10 s. */
static inline void stop_within(struct rig *rig, uint32_t ms)
{
    append_queue_stop(rig->queue, clock_us() + (uint64_t)ms * 1000);
    rig->queue = NULL;
}

/* Everybody has been answered once the queue has stopped. */
static inline void rig_free(struct rig *rig)
{
    if (rig->queue != NULL)
        stop_within(rig, 10000);
    assert_int_equal(rig->given, rig->asked);
    head_free(rig->head);
    fake_free(rig->fake);
    signal_done(&rig->answered);
    lock_done(&rig->lock);
    mem_free(rig);
}

static inline void take_answer(void *arg, const struct append_result *result,
                               const struct err *err)
{
    struct answer *answer = arg;
    struct rig *rig = answer->rig;

    lock_take(&rig->lock);
    CHECK(!answer->given);
    CHECK((result == NULL) == (err != NULL));
    answer->given = true;
    answer->failed = err != NULL;
    answer->turn = rig->given++;
    if (err != NULL)
        answer->err = *err;
    else
        answer->result = *result;
    signal_all(&rig->answered);
    lock_give(&rig->lock);
}

/* ---- requests ---- */

struct ask {
    const char *id;
    enum expect expect;
    uint64_t version;
    size_t count;     /* of events; 0 is 1 */
    struct uuid *ids; /* NULL: made, and not given */
    bool secret;      /* the ids are not said to be given */
    const char *type; /* of the events; NULL is "Happened" */
    int *chain;
    const char *key; /* its Idempotency-Key */
    uint8_t hash;    /* of the request with that key */
    bool nothing;    /* no events */
    uint64_t lineage;
    struct uuid last_id;
};

static inline struct append_request
request_of(const struct ask *ask, struct event *events, struct append_key *key)
{
    size_t count = ask->nothing ? 0 : MAX(ask->count, (size_t)1);

    for (size_t i = 0; i < count; i++)
        events[i] = (struct event){
            .event_id = ask->ids != NULL ? ask->ids[i] : uuid_new(),
            .event_type = str_of(ask->type != NULL ? ask->type : "Happened"),
            .event_version = 1,
            .data = STR("{\"n\":1}"),
            .metadata = STR("{}"),
            .occurred_at_us = 1,
        };
    *key = (struct append_key){
        .key = {STR(""), STR(""), str_of(ask->key != NULL ? ask->key : "")},
        .hash = {ask->hash},
    };
    return (struct append_request){
        .aggregate_type = STR("Thing"),
        .aggregate_id = str_of(ask->id),
        .expect = ask->expect,
        .expected_version = ask->version,
        .events = events,
        .count = count,
        .ids_given = ask->ids != NULL && !ask->secret,
        .chain = ask->chain,
        .key = ask->key != NULL ? key : NULL,
        .lineage = ask->lineage,
        .last_id = ask->last_id,
    };
}

static inline struct answer *post(struct rig *rig, struct ask ask)
{
    struct event events[APPEND_MAX_EVENTS];
    struct append_key key;
    struct append_request request = request_of(&ask, events, &key);
    struct answer *answer = &rig->answers[rig->asked++];
    struct err err;

    answer->rig = rig;
    answer->first_id = events[0].event_id;
    assert_true(append_post(rig->queue, &request, take_answer, answer, &err));
    memset(events, 'x', sizeof(events)); /* the queue has copies */
    memset(&key, 'x', sizeof(key));
    return answer;
}

static inline struct answer *post_to(struct rig *rig, const char *id)
{
    return post(rig, (struct ask){.id = id});
}

static inline void await_all(struct rig *rig)
{
    uint64_t deadline_us = clock_us() + 20000000;

    lock_take(&rig->lock);
    while (rig->given < rig->asked)
        if (!signal_wait_until(&rig->answered, &rig->lock, deadline_us))
            break;
    lock_give(&rig->lock);
    assert_int_equal(rig->given, rig->asked);
}

static inline void assert_stored(const struct answer *answer, uint64_t version,
                                 uint64_t first, uint64_t last)
{
    const struct event *event;

    assert_true(answer->given);
    if (answer->failed)
        fail_msg("%s", answer->err.text);
    assert_false(answer->result.idempotent);
    assert_int_equal(answer->result.version, version);
    assert_int_equal(answer->result.first_position, first);
    assert_int_equal(answer->result.last_position, last);
    event = &answer->rig->fake->log->events[first - 1];
    assert_true(uuid_eq(event->event_id, answer->first_id));
    assert_int_equal(event->aggregate_version, version - (last - first));
    assert_int_equal(answer->result.recorded_at_us, event->recorded_at_us);
}

static inline void assert_error(const struct answer *answer, enum err_code code)
{
    assert_true(answer->given);
    assert_true(answer->failed);
    assert_int_equal(answer->err.code, code);
}

/* Fills a batch: what is posted between these two is decided together. */
static inline void open_batch(struct rig *rig)
{
    fake_hold(rig->fake);
}

static inline void close_batch(struct rig *rig)
{
    fake_await_begin(rig->fake);
    fake_let_go(rig->fake);
    await_all(rig);
}

/* Waits until the writer has tried to begin `more` times. */
static inline void await_begins(struct rig *rig, size_t more)
{
    size_t until;

    lock_take(&rig->fake->lock);
    until = rig->fake->begins + more;
    while (rig->fake->begins < until) {
        lock_give(&rig->fake->lock);
        clock_us();
        lock_take(&rig->fake->lock);
    }
    lock_give(&rig->fake->lock);
}

/* Plans an uncertain end and keeps the store away behind it. */
static inline void lose_answer(struct rig *rig, enum fake_end end)
{
    fake_plan(rig->fake, end);
    open_batch(rig);
}

static inline void go_away_at_commit(struct rig *rig)
{
    fake_await_begin(rig->fake);
    fake_set(rig->fake, &rig->fake->begins_to_fail, -1);
    fake_let_go(rig->fake);
    await_begins(rig, 2);
}

/* ---- waiting for the answer ---- */

static inline bool submit(struct rig *rig, const char *id, uint32_t timeout_ms,
                          struct append_result *out, struct err *err)
{
    struct ask ask = {.id = id};
    struct event event;
    struct append_key key;
    struct append_request request = request_of(&ask, &event, &key);

    return append_submit(rig->queue, &request, timeout_ms, out, err);
}
