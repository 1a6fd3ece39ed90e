/*
 * The set of subscriptions, its run queue and its workers.
 *
 * Life of a subscription: subscriptions_start makes it and gives it its first
 * turn itself, so that tables exist and leases are held when the engine says
 * it is ready; then it is queued, run by a worker, idle until the head moves or
 * its time comes, queued again; a drain gives it one last turn.
 *
 *   idle --- head moved, time came, called ---> queued --- a worker --->
 * running ^                                            ^ |
 *    '---------------- nothing to do -------------+----- more to do -------'
 *
 * It is in the queue at most once and run by at most one worker.  What happens
 * while it runs is noted in it and looked at when its turn ends, so no wake-up
 * is lost: the head is read after that note could be made.
 *
 * The writer, the keeper and others come in through subscriptions_leases and
 * the head's watcher; both take the lock for a walk over the set and do no
 * work.
 */
#include "core/subscription.h"
#include "base/clock.h"
#include "base/mem.h"
#include "core/sub.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- the queue, under the lock ---- */

static void enqueue(struct subscriptions *subs, struct sub *sub)
    REQUIRES(subs->lock)
{
    if (sub->queued || sub->running || sub->closed)
        return;
    sub->queued = true;
    list_append(&subs->queue, &sub->in_queue);
    signal_one(&subs->work);
}

static void call(struct subscriptions *subs, struct sub *sub)
    REQUIRES(subs->lock)
{
    sub->called = true;
    enqueue(subs, sub);
}

static void hear_head(struct subscriptions *subs, struct sub *sub)
    REQUIRES(subs->lock)
{
    sub->head_moved = true;
    if (sub->hears_head)
        enqueue(subs, sub);
}

/* Queues whoever's time has come; when the next one's does. */
static uint64_t enqueue_due(struct subscriptions *subs) REQUIRES(subs->lock)
{
    uint64_t next_us = WAKE_WHEN_CALLED;
    uint64_t now_us = clock_us();

    for (size_t i = 0; i < subs->count; i++) {
        struct sub *sub = &subs->subs[i];

        if (sub->queued || sub->running || sub->closed)
            continue;
        if (sub->wake_us <= now_us)
            enqueue(subs, sub);
        else
            next_us = MIN(next_us, sub->wake_us);
    }
    return next_us;
}

static struct sub *first_in_queue(struct subscriptions *subs)
    REQUIRES(subs->lock)
{
    if (list_is_empty(&subs->queue))
        return NULL;
    return LIST_ITEM(subs->queue.next, struct sub, in_queue);
}

static void sleep_until(struct subscriptions *subs, uint64_t wake_us)
    REQUIRES(subs->lock)
{
    if (wake_us == WAKE_WHEN_CALLED)
        signal_wait(&subs->work, &subs->lock);
    else
        (void)signal_wait_until(&subs->work, &subs->lock, wake_us);
}

static void begin_turn(struct worker *worker, struct sub *sub)
{
    list_remove(&sub->in_queue);
    sub->queued = false;
    sub->running = true;
    sub->called = false;
    sub->head_moved = false;
    worker->sub = sub;
}

static void end_turn(struct subscriptions *subs, struct worker *worker,
                     struct sub *sub, struct turn_end end) REQUIRES(subs->lock)
{
    worker->sub = NULL;
    sub->running = false;
    sub->wake_us = end.wake_us;
    sub->hears_head = end.hears_head;
    sub->closed = end.is_last;
    if (end.is_last)
        signal_all(&subs->closed);
    else if (end.wake_us == WAKE_NOW || sub->called ||
             (end.hears_head && sub->head_moved))
        enqueue(subs, sub);
}

/* ---- workers ---- */

/* Waits for a turn to give; NULL when the workers shall end. */
static struct sub *next_turn(struct worker *worker)
{
    struct subscriptions *subs = worker->set;
    struct sub *sub = NULL;

    heartbeat_wait(&worker->beat);
    lock_take(&subs->lock);
    while (!subs->stopping) {
        uint64_t wake_us = enqueue_due(subs);

        sub = first_in_queue(subs);
        if (sub != NULL)
            break;
        sleep_until(subs, wake_us);
    }
    if (sub != NULL)
        begin_turn(worker, sub);
    lock_give(&subs->lock);
    heartbeat_resume(&worker->beat);
    return sub;
}

static bool is_draining(struct subscriptions *subs)
{
    bool draining;

    lock_take(&subs->lock);
    draining = subs->draining;
    lock_give(&subs->lock);
    return draining;
}

static void give_turn(struct worker *worker, struct sub *sub) ON_WORKER
{
    struct subscriptions *subs = worker->set;
    struct turn_end end = is_draining(subs) ? sub_close(sub, &worker->beat)
                                            : sub_turn(sub, &worker->beat);

    lock_take(&subs->lock);
    end_turn(subs, worker, sub, end);
    lock_give(&subs->lock);
}

static void work(void *arg)
{
    struct worker *worker = arg;
    struct sub *sub;

    on_worker_thread();
    while ((sub = next_turn(worker)) != NULL)
        give_turn(worker, sub);
}

/* ---- others' news ---- */

/* On whichever thread moved the head. */
static void on_head_moved(void *arg, uint64_t position)
{
    struct subscriptions *subs = arg;

    lock_take(&subs->lock);
    for (size_t i = 0; i < subs->count; i++) {
        sub_show_head(subs, &subs->subs[i], position);
        hear_head(subs, &subs->subs[i]);
    }
    lock_give(&subs->lock);
}

static bool is_held(const struct sub *sub, const struct checkpoint *held,
                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (held[i].slice.generation == sub->generation &&
            held[i].epoch == sub->epoch &&
            str_eq(held[i].slice.subscription, sub->decl->name))
            return true;
    return false;
}

/* A lease taken since may be missing in news that is older than it; it cannot
 * have been lost so soon. */
static bool may_be_lost(const struct sub *sub)
{
    uint64_t age_ms = clock_ms() - sub->leased_ms;

    return sub->leased && age_ms > sub->set->options.lease_ms;
}

void subscriptions_leases(struct subscriptions *subs,
                          const struct checkpoint *held, size_t count)
{
    lock_take(&subs->lock);
    for (size_t i = 0; i < subs->count; i++) {
        struct sub *sub = &subs->subs[i];

        if (may_be_lost(sub) && !is_held(sub, held, count)) {
            sub->lease_lost = true;
            call(subs, sub);
        } else if (sub->state == SUB_PAUSED) {
            call(subs, sub);
        }
    }
    lock_give(&subs->lock);
}

/* ---- start ---- */

static uint32_t given_or(uint32_t given, uint32_t usual)
{
    return given != 0 ? given : usual;
}

static void init_sub(struct subscriptions *subs, struct sub *sub, size_t index)
{
    const struct subscriptions_options *options = &subs->options;
    const struct projection_decl *decl = &options->scripts->projections[index];

    sub->set = subs;
    sub->decl = decl;
    sub->source = options->scripts->projection_sources[index];
    sub->name = mem_str_copy(decl->name);
    sub->batch_size =
        given_or(decl->subscription.batch_size, options->batch_size);
    sub->timeout_ms = given_or(decl->subscription.processing_timeout_ms,
                               options->processing_timeout_ms);
    sub->started_ms = clock_ms();
    sub->processed = metric_labelled(METRIC_SUB_PROCESSED, sub->name);
    sub->failed = metric_labelled(METRIC_SUB_FAILED, sub->name);
    sub->lag = metric_labelled(METRIC_SUB_LAG, sub->name);
    sub->state_series = metric_labelled(METRIC_SUB_STATE, sub->name);
    sub->batch_seconds = metric_labelled(METRIC_SUB_BATCH, sub->name);
    sub->saved = true;
    list_init(&sub->in_queue);
}

static struct subscriptions *
make_set(const struct subscriptions_options *options)
{
    struct subscriptions *subs = NEW(struct subscriptions);

    subs->options = *options;
    script_set_ref(options->scripts);
    lock_init(&subs->lock);
    signal_init(&subs->work);
    signal_init(&subs->closed);
    list_init(&subs->queue);
    subs->count = options->scripts->projection_count;
    subs->subs = NEW_ARRAY(struct sub, subs->count);
    for (size_t i = 0; i < subs->count; i++)
        init_sub(subs, &subs->subs[i], i);
    subs->workers = NEW_ARRAY(struct worker, options->workers);
    return subs;
}

/* Until the store fails: then the workers go on, and the start does not wait
 * for each of them in turn. */
static void open_all(struct subscriptions *subs)
{
    on_worker_thread(); /* there is none yet */
    for (size_t i = 0; i < subs->count; i++) {
        struct sub *sub = &subs->subs[i];
        struct turn_end end = sub_open(sub);

        sub->wake_us = end.wake_us;
        if (sub->retry_ms > 0)
            return;
    }
}

static bool start_workers(struct subscriptions *subs, struct err *err)
{
    for (uint32_t i = 0; i < subs->options.workers; i++) {
        struct worker *worker = &subs->workers[i];
        char name[24]; /* cut to 15 bytes by the system */

        snprintf(name, sizeof(name), "worker-%" PRIu32, i);
        worker->set = subs;
        heartbeat_moved(&worker->beat); /* a probe may come before it does */
        worker->thread = thread_start(name, work, worker, err);
        if (worker->thread == NULL)
            return false;
    }
    return true;
}

struct subscriptions *
subscriptions_start(const struct subscriptions_options *options,
                    struct err *err)
{
    struct subscriptions *subs = make_set(options);

    head_watch(options->head, on_head_moved, subs);
    open_all(subs);
    if (start_workers(subs, err))
        return subs;
    subscriptions_stop(subs);
    return NULL;
}

/* ---- stop ---- */

void subscriptions_drain(struct subscriptions *subs)
{
    lock_take(&subs->lock);
    if (!subs->draining) {
        subs->draining = true;
        for (size_t i = 0; i < subs->count; i++) {
            struct sub *sub = &subs->subs[i];

            sub->in_flight_at_drain = sub->in_flight;
            subs->in_flight_at_drain += sub->in_flight;
            call(subs, sub);
        }
    }
    lock_give(&subs->lock);
}

void subscriptions_cut(struct subscriptions *subs)
{
    __atomic_store_n(&subs->cut, 1, __ATOMIC_RELEASE);
}

static size_t count_closed(const struct subscriptions *subs)
    REQUIRES(subs->lock)
{
    size_t closed = 0;

    for (size_t i = 0; i < subs->count; i++)
        closed += subs->subs[i].closed;
    return closed;
}

static struct stop_result how_it_went(const struct subscriptions *subs)
    REQUIRES(subs->lock)
{
    struct stop_result result = {
        .subscriptions_stopped = (uint32_t)count_closed(subs),
        .in_flight_at_start = subs->in_flight_at_drain,
        .events_drained = subs->drained,
        .events_not_drained = subs->in_flight_at_drain - subs->drained,
    };

    for (size_t i = 0; i < subs->count; i++)
        result.checkpoints_saved += subs->subs[i].closed && subs->subs[i].saved;
    return result;
}

bool subscriptions_drained(struct subscriptions *subs, uint64_t deadline_us,
                           struct stop_result *out)
{
    bool all;

    lock_take(&subs->lock);
    while (count_closed(subs) < subs->count &&
           signal_wait_until(&subs->closed, &subs->lock, deadline_us))
        continue;
    all = count_closed(subs) == subs->count;
    *out = how_it_went(subs);
    lock_give(&subs->lock);
    return all;
}

static void stop_workers(struct subscriptions *subs)
{
    lock_take(&subs->lock);
    subs->stopping = true;
    signal_all(&subs->work);
    lock_give(&subs->lock);
    for (size_t i = 0; i < subs->options.workers; i++)
        thread_join(subs->workers[i].thread);
}

static void release_leases(struct subscriptions *subs)
{
    struct err err;

    if (!store_lease_release(subs->options.store, subs->options.owner, &err))
        log_warning("subscription", "leases not given back: they will expire",
                    LOG_ERR(&err));
}

void subscriptions_stop(struct subscriptions *subs)
{
    if (subs == NULL)
        return;
    head_unwatch(subs->options.head, subs);
    stop_workers(subs);
    release_leases(subs);
    for (size_t i = 0; i < subs->count; i++) {
        batch_free(subs->subs[i].batch);
        mem_free(subs->subs[i].name);
    }
    mem_free(subs->subs);
    mem_free(subs->workers);
    signal_done(&subs->closed);
    signal_done(&subs->work);
    lock_done(&subs->lock);
    script_set_unref(subs->options.scripts);
    mem_free(subs);
}

/* ---- liveness ---- */

/* Whose turn it is, and how long its worker need not move: a script may give
 * its handlers longer than the limit that all have in common. */
struct turn {
    const char *name;
    uint64_t limit_ms;
};

static struct turn turn_of(struct worker *worker, uint64_t limit_ms)
{
    struct turn turn = {"no subscription", limit_ms};

    lock_take(&worker->set->lock);
    if (worker->sub != NULL) {
        turn.name = worker->sub->name;
        if (worker->sub->timeout_ms >= limit_ms)
            turn.limit_ms += worker->sub->timeout_ms;
    }
    lock_give(&worker->set->lock);
    return turn;
}

bool subscriptions_are_stalled(struct subscriptions *subs, uint64_t limit_ms,
                               struct buf *who_out)
{
    bool stalled = false;

    for (size_t i = 0; i < subs->options.workers; i++) {
        struct worker *worker = &subs->workers[i];
        struct turn turn = turn_of(worker, limit_ms);

        if (!heartbeat_is_stalled(&worker->beat, turn.limit_ms))
            continue;
        buf_printf(who_out, "%sworker %zu (%s)", stalled ? ", " : "", i,
                   turn.name);
        stalled = true;
    }
    return stalled;
}
