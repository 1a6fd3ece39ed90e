#include "core/append_queue.h"

/*
 * Life of the data.  A job is made by its caller and stands in `waiting` until
 * the writer has the log's lock; then it moves to `batch`, is decided, and is
 * answered when the batch has committed, or goes back to the front of
 * `waiting` when the transaction did not.  Rows, questions and deltas live in
 * the batch's arena, which is reset when the batch is over.  Rows point into
 * their jobs: whoever needs them after the first answer copies them.
 *
 * Every way back to `waiting` either is bounded (stale, split) or looks for
 * jobs whose time is over and pauses, so a store that begins but never commits
 * neither spins nor keeps anybody waiting, and a stop ends.
 *
 * Threads.  `waiting`, `stopping` and the counts are any thread's under `lock`;
 * everything below the ruler is the writer's alone.  `done` is called without
 * the lock.
 */

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "core/append_decide.h"
#include "run/fault.h"

/* A batch is closed at the first of these. */
#define BATCH_MAX_JOBS   1024
#define BATCH_MAX_EVENTS 5000
#define BATCH_MAX_BYTES  (8u << 20)

#define RETRY_FIRST_MS 20
#define RETRY_MAX_MS   1000
/* Unique violations in a row before the batch is given up: the first is a
 * cache that was wrong, a second would be ours. */
#define STALE_MAX 3

struct append_queue {
    /* --- set before start, then read only --- */
    struct store *store; /* borrowed: closed after us */
    struct head *head;   /* borrowed likewise */
    size_t max_waiting;
    struct thread *thread;
    struct heartbeat beat; /* atomic inside */

    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal work;
    struct list waiting;
    size_t count; /* waiting, and in the writer's hands */
    bool stopping;
    uint64_t stop_us; /* give up what could not be stored by then */

    /* --- writer thread --- */
    struct store_writer *writer;
    struct stream_heads *heads;
    struct log_place known; /* the head as we last saw it committed */
    struct arena arena;
    struct list batch;
    uint32_t stale_count;
    bool ask_every_id;
    uint32_t retry_ms; /* the next pause; grows until a batch is answered */
    struct log_throttle throttle;
};

/* ---- jobs ---- */

static void copy_event(struct arena *arena, struct event *to,
                       const struct event *from)
{
    *to = *from;
    to->event_type = arena_str(arena, from->event_type);
    to->data = arena_str(arena, from->data);
    to->metadata = arena_str(arena, from->metadata);
    to->tenant_id = arena_str(arena, from->tenant_id);
    to->actor_id = arena_str(arena, from->actor_id);
    to->correlation_id = arena_str(arena, from->correlation_id);
    to->causation_id = arena_str(arena, from->causation_id);
}

static struct append_job *job_new(const struct append_request *request)
{
    struct append_job *job = NEW(struct append_job);
    struct append_request *own = &job->request;

    list_init(&job->link);
    *own = *request;
    own->aggregate_type = arena_str(&job->arena, request->aggregate_type);
    own->aggregate_id = arena_str(&job->arena, request->aggregate_id);
    job->events = ARENA_ARRAY(&job->arena, struct event, request->count);
    for (size_t i = 0; i < request->count; i++) {
        copy_event(&job->arena, &job->events[i], &request->events[i]);
        job->events[i].aggregate_type = own->aggregate_type;
        job->events[i].aggregate_id = own->aggregate_id;
    }
    own->events = job->events;
    job->bytes = job->arena.used;
    job->posted_us = clock_us();
    return job;
}

static void job_free(struct append_job *job)
{
    arena_done(&job->arena);
    mem_free(job);
}

static void forget_job(struct append_queue *queue)
{
    lock_take(&queue->lock);
    queue->count--;
    lock_give(&queue->lock);
}

static void answer(struct append_queue *queue, struct append_job *job)
{
    double seconds = (double)(clock_us() - job->posted_us) / 1e6;

    list_remove(&job->link);
    forget_job(queue);
    metric_observe(metric(METRIC_APPEND_DURATION), seconds);
    if (job->failed && job->request.chain != NULL)
        __atomic_store_n(job->request.chain, 1, __ATOMIC_RELEASE);
    job->done(job->arg, job->failed ? NULL : &job->result,
              job->failed ? &job->err : NULL);
    job_free(job);
}

static void fail(struct append_queue *queue, struct append_job *job,
                 const struct err *err)
{
    job->failed = true;
    job->err = *err;
    answer(queue, job);
}

static void fail_all(struct append_queue *queue, struct list *jobs,
                     const struct err *err)
{
    while (!list_is_empty(jobs))
        fail(queue, LIST_ITEM(jobs->next, struct append_job, link), err);
}

/* ---- the batch ---- */

/* Back to the front of the queue, in their order. */
static void put_back(struct append_queue *queue)
{
    lock_take(&queue->lock);
    while (!list_is_empty(&queue->batch)) {
        struct list *last = queue->batch.prev;

        list_remove(last);
        LIST_ITEM(last, struct append_job, link)->state = JOB_WAITING;
        list_prepend(&queue->waiting, last);
    }
    lock_give(&queue->lock);
}

/* Answers what nobody waits for any more: an append that happens after its
 * caller was told to give up helps no one. */
static void fail_overdue(struct append_queue *queue, struct list *jobs,
                         bool is_past_stop)
{
    struct err err;

    if (is_past_stop)
        err_set(&err, ERR_SHUTTING_DOWN,
                "the engine is shutting down; nothing was stored");
    else
        err_set(&err, ERR_STORE, "not in time; nothing was stored");
    fail_all(queue, jobs, &err);
}

/* How much of a batch is full. */
struct fill {
    size_t jobs;
    size_t events;
    size_t bytes;
};

static bool has_room(const struct fill *fill, const struct append_job *job)
{
    return fill->jobs == 0 ||
           (!job->alone && fill->jobs < BATCH_MAX_JOBS &&
            fill->events + job->request.count <= BATCH_MAX_EVENTS &&
            fill->bytes + job->bytes <= BATCH_MAX_BYTES);
}

static void take_into_batch(struct append_queue *queue, struct fill *fill,
                            struct append_job *job)
{
    list_remove(&job->link);
    list_append(&queue->batch, &job->link);
    fill->jobs++;
    fill->events += job->request.count;
    fill->bytes += job->bytes;
}

/* Everything that waits now, as far as a batch goes. */
static void close_batch(struct append_queue *queue)
{
    uint64_t now_us = clock_us();
    struct fill fill = {0};
    bool is_past_stop;
    struct list overdue;

    list_init(&overdue);
    lock_take(&queue->lock);
    is_past_stop = queue->stopping && now_us > queue->stop_us;
    list_each_safe (&queue->waiting, item, after) {
        struct append_job *job = LIST_ITEM(item, struct append_job, link);

        if (is_past_stop || job->deadline_us <= now_us) {
            list_remove(item);
            list_append(&overdue, item);
            continue;
        }
        if (!has_room(&fill, job))
            break;
        take_into_batch(queue, &fill, job);
        if (job->alone)
            break;
    }
    lock_give(&queue->lock);
    fail_overdue(queue, &overdue, is_past_stop);
}

/* What others appended: their streams moved, and so did the head. */
static void note_delta(struct append_queue *queue,
                       const struct append_delta *delta)
{
    if (delta->cut)
        stream_heads_forget(queue->heads);
    for (size_t i = 0; i < delta->count; i++) {
        const struct append_moved *moved = &delta->moved[i];

        stream_heads_put(queue->heads, moved->aggregate_type,
                         moved->aggregate_id, moved->stream_id,
                         moved->aggregate_version);
    }
    queue->known = delta->head;
    head_move(queue->head, delta->head.position);
}

static bool begin(struct append_queue *queue, struct append_delta *delta,
                  struct err *err)
{
    bool begun;

    heartbeat_wait(&queue->beat);
    begun = store_append_begin(queue->writer, queue->known, &queue->arena,
                               delta, err);
    heartbeat_resume(&queue->beat);
    return begun;
}

static bool lookup(struct append_queue *queue, struct append_lookup *questions,
                   struct err *err)
{
    bool found = true;

    if (questions->stream_count == 0 && questions->id_count == 0)
        return true;
    heartbeat_wait(&queue->beat);
    found = store_append_lookup(queue->writer, questions, err);
    heartbeat_resume(&queue->beat);
    return found;
}

static bool decide(struct append_queue *queue, int64_t now_us,
                   struct decision *decision, struct err *err)
{
    struct append_lookup questions;

    *decision = (struct decision){
        .heads = queue->heads,
        .arena = &queue->arena,
        .head = queue->known,
        .now_us = now_us,
        .ask_every_id = queue->ask_every_id,
    };
    decide_questions(decision, &queue->batch, &questions);
    if (!lookup(queue, &questions, err)) {
        stream_heads_forget(queue->heads); /* placeholders are in it */
        return false;
    }
    decide_batch(decision, &queue->batch, &questions);
    event_page_unref(questions.found);
    return true;
}

static enum append_end commit(struct append_queue *queue,
                              const struct decision *decision, struct err *err)
{
    struct append_batch rows = {
        .rows = decision->rows,
        .count = decision->row_count,
    };
    enum append_end end;

    FAULT_KILL("append.before_commit");
    heartbeat_wait(&queue->beat);
    end = store_append_commit(queue->writer, &rows, err);
    heartbeat_resume(&queue->beat);
    FAULT_KILL("append.after_commit");
    if (end == APPEND_COMMITTED && FAULT("append.lose_answer"))
        end = APPEND_UNCERTAIN;
    return end;
}

static void answer_batch(struct append_queue *queue,
                         const struct decision *decision)
{
    struct list put_off;
    size_t jobs = 0;

    queue->retry_ms = RETRY_FIRST_MS;
    queue->known = decision->last;
    head_move(queue->head, queue->known.position);
    metric_add(metric(METRIC_EVENTS_APPENDED), decision->row_count);

    list_init(&put_off);
    while (!list_is_empty(&queue->batch)) {
        struct append_job *job =
            LIST_ITEM(queue->batch.next, struct append_job, link);

        if (job->state == JOB_PUT_OFF) {
            list_remove(&job->link);
            list_append(&put_off, &job->link);
            continue;
        }
        answer(queue, job);
        jobs++;
    }
    metric_observe(metric(METRIC_APPEND_BATCH), (double)jobs);

    while (!list_is_empty(&put_off)) {
        struct list *item = put_off.next;

        list_remove(item);
        list_append(&queue->batch, item);
    }
    put_back(queue);
}

/* ---- when it does not go well ---- */

static bool is_stopping(struct append_queue *queue, uint64_t *stop_us_out)
{
    bool stopping;

    lock_take(&queue->lock);
    stopping = queue->stopping;
    *stop_us_out = queue->stop_us;
    lock_give(&queue->lock);
    return stopping;
}

/* Answers those whose time is over; all of them past the stop's deadline. */
static void fail_late(struct append_queue *queue, struct list *jobs,
                      const struct err *err)
{
    uint64_t now_us = clock_us();
    uint64_t stop_us;
    bool all = is_stopping(queue, &stop_us) && now_us > stop_us;
    struct list late;

    list_init(&late);
    lock_take(&queue->lock);
    list_each_safe (jobs, item, after) {
        if (!all &&
            LIST_ITEM(item, struct append_job, link)->deadline_us > now_us)
            continue;
        list_remove(item);
        list_append(&late, item);
    }
    lock_give(&queue->lock);
    fail_all(queue, &late, err);
}

static void note_trouble(struct append_queue *queue, const char *what,
                         const struct err *err)
{
    uint64_t held;

    if (log_may(&queue->throttle, 10000, &held))
        log_warning("append", what, LOG_ERR(err), LOG_U64("held_back", held));
}

/* Sleeps a little longer each time, never past the stop's deadline. */
static void pause_writing(struct append_queue *queue)
{
    uint64_t until_us = clock_us() + (uint64_t)queue->retry_ms * 1000;
    bool time_left = true;

    heartbeat_wait(&queue->beat);
    lock_take(&queue->lock);
    while (time_left) {
        if (queue->stopping)
            until_us = MIN(until_us, queue->stop_us);
        time_left = signal_wait_until(&queue->work, &queue->lock, until_us);
    }
    lock_give(&queue->lock);
    heartbeat_resume(&queue->beat);
    queue->retry_ms = MIN(queue->retry_ms * 2, RETRY_MAX_MS);
}

/* The store is in trouble and nothing of what waits was stored: tells those
 * whose time is over, then gives the store a little. */
static void wait_out_trouble(struct append_queue *queue, const char *what,
                             struct err *err)
{
    note_trouble(queue, what, err);
    (void)err_wrap(err, "nothing was stored");
    fail_late(queue, &queue->waiting, err);
    pause_writing(queue);
}

static bool has_work(struct append_queue *queue)
{
    bool work;

    lock_take(&queue->lock);
    work = !list_is_empty(&queue->waiting);
    lock_give(&queue->lock);
    return work;
}

/* Begins until it succeeds.  False: nobody is left to do it for. */
static bool begin_patiently(struct append_queue *queue,
                            struct append_delta *delta)
{
    struct err err;

    while (!begin(queue, delta, &err)) {
        store_append_abort(queue->writer);
        wait_out_trouble(queue, "the store does not take appends; waiting",
                         &err);
        if (!has_work(queue))
            return false;
    }
    return true;
}

/* Nothing of the batch was stored: it comes again, after a pause. */
static void try_again_later(struct append_queue *queue, const char *what,
                            struct err *err)
{
    put_back(queue);
    wait_out_trouble(queue, what, err);
}

/* What a COMMIT would have left in the log, in the batch's arena: some of its
 * jobs may be gone before it is known. */
struct lost_rows {
    uint64_t first_position;
    struct uuid *ids;
    size_t count;
};

static struct lost_rows lost_rows(struct append_queue *queue,
                                  const struct decision *decision)
{
    struct lost_rows lost = {
        .first_position = decision->rows[0].event->position,
        .ids = ARENA_ARRAY(&queue->arena, struct uuid, decision->row_count),
        .count = decision->row_count,
    };

    for (size_t i = 0; i < lost.count; i++)
        lost.ids[i] = decision->rows[i].event->event_id;
    return lost;
}

/* All of them, in their places.  One would not do: its producer may have sent
 * it to another instance meanwhile, which stored it at the same position. */
static bool is_in_delta(const struct lost_rows *lost,
                        const struct append_delta *delta)
{
    size_t matches = 0;

    for (size_t i = 0; i < delta->count; i++) {
        uint64_t at = delta->moved[i].position - lost->first_position;

        if (delta->moved[i].position >= lost->first_position &&
            at < lost->count &&
            uuid_eq(delta->moved[i].event_id, lost->ids[at]))
            matches++;
    }
    return matches == lost->count;
}

static bool is_in_page(const struct lost_rows *lost,
                       const struct event_page *page)
{
    if (page == NULL || page->count != lost->count)
        return false;
    for (size_t i = 0; i < lost->count; i++)
        if (page->events[i].position != lost->first_position + i ||
            !uuid_eq(page->events[i].event_id, lost->ids[i]))
            return false;
    return true;
}

/* Were the rows of a lost COMMIT stored?  The transaction that asks holds the
 * lock, so the old one is over. */
static bool is_stored(struct append_queue *queue,
                      const struct append_delta *delta,
                      const struct lost_rows *lost, bool *stored_out,
                      struct err *err)
{
    struct append_lookup ask = {.ids = lost->ids, .id_count = lost->count};

    if (!delta->cut) {
        *stored_out = is_in_delta(lost, delta);
        return true;
    }
    if (!lookup(queue, &ask, err))
        return false;
    *stored_out = is_in_page(lost, ask.found);
    event_page_unref(ask.found);
    return true;
}

/* While an outcome is unknown: those of the batch may have been stored, those
 * that wait were not. */
static void wait_for_outcome(struct append_queue *queue, struct err *err)
{
    struct err unknown;

    (void)err_set(&unknown, ERR_STORE,
                  "the outcome is not known; the same event ids tell it later");
    fail_late(queue, &queue->batch, &unknown);
    wait_out_trouble(queue, "the outcome of a commit is not known yet", err);
}

/* After a COMMIT whose answer was lost: waits the old transaction out, then
 * answers or puts the jobs back.  Once nobody waits for the
 * answer there is nothing to settle: the next begin finds what is there, as it
 * finds what others appended behind it. */
static void settle(struct append_queue *queue, const struct decision *decision)
{
    struct lost_rows lost = lost_rows(queue, decision);
    struct append_delta delta;
    struct err err;
    bool stored = false;

    while (!begin(queue, &delta, &err) ||
           !is_stored(queue, &delta, &lost, &stored, &err)) {
        store_append_abort(queue->writer);
        wait_for_outcome(queue, &err);
        if (list_is_empty(&queue->batch))
            return;
    }
    store_append_abort(queue->writer);
    if (stored) {
        log_info("append", "a commit whose answer was lost had succeeded",
                 LOG_U64("position", decision->last.position));
        answer_batch(queue, decision);
    } else {
        put_back(queue);
    }
}

/* Data that the store does not take: when one job alone had rows it is the one
 * at fault, else each of them comes again alone. */
static void refuse_or_split(struct append_queue *queue, const struct err *err)
{
    struct append_job *decided = NULL;
    size_t count = 0;

    list_each (&queue->batch, item) {
        struct append_job *job = LIST_ITEM(item, struct append_job, link);

        if (job->state != JOB_DECIDED)
            continue;
        job->alone = true;
        decided = job;
        count++;
    }
    if (count == 1)
        fail(queue, decided, err);
    put_back(queue);
}

static void again_stale(struct append_queue *queue, struct err *err)
{
    queue->ask_every_id = true;
    if (++queue->stale_count < STALE_MAX) {
        put_back(queue);
        return;
    }
    queue->stale_count = 0;
    (void)err_wrap(err, "the log's keys were violated %d times", STALE_MAX);
    log_error("append", "appends violate the log's keys", LOG_ERR(err));
    refuse_or_split(queue, err);
}

static void end_batch(struct append_queue *queue, enum append_end end,
                      const struct decision *decision, struct err *err)
{
    if (end != APPEND_COMMITTED)
        stream_heads_forget(queue->heads);
    switch (end) {
    case APPEND_COMMITTED:
        queue->stale_count = 0;
        queue->ask_every_id = false;
        answer_batch(queue, decision);
        break;
    case APPEND_STALE:
        again_stale(queue, err);
        break;
    case APPEND_REFUSED:
        refuse_or_split(queue, err);
        break;
    case APPEND_MOVED:
    case APPEND_ROLLED_BACK:
        try_again_later(queue, "a batch of appends was rolled back", err);
        break;
    case APPEND_UNCERTAIN:
        settle(queue, decision);
        break;
    }
}

/*
 * One group commit: begin, close, look up, decide, commit, answer.  A batch
 * that cannot be decided or committed is put back; nothing of it was stored.
 */
static void run_batch(struct append_queue *queue)
{
    struct append_delta delta;
    struct decision decision;
    struct err err = {0};

    if (!begin_patiently(queue, &delta))
        return;
    note_delta(queue, &delta);
    close_batch(queue);
    if (!decide(queue, delta.now_us, &decision, &err)) {
        store_append_abort(queue->writer);
        try_again_later(queue, "a batch of appends was not decided", &err);
        return;
    }
    if (decision.row_count == 0) { /* answers only: the lock proved the heads */
        store_append_abort(queue->writer);
        answer_batch(queue, &decision);
        return;
    }
    end_batch(queue, commit(queue, &decision, &err), &decision, &err);
}

static bool wait_for_work(struct append_queue *queue)
{
    bool work;

    heartbeat_wait(&queue->beat);
    lock_take(&queue->lock);
    while (list_is_empty(&queue->waiting) && !queue->stopping)
        signal_wait(&queue->work, &queue->lock);
    work = !list_is_empty(&queue->waiting);
    lock_give(&queue->lock);
    heartbeat_resume(&queue->beat);
    return work;
}

static void writer_main(void *arg)
{
    struct append_queue *queue = arg;

    on_writer_thread();
    while (wait_for_work(queue)) {
        run_batch(queue);
        arena_reset(&queue->arena);
        stream_heads_trim(queue->heads);
    }
}

/* ---- callers ---- */

/* Shared by a caller that may lose its patience and the writer that may
 * answer later: whoever lets go last frees it. */
struct waiter {
    struct lock lock;
    struct signal answered;
    bool is_answered;
    bool is_abandoned;
    bool failed;
    struct append_result result;
    struct err err;
};

static void waiter_free(struct waiter *waiter)
{
    signal_done(&waiter->answered);
    lock_done(&waiter->lock);
    mem_free(waiter);
}

static void waiter_done(void *arg, const struct append_result *result,
                        const struct err *err)
{
    struct waiter *waiter = arg;
    bool abandoned;

    lock_take(&waiter->lock);
    waiter->failed = err != NULL;
    if (err != NULL)
        waiter->err = *err;
    else
        waiter->result = *result;
    waiter->is_answered = true;
    abandoned = waiter->is_abandoned;
    signal_one(&waiter->answered);
    lock_give(&waiter->lock);
    if (abandoned)
        waiter_free(waiter);
}

static bool post(struct append_queue *queue,
                 const struct append_request *request, uint32_t timeout_ms,
                 void (*done)(void *, const struct append_result *,
                              const struct err *),
                 void *arg, struct err *err)
{
    struct append_job *job;
    bool taken = false;

    CHECK(request->count > 0 && request->count <= APPEND_MAX_EVENTS);
    job = job_new(request);
    job->deadline_us = job->posted_us + (uint64_t)timeout_ms * 1000;
    job->done = done;
    job->arg = arg;

    lock_take(&queue->lock);
    if (queue->stopping)
        err_set(err, ERR_SHUTTING_DOWN, "the engine is shutting down");
    else if (queue->count >= queue->max_waiting)
        err_set(err, ERR_OVERLOADED, "%zu appends wait already", queue->count);
    else
        taken = true;
    if (taken) {
        list_append(&queue->waiting, &job->link);
        queue->count++;
        signal_one(&queue->work);
    }
    lock_give(&queue->lock);
    if (!taken)
        job_free(job);
    return taken;
}

bool append_post(struct append_queue *queue,
                 const struct append_request *request,
                 void (*done)(void *arg, const struct append_result *result,
                              const struct err *err),
                 void *arg, struct err *err)
{
    return post(queue, request, APPEND_POST_TIMEOUT_MS, done, arg, err);
}

/* The caller waits somewhat longer than the writer may: an answer that says
 * what happened is better than one that does not. */
static bool await(struct waiter *waiter, uint32_t timeout_ms,
                  struct append_result *out, struct err *err)
{
    uint64_t until_us = clock_us() + ((uint64_t)timeout_ms + 2000) * 1000;
    bool ok;

    lock_take(&waiter->lock);
    while (!waiter->is_answered)
        if (!signal_wait_until(&waiter->answered, &waiter->lock, until_us))
            break;
    if (!waiter->is_answered) {
        waiter->is_abandoned = true;
        lock_give(&waiter->lock);
        return err_set(err, ERR_STORE,
                       "no answer within %u ms; whether it was stored is not "
                       "known, the same event ids tell it later",
                       timeout_ms);
    }
    ok = !waiter->failed;
    if (ok)
        *out = waiter->result;
    else
        *err = waiter->err;
    lock_give(&waiter->lock);
    waiter_free(waiter);
    return ok;
}

bool append_submit(struct append_queue *queue,
                   const struct append_request *request, uint32_t timeout_ms,
                   struct append_result *out, struct err *err)
{
    struct waiter *waiter = NEW(struct waiter);

    lock_init(&waiter->lock);
    signal_init(&waiter->answered);
    if (!post(queue, request, timeout_ms, waiter_done, waiter, err)) {
        waiter_free(waiter);
        return false;
    }
    return await(waiter, timeout_ms, out, err);
}

/* ---- life ---- */

static void queue_free(struct append_queue *queue)
{
    store_writer_close(queue->writer);
    stream_heads_free(queue->heads);
    arena_done(&queue->arena);
    signal_done(&queue->work);
    lock_done(&queue->lock);
    mem_free(queue);
}

struct append_queue *append_queue_start(const struct append_options *options,
                                        struct err *err)
{
    struct append_queue *queue = NEW(struct append_queue);

    queue->store = options->store;
    queue->head = options->head;
    queue->max_waiting = options->max_waiting;
    lock_init(&queue->lock);
    signal_init(&queue->work);
    list_init(&queue->waiting);
    list_init(&queue->batch);
    queue->retry_ms = RETRY_FIRST_MS;
    queue->heads = stream_heads_new();
    heartbeat_moved(&queue->beat);
    queue->writer = store_writer_open(queue->store, err);
    if (queue->writer == NULL)
        goto fail;
    queue->thread = thread_start("writer", writer_main, queue, err);
    if (queue->thread == NULL)
        goto fail;
    return queue;

fail:
    queue_free(queue);
    return NULL;
}

void append_queue_stop(struct append_queue *queue, uint64_t deadline_us)
{
    if (queue == NULL)
        return;
    lock_take(&queue->lock);
    queue->stopping = true;
    queue->stop_us = deadline_us;
    signal_all(&queue->work);
    lock_give(&queue->lock);
    thread_join(queue->thread);
    queue_free(queue);
}

size_t append_queue_waiting(struct append_queue *queue)
{
    size_t count;

    lock_take(&queue->lock);
    count = queue->count;
    lock_give(&queue->lock);
    return count;
}

const struct heartbeat *append_queue_heartbeat(const struct append_queue *queue)
{
    return &queue->beat;
}
