#include "core/append_writer.h"

/*
 * Two ways to commit a batch:
 *
 *   locked   begin, close, look up, decide, commit.  Closed only when the lock
 *            is ours, so whoever arrived while we queued for it comes along.
 *   guessed  close, look up, decide, and one guarded commit.  Right if nobody
 *            else appended since we last looked; if somebody did, nothing
 *            happened and the batch goes the locked way.
 *
 * Answers that store nothing (conflicts, repetitions) rest on what was read,
 * and are given only behind a commit, too: of a guess that hit, or under the
 * lock. A batch that is nothing but such answers is committed all the same,
 * because what a repetition was told is a promise that it will be found again.
 */

#include "base/clock.h"
#include "run/fault.h"
#include "run/thread.h"

/* A batch is closed at the first of these. */
#define BATCH_MAX_JOBS   1024
#define BATCH_MAX_EVENTS 5000
#define BATCH_MAX_BYTES  (8u << 20)

/* Batches in a row that met nobody else's events before one is guessed. */
#define QUIET_MIN 2

/* Unique violations in a row before the batch is given up: the first is a
 * cache that was wrong, a second would be ours. */
#define STALE_MAX 3

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
    append_fail_all(queue, jobs, &err);
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

static void note_lost_tail(struct append_queue *queue)
{
    (void)__atomic_add_fetch(&queue->lineage, 1, __ATOMIC_RELEASE);
    log_warning("append",
                "the log has lost its last events; what was "
                "folded from them is forgotten",
                LOG_U64("head", queue->known.position));
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
                         moved->aggregate_version)
            ->last_id = moved->event_id;
    }
    queue->quiet = delta->cut || delta->count > 0 ? 0 : queue->quiet + 1;
    queue->known = delta->head;
    head_move(queue->head, delta->head.position);
    if (delta->lost)
        note_lost_tail(queue);
}

bool append_begin(struct append_queue *queue, struct append_delta *delta,
                  struct err *err)
{
    bool begun;

    heartbeat_wait(&queue->beat);
    begun = store_append_begin(queue->writer, queue->known, &queue->arena,
                               delta, err);
    heartbeat_resume(&queue->beat);
    return begun;
}

bool append_lookup(struct append_queue *queue, struct append_lookup *questions,
                   struct err *err)
{
    bool found = true;

    if (questions->stream_count + questions->id_count + questions->key_count ==
        0)
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
        .lineage = append_lineage(queue),
        .ask_every_id = queue->ask_every_id,
    };
    decide_questions(decision, &queue->batch, &questions);
    if (!append_lookup(queue, &questions, err)) {
        stream_heads_forget(queue->heads); /* placeholders are in it */
        return false;
    }
    decide_batch(decision, &queue->batch, &questions);
    event_page_unref(questions.found);
    return true;
}

/* Commits in one way or the other; `recorded_at_us` is given for a guess. */
static enum append_end commit(struct append_queue *queue,
                              const struct decision *decision,
                              int64_t *recorded_at_us, struct err *err)
{
    struct append_batch batch = {
        .rows = decision->rows,
        .count = decision->row_count,
        .marks = decision->marks,
        .mark_count = decision->mark_count,
    };
    enum append_end end;

    FAULT_KILL("append.before_commit");
    heartbeat_wait(&queue->beat);
    if (recorded_at_us != NULL)
        end = store_append_guarded(queue->writer, queue->known, &batch,
                                   recorded_at_us, err);
    else
        end = store_append_commit(queue->writer, &batch, err);
    heartbeat_resume(&queue->beat);
    FAULT_KILL("append.after_commit");
    if (end == APPEND_COMMITTED && FAULT("append.lose_answer"))
        end = APPEND_UNCERTAIN;
    return end;
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

    while (!append_begin(queue, delta, &err)) {
        store_append_abort(queue->writer);
        append_wait_out(queue, "the store does not take appends; waiting",
                        &err);
        if (!has_work(queue))
            return false;
    }
    return true;
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
        append_fail(queue, decided, err);
    append_put_back(queue);
}

static void again_stale(struct append_queue *queue, struct err *err)
{
    queue->ask_every_id = true;
    if (++queue->stale_count < STALE_MAX) {
        append_put_back(queue);
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
    if (end != APPEND_COMMITTED) {
        stream_heads_forget(queue->heads);
        queue->quiet = 0;
    }
    switch (end) {
    case APPEND_COMMITTED:
        queue->stale_count = 0;
        queue->ask_every_id = false;
        if (decision->lost)
            note_lost_tail(queue);
        append_answer_batch(queue, decision);
        break;
    case APPEND_STALE:
        again_stale(queue, err);
        break;
    case APPEND_REFUSED:
        refuse_or_split(queue, err);
        break;
    case APPEND_MOVED:
        append_put_back(queue);
        break;
    case APPEND_ROLLED_BACK:
        append_try_later(queue, "a batch of appends was rolled back", err);
        break;
    case APPEND_UNCERTAIN:
        append_settle(queue, decision);
        break;
    }
}

/* A batch that cannot be decided or committed is put back; nothing of it was
 * stored. */
static void run_locked(struct append_queue *queue)
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
        append_try_later(queue, "a batch of appends was not decided", &err);
        return;
    }
    end_batch(queue, commit(queue, &decision, NULL, &err), &decision, &err);
}

/* True when the batch is over in one way or the other; false: it waits for the
 * lock, because there is nothing that a guard could be put on, or the store did
 * not answer. */
static bool run_guessed(struct append_queue *queue)
{
    struct decision decision;
    struct err err = {0};
    int64_t recorded_at_us = 0;
    enum append_end end;

    close_batch(queue);
    if (list_is_empty(&queue->batch))
        return true;
    if (!decide(queue, clock_wall_us(), &decision, &err) ||
        decision.row_count == 0) {
        append_put_back(queue);
        return false;
    }
    end = commit(queue, &decision, &recorded_at_us, &err);
    if (end == APPEND_COMMITTED)
        append_note_time(queue, recorded_at_us);
    end_batch(queue, end, &decision, &err);
    return true;
}

static bool may_guess(const struct append_queue *queue)
{
    return queue->quiet >= QUIET_MIN && !queue->ask_every_id &&
           store_append_may_guess(queue->writer);
}

static void run_batch(struct append_queue *queue)
{
    if (!may_guess(queue) || !run_guessed(queue))
        run_locked(queue);
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

void append_writer_main(void *arg)
{
    struct append_queue *queue = arg;

    on_writer_thread();
    while (wait_for_work(queue)) {
        run_batch(queue);
        arena_reset(&queue->arena);
        stream_heads_trim(queue->heads);
    }
}
