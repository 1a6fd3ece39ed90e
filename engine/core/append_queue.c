#include "core/append_queue.h"

/*
 * What callers do, on their own threads: a request is copied into a job and
 * waits in the queue; who waits for the answer shares a `waiter` with the
 * writer.  `done` is called without the queue's lock.
 */

#include "base/clock.h"
#include "base/mem.h"
#include "core/append_writer.h"
#include "run/thread.h"

#include <stdio.h>

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

/* Who waits keeps a trouble alive; with nobody waiting it is over when it has
 * not been seen for a while, since nobody tries. */
#define TROUBLE_LASTS_MS 10000

/* Under lock. */
static bool is_in_trouble(const struct append_queue *queue)
{
    return queue->trouble_ms != 0 &&
           (queue->count > 0 ||
            clock_ms() - queue->trouble_end_ms < TROUBLE_LASTS_MS);
}

static bool post(struct append_queue *queue,
                 const struct append_request *request, uint32_t timeout_ms,
                 void (*done)(void *, const struct append_result *,
                              const struct err *),
                 void *arg, struct err *err)
{
    struct append_job *job;
    bool taken = false;

    CHECK(request->count > 0 || request->key != NULL);
    CHECK(request->count <= APPEND_MAX_EVENTS);
    job = append_job_new(request);
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
        if (!is_in_trouble(queue))
            queue->trouble_ms = 0;
        list_append(&queue->waiting, &job->link);
        queue->count++;
        signal_one(&queue->work);
    }
    lock_give(&queue->lock);
    if (!taken)
        append_job_free(job);
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

/* Takes the caller's job out when it still waits, so that nothing of it is
 * stored.  NULL: it is in the writer's hands, or answered. */
static struct append_job *withdraw(struct append_queue *queue,
                                   const struct waiter *waiter)
{
    struct append_job *found = NULL;

    lock_take(&queue->lock);
    list_each_safe (&queue->waiting, item, after) {
        struct append_job *job = LIST_ITEM(item, struct append_job, link);

        if (job->arg != waiter)
            continue;
        list_remove(item);
        found = job;
        break;
    }
    lock_give(&queue->lock);
    return found;
}

static bool wait_answer(struct waiter *waiter, uint64_t until_us)
{
    bool answered;

    lock_take(&waiter->lock);
    while (!waiter->is_answered)
        if (!signal_wait_until(&waiter->answered, &waiter->lock, until_us))
            break;
    answered = waiter->is_answered;
    lock_give(&waiter->lock);
    return answered;
}

/* The store may keep the writer busy for longer than callers wait. */
static void give_up_waiting(struct append_queue *queue,
                            const struct waiter *waiter)
{
    struct append_job *job = withdraw(queue, waiter);
    char why[sizeof(queue->trouble.text)];
    struct err err;

    if (job == NULL)
        return;
    if (append_trouble(queue, why, sizeof(why)) > 0)
        err_set(&err, ERR_STORE, "nothing was stored: %s", why);
    else
        err_set(&err, ERR_STORE, "not in time; nothing was stored");
    append_fail(queue, job, &err);
}

/* What is in the writer's hands gets somewhat longer: an answer that says what
 * happened is better than one that does not. */
#define IN_HAND_MS 2000

static bool await(struct append_queue *queue, struct waiter *waiter,
                  uint32_t timeout_ms, struct append_result *out,
                  struct err *err)
{
    uint64_t until_us = clock_us() + (uint64_t)timeout_ms * 1000;
    bool ok;

    if (!wait_answer(waiter, until_us))
        give_up_waiting(queue, waiter);
    (void)wait_answer(waiter, until_us + IN_HAND_MS * 1000);
    lock_take(&waiter->lock);
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

/* The queue is not freed under a caller that is about to give up. */
static void enter(struct append_queue *queue)
{
    lock_take(&queue->lock);
    queue->callers++;
    lock_give(&queue->lock);
}

static void leave(struct append_queue *queue)
{
    lock_take(&queue->lock);
    queue->callers--;
    signal_all(&queue->work);
    lock_give(&queue->lock);
}

bool append_submit(struct append_queue *queue,
                   const struct append_request *request, uint32_t timeout_ms,
                   struct append_result *out, struct err *err)
{
    struct waiter *waiter = NEW(struct waiter);
    bool ok;

    lock_init(&waiter->lock);
    signal_init(&waiter->answered);
    enter(queue);
    if (post(queue, request, timeout_ms, waiter_done, waiter, err)) {
        ok = await(queue, waiter, timeout_ms, out, err);
    } else {
        waiter_free(waiter);
        ok = false;
    }
    leave(queue);
    return ok;
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
    queue->lineage = 1;
    queue->retry_ms = APPEND_RETRY_FIRST_MS;
    queue->heads = stream_heads_new();
    heartbeat_moved(&queue->beat);
    queue->writer = store_writer_open(queue->store, err);
    if (queue->writer == NULL)
        goto fail;
    queue->thread = thread_start("writer", append_writer_main, queue, err);
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
    lock_take(&queue->lock);
    while (queue->callers > 0) /* all are answered */
        signal_wait(&queue->work, &queue->lock);
    lock_give(&queue->lock);
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

uint64_t append_lineage(const struct append_queue *queue)
{
    return __atomic_load_n(&queue->lineage, __ATOMIC_ACQUIRE);
}

uint64_t append_trouble(struct append_queue *queue, char *text, size_t size)
{
    uint64_t lasted_ms = 0;

    lock_take(&queue->lock);
    if (is_in_trouble(queue)) {
        lasted_ms = MAX(clock_ms() - queue->trouble_ms, 1);
        snprintf(text, size, "%s", queue->trouble.text);
    }
    lock_give(&queue->lock);
    return lasted_ms;
}
