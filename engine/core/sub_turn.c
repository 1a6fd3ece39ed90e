/*
 * One turn of a subscription, on whichever worker took it from the queue: the
 * steps of core/sub.h, and what each end of a batch means for state, log and
 * the time of the next turn.
 *
 * Troubles of the store are waited out here, from 0.1 s on, doubling up to
 * 5 s; they change no state, since the lag shows them.  What is the script's
 * or the event's fault ends in SUB_ERROR, where the subscription stays.
 */
#include "base/clock.h"
#include "core/readmodel.h"
#include "core/sub.h"

#include <stdio.h>

#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS   5000
#define TROUBLE_LOG_MS 10000

/* When the head is known to be further and the feed has nothing yet. */
#define EMPTY_FEED_US 500000

/* A live subscription may be this far behind before it is called catching up.
 */
#define LIVE_MAX_LAG 1000

static struct turn_end turn_now(void)
{
    return (struct turn_end){.wake_us = WAKE_NOW};
}

static struct turn_end wait_for_call(void)
{
    return (struct turn_end){.wake_us = WAKE_WHEN_CALLED};
}

/* ---- troubles and failures ---- */

static struct turn_end back_off(struct sub *sub, const char *what,
                                const struct err *err)
{
    uint64_t held;

    sub->retry_ms = sub->retry_ms == 0 ? RETRY_FIRST_MS
                                       : MIN(sub->retry_ms * 2, RETRY_MAX_MS);
    if (log_may(&sub->trouble, TROUBLE_LOG_MS, &held))
        log_warning("subscription", what, LOG_TEXT("subscription", sub->name),
                    LOG_U64("retry_ms", sub->retry_ms),
                    LOG_U64("held_back", held), LOG_ERR(err));
    return (struct turn_end){
        .wake_us = clock_us() + (uint64_t)sub->retry_ms * 1000,
    };
}

static void log_failed_event(const struct sub *sub, const struct event *event,
                             const struct err *err)
{
    char id[UUID_TEXT_SIZE];

    uuid_format(event->event_id, id);
    log_error("subscription", "stopped by a failed event",
              LOG_TEXT("subscription", sub->name), LOG_TEXT("event_id", id),
              LOG_U64("position", event->position),
              LOG_STR("event_type", event->event_type),
              LOG_STR("aggregate_type", event->aggregate_type),
              LOG_STR("aggregate_id", event->aggregate_id), LOG_ERR(err));
}

/* The batch goes, and with it the script's state: nothing is run any more, and
 * everything before the failure is stored. */
static struct turn_end fail(struct sub *sub, const struct event *event,
                            const struct err *err)
{
    if (event != NULL)
        log_failed_event(sub, event, err);
    else
        log_error("subscription", "stopped",
                  LOG_TEXT("subscription", sub->name), LOG_ERR(err));
    sub_show_failure(sub, event != NULL ? BLAME_EVENT : BLAME_SCRIPT, err);
    sub_move(sub, SUB_ERROR, err->text);
    batch_free(sub->batch);
    sub->batch = NULL;
    sub->step = STEP_FAILED;
    return wait_for_call();
}

static struct turn_end wait_or_fail(struct sub *sub, const struct err *err)
{
    if (err_may_retry(err->code))
        return back_off(sub, "waiting for the store", err);
    return fail(sub, NULL, err);
}

/* Where a projection stands that this engine does not run: its latest
 * generation's checkpoint. */
static bool show_stored(struct sub *sub, struct err *err)
{
    struct checkpoint *rows;
    struct checkpoint *last = NULL;
    struct arena arena = {0};
    size_t count;
    bool good = store_list_checkpoints(sub->set->options.store, &arena, &rows,
                                       &count, err);

    for (size_t i = 0; good && i < count; i++)
        if (str_eq(rows[i].slice.subscription, sub->decl->name) &&
            (last == NULL || rows[i].slice.generation > last->slice.generation))
            last = &rows[i];
    if (last != NULL)
        sub_show_refused(sub, last);
    arena_done(&arena);
    return good;
}

/* Tables that are installed and differ are there, and so is their position. */
static struct turn_end refuse_tables(struct sub *sub, const struct err *err)
{
    struct err trouble;

    if (err->code == ERR_CONFLICT && !show_stored(sub, &trouble))
        return wait_or_fail(sub, &trouble);
    return wait_or_fail(sub, err);
}

/* ---- tables ---- */

static struct batch *make_batch(const struct sub *sub)
{
    const struct subscriptions_options *options = &sub->set->options;
    struct batch_options batch = {
        .store = options->store,
        .feed = options->feed,
        .scripts = options->scripts,
        .decl = sub->decl,
        .source = sub->source,
        .slice = sub->slice,
        .batch_size = sub->batch_size,
        .timeout_ms = sub->timeout_ms,
        .lease_ms = options->lease_ms,
        .cut = &sub->set->cut,
    };

    return batch_new(&batch);
}

static bool prepare(struct sub *sub, struct err *err)
{
    uint32_t generation;

    if (!readmodel_prepare(sub->set->options.store, sub->decl, &generation,
                           err))
        return false;
    if (sub->batch != NULL && sub->slice.generation == generation)
        return true;
    sub->slice = (struct slice){
        .subscription = sub->decl->name,
        .generation = generation,
        .partition = 0,
        .partitions = READMODEL_PARTITIONS,
    };
    batch_free(sub->batch);
    sub->batch = make_batch(sub);
    return true;
}

/* ---- the lease ---- */

static struct turn_end pause_for(struct sub *sub,
                                 const struct checkpoint *other)
{
    char owner[UUID_TEXT_SIZE];
    char reason[SUB_TEXT_SIZE];

    uuid_format(other->owner, owner);
    snprintf(reason, sizeof(reason), "run by another engine (owner %s)", owner);
    sub_show_refused(sub, other);
    sub_move(sub, SUB_PAUSED, reason);
    sub->was_refused = true;
    return wait_for_call();
}

/* An engine that had the lease meanwhile may have changed the tables, even put
 * another generation in their place: then that one's lease is taken next. */
static struct turn_end begin(struct sub *sub, const struct checkpoint *taken)
{
    uint32_t generation = sub->slice.generation;
    struct err err;

    if (sub->was_refused && !prepare(sub, &err))
        return refuse_tables(sub, &err);
    sub->was_refused = false;
    if (sub->slice.generation != generation)
        return turn_now();
    if (!readmodel_note(sub->set->options.store, sub->decl, generation, &err))
        return wait_or_fail(sub, &err);
    batch_start(sub->batch, taken->position, taken->epoch);
    sub_show_lease(sub, taken);
    sub->step = STEP_RUN;
    sub_move(sub, SUB_CATCHING_UP, NULL);
    return turn_now();
}

static struct turn_end take_lease(struct sub *sub)
{
    const struct subscriptions_options *options = &sub->set->options;
    struct checkpoint checkpoint;
    struct err err;

    switch (store_lease_take(options->store, &sub->slice, options->owner,
                             options->lease_ms, &checkpoint, &err)) {
    case LEASE_TAKEN:
        return begin(sub, &checkpoint);
    case LEASE_REFUSED:
        return pause_for(sub, &checkpoint);
    case LEASE_FAILED:
        break;
    }
    return wait_or_fail(sub, &err);
}

struct turn_end sub_open(struct sub *sub)
{
    struct err err;

    if (sub->step == STEP_PREPARE) {
        if (!prepare(sub, &err))
            return refuse_tables(sub, &err);
        sub->step = STEP_LEASE;
    }
    return take_lease(sub);
}

/* ---- batches ---- */

static uint64_t save_due_us(const struct sub *sub)
{
    uint64_t due_ms = batch_save_due_ms(sub->batch);

    return due_ms != 0 ? due_ms * 1000 : WAKE_WHEN_CALLED;
}

/* At the head, or at least at the end of what can be read. */
static struct turn_end rest(struct sub *sub)
{
    struct turn_end end = {.hears_head = true, .wake_us = save_due_us(sub)};

    sub_move(sub, SUB_LIVE, NULL);
    if (sub_lag(sub, batch_position(sub->batch)) > 0)
        end.wake_us = clock_us() + EMPTY_FEED_US;
    return end;
}

/* Who reaches the head of a moment ago has caught up, even if appends never
 * pause. */
static struct turn_end go_on(struct sub *sub, uint64_t head_before)
{
    uint64_t position = batch_position(sub->batch);
    uint64_t lag = sub_lag(sub, position);

    sub->retry_ms = 0;
    if (lag == 0)
        return rest(sub);
    if (position >= head_before)
        sub_move(sub, SUB_LIVE, NULL);
    else if (lag > MAX(sub->batch_size, LIVE_MAX_LAG))
        sub_move(sub, SUB_CATCHING_UP, NULL);
    return turn_now();
}

static struct turn_end look_closer(struct sub *sub)
{
    log_warning("subscription", "the store refused a batch: run one by one",
                LOG_TEXT("subscription", sub->name),
                LOG_U64("position", batch_position(sub->batch)));
    return turn_now();
}

static struct turn_end take_again(struct sub *sub)
{
    struct err err;

    err_set(&err, ERR_CONFLICT,
            "someone else moved the checkpoint, or the log is another one");
    sub->step = STEP_LEASE;
    sub->was_refused = true;
    return back_off(sub, "a batch was fenced off and dropped", &err);
}

static struct turn_end end_turn(struct sub *sub, enum batch_end end,
                                uint64_t head_before, const struct err *err)
{
    switch (end) {
    case BATCH_IDLE:
        return rest(sub);
    case BATCH_READ: /* the set drains */
        return turn_now();
    case BATCH_MOVED:
        return go_on(sub, head_before);
    case BATCH_AGAIN:
        return look_closer(sub);
    case BATCH_WAITS:
        return back_off(sub, "waiting for the store", err);
    case BATCH_FENCED:
        return take_again(sub);
    case BATCH_FAILED:
        break;
    }
    return fail(sub, batch_failed_event(sub->batch), err);
}

static enum batch_end read_and_run(struct sub *sub, uint64_t lag,
                                   struct heartbeat *beat, struct err *err)
{
    enum batch_end end = batch_read(sub->batch, lag, beat, err);

    if (end == BATCH_READ && sub_show_begin(sub))
        end = batch_run(sub->batch, beat, err);
    return end;
}

/* With nothing to read there may be progress to store. */
static enum batch_end run_batch(struct sub *sub, struct heartbeat *beat,
                                struct err *err)
{
    uint64_t lag = sub_lag(sub, batch_position(sub->batch));
    uint64_t due_ms = batch_save_due_ms(sub->batch);

    if (lag > 0 || batch_is_pending(sub->batch))
        return read_and_run(sub, lag, beat, err);
    if (due_ms != 0 && clock_ms() >= due_ms)
        return batch_save(sub->batch, beat, err);
    return BATCH_IDLE;
}

static struct turn_end run(struct sub *sub, struct heartbeat *beat)
{
    uint64_t head_before = head_position(sub->set->options.head);
    uint64_t before = batch_position(sub->batch);
    uint64_t began_us = clock_us();
    struct err err = {0};
    enum batch_end end = run_batch(sub, beat, &err);
    uint64_t moved = sub_show_end(sub, end, before);

    if (moved > 0)
        metric_observe(sub->batch_seconds,
                       (double)(clock_us() - began_us) / 1e6);
    return end_turn(sub, end, head_before, &err);
}

/* ---- turns ---- */

static void lose_lease(struct sub *sub)
{
    sub_move(sub, SUB_PAUSED,
             "the lease was lost, or could not be renewed in time");
    sub->step = STEP_LEASE;
    sub->was_refused = true;
}

struct turn_end sub_turn(struct sub *sub, struct heartbeat *beat)
{
    struct turn_end end;

    if (sub->step == STEP_RUN && sub_has_lost_lease(sub))
        lose_lease(sub);
    if (sub->step == STEP_FAILED)
        return wait_for_call();
    if (sub->step == STEP_RUN)
        return run(sub, beat);
    heartbeat_wait(beat);
    end = sub_open(sub);
    heartbeat_resume(beat);
    return end;
}

static void save_last(struct sub *sub, struct heartbeat *beat)
{
    uint64_t before = batch_position(sub->batch);
    struct err err = {0};
    enum batch_end end = batch_save(sub->batch, beat, &err);

    sub_show_end(sub, end, before);
    if (end != BATCH_MOVED)
        log_warning("subscription", "position not stored at the end",
                    LOG_TEXT("subscription", sub->name),
                    LOG_U64("position", before), LOG_ERR(&err));
}

struct turn_end sub_close(struct sub *sub, struct heartbeat *beat)
{
    if (sub->step == STEP_RUN && !batch_is_saved(sub->batch))
        save_last(sub, beat);
    sub_show_closed(sub);
    sub_move(sub, SUB_STOPPED, NULL);
    return (struct turn_end){.wake_us = WAKE_WHEN_CALLED, .is_last = true};
}
