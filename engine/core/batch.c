/*
 * Life of a batch: batch_read borrows a page from the feed and lists the events
 * in it that the script wants; batch_run calls the handlers over an empty
 * overlay, seals it and offers it to the store.  From then until the commit
 * has an end the sealed changes stay as they are, however often it is tried.
 * let_go gives the page back and empties the overlay.
 *
 * The script's state is made at the first event that needs it, kept between
 * batches, and thrown away when it is broken.
 */
#include "core/batch.h"
#include "base/clock.h"
#include "base/mem.h"
#include "run/fault.h"

#include <stdio.h>

/* Far behind, batches of about this many events are the fastest (measured:
 * 83,000 events/s in hundreds, 108,000 in thousands, 111,000 in five
 * thousands), as long as they do not take too long. */
#define GROWN_EVENTS 1000
#define GROWN_MAX_US 500000

#define OVERLAY_MAX_BYTES ((size_t)16 << 20)
#define LOAD_TIMEOUT_MS   5000

enum pending { PENDING_NOTHING, PENDING_COMMIT, PENDING_SETTLE };

struct batch {
    struct batch_options options;
    struct changes *changes;
    /* --- the script's state --- */
    struct vm *vm; /* NULL before its first event and after it broke */
    int script;
    struct arena script_arena; /* what loading declared: not used, ours is
                                  options.decl, which is the same */
    /* --- the cursor --- */
    uint64_t epoch;
    uint64_t stored;
    uint64_t position;
    struct uuid position_id; /* of the event there */
    int64_t recorded_at_us;
    uint64_t saved_ms;
    uint64_t careful_until; /* up to here events are run one by one */
    /* --- what is in hand --- */
    struct event_page *page;
    size_t first;
    size_t count;
    const struct event **wanted; /* in the page */
    size_t wanted_count;
    size_t wanted_capacity;
    size_t applied;             /* of `wanted` */
    const struct event *failed; /* one of `wanted` */
    struct err failure;
    enum pending pending;
    struct batch_commit commit;
};

/* ---- the script's state ---- */

static void drop_vm(struct batch *batch)
{
    vm_free(batch->vm);
    batch->vm = NULL;
    arena_reset(&batch->script_arena);
}

static bool load_script(struct batch *batch, struct err *err)
{
    const struct batch_options *options = &batch->options;
    struct projection_decl decl;

    batch->script = vm_load_projection(batch->vm, options->source,
                                       &batch->script_arena, &decl, err);
    if (batch->script < 0)
        return false;
    if (!script_set_load_upcasts(options->scripts, options->decl, batch->vm,
                                 err))
        return false;
    vm_bind_db(batch->vm, batch->script, options->decl, &changes_db,
               batch->changes, changes_arena(batch->changes));
    return true;
}

static bool have_vm(struct batch *batch, struct err *err)
{
    struct vm_options options = {
        .memory_bytes = batch->options.scripts->memory_bytes,
        .load_timeout_ms = LOAD_TIMEOUT_MS,
        .modules = batch->options.scripts->projection_tree,
        .any_events = batch->options.scripts->any_events,
    };

    if (batch->vm != NULL && !vm_is_broken(batch->vm))
        return true;
    drop_vm(batch);
    batch->vm = vm_new(&options, err);
    if (batch->vm != NULL && load_script(batch, err))
        return true;
    drop_vm(batch);
    return false;
}

/* ---- the cursor ---- */

static void let_go(struct batch *batch)
{
    changes_reset(batch->changes);
    event_page_unref(batch->page);
    batch->page = NULL;
    batch->first = 0;
    batch->count = 0;
    batch->wanted_count = 0;
    batch->applied = 0;
    batch->failed = NULL;
    batch->pending = PENDING_NOTHING;
}

static void rewind_to_checkpoint(struct batch *batch)
{
    let_go(batch);
    batch->position = batch->stored;
}

static const struct event *last_in_hand(const struct batch *batch)
{
    return &batch->page->events[batch->first + batch->count - 1];
}

/* Positions are contiguous, in a page too. */
static const struct event *event_at(const struct batch *batch,
                                    uint64_t position)
{
    return last_in_hand(batch) - (last_in_hand(batch)->position - position);
}

/* To an event in hand, or to where the cursor is. */
static void move_to(struct batch *batch, uint64_t position)
{
    const struct event *event;

    if (position == batch->position)
        return;
    event = event_at(batch, position);
    batch->position = position;
    batch->position_id = event->event_id;
    batch->recorded_at_us = event->recorded_at_us;
}

/* Up to here nothing is left to do for what is in hand. */
static uint64_t done_until(const struct batch *batch)
{
    if (batch->applied < batch->wanted_count)
        return batch->wanted[batch->applied]->position - 1;
    return last_in_hand(batch)->position;
}

/* ---- read ---- */

static bool is_careful(const struct batch *batch)
{
    return batch->position < batch->careful_until;
}

static uint32_t events_to_read(const struct batch *batch, uint64_t lag)
{
    uint32_t usual = batch->options.batch_size;

    if (is_careful(batch))
        return 1;
    return lag > usual ? MAX(usual, GROWN_EVENTS) : usual;
}

static void list_wanted(struct batch *batch)
{
    GROW(batch->wanted, batch->wanted_capacity, batch->count);
    batch->wanted_count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct event *event = &batch->page->events[batch->first + i];

        if (script_wants(batch->options.decl, event))
            batch->wanted[batch->wanted_count++] = event;
    }
}

enum batch_end batch_read(struct batch *batch, uint64_t lag,
                          struct heartbeat *beat, struct err *err)
{
    uint32_t limit = events_to_read(batch, lag);
    bool good;

    if (batch->pending != PENDING_NOTHING)
        return BATCH_READ;
    let_go(batch);
    heartbeat_wait(beat);
    good = feed_read(batch->options.feed, batch->position, limit, &batch->page,
                     &batch->first, &batch->count, err);
    heartbeat_resume(beat);
    if (!good)
        return BATCH_WAITS;
    if (batch->count == 0)
        return BATCH_IDLE;
    list_wanted(batch);
    return BATCH_READ;
}

/* ---- run ---- */

static bool is_full(const struct batch *batch, uint64_t began_us)
{
    if (batch->applied > 0 &&
        changes_bytes(batch->changes) >= OVERLAY_MAX_BYTES)
        return true;
    return batch->applied >= batch->options.batch_size &&
           clock_us() - began_us > GROWN_MAX_US;
}

static bool run_event(struct batch *batch, const struct event *event,
                      struct err *err)
{
    changes_event_begin(batch->changes, event);
    if (vm_handle(batch->vm, batch->script, event, batch->options.timeout_ms,
                  err))
        return true;
    changes_event_undo(batch->changes);
    return false;
}

static bool is_cut(const struct batch *batch)
{
    return __atomic_load_n(batch->options.cut, __ATOMIC_ACQUIRE) != 0;
}

/* Runs until the end, a failure, or the batch is full or cut; false for a
 * failure. */
static bool run_wanted(struct batch *batch, struct heartbeat *beat,
                       struct err *err)
{
    uint64_t began_us = clock_us();

    changes_begin(batch->changes, batch->wanted, batch->wanted_count,
                  is_careful(batch) ? COMPOSE_READ : COMPOSE_UNREAD, beat);
    while (batch->applied < batch->wanted_count && !is_full(batch, began_us)) {
        heartbeat_moved(beat);
        if (!run_event(batch, batch->wanted[batch->applied], err))
            return false;
        if (is_cut(batch)) {
            changes_event_undo(batch->changes);
            break;
        }
        batch->applied++;
    }
    return true;
}

/* ---- commit ---- */

static bool is_save_due(const struct batch *batch)
{
    return clock_ms() - batch->saved_ms >= BATCH_SAVE_EVERY_MS;
}

static bool has_to_commit(const struct batch *batch, uint64_t to)
{
    if (to == batch->stored)
        return false;
    return batch->applied > 0 || batch->failed != NULL || is_save_due(batch);
}

static void seal(struct batch *batch, uint64_t to)
{
    batch->commit = (struct batch_commit){
        .slice = batch->options.slice,
        .epoch = batch->epoch,
        .from = batch->stored,
        .to = to,
        .to_event_id = to == batch->position ? batch->position_id
                                             : event_at(batch, to)->event_id,
        .events_processed = batch->applied,
        .ttl_ms = batch->options.lease_ms,
    };
    changes_seal(batch->changes, &batch->commit.tables,
                 &batch->commit.table_count);
    batch->pending = PENDING_COMMIT;
}

static enum commit_end settle(struct batch *batch, struct err *err)
{
    struct store *store = batch->options.store;
    enum commit_end end = store_commit_settle(store, &batch->commit, err);

    if (end == COMMIT_ROLLED_BACK)
        end = store_commit_batch(store, &batch->commit, err);
    return end;
}

static enum commit_end offer(struct batch *batch, struct heartbeat *beat,
                             struct err *err)
{
    enum commit_end end;

    FAULT_KILL("batch.before_commit");
    heartbeat_wait(beat);
    end = batch->pending == PENDING_SETTLE
              ? settle(batch, err)
              : store_commit_batch(batch->options.store, &batch->commit, err);
    heartbeat_resume(beat);
    return end;
}

static enum batch_end end_moved(struct batch *batch, struct err *err)
{
    if (batch->failed == NULL)
        return BATCH_MOVED;
    *err = batch->failure;
    return BATCH_FAILED;
}

static enum batch_end end_stored(struct batch *batch, struct err *err)
{
    FAULT_KILL("batch.after_commit");
    move_to(batch, batch->commit.to);
    batch->stored = batch->commit.to;
    batch->saved_ms = clock_ms();
    batch->pending = PENDING_NOTHING;
    changes_reset(batch->changes);
    if (batch->vm != NULL)
        vm_rest(batch->vm);
    return end_moved(batch, err);
}

static enum batch_end end_fenced(struct batch *batch)
{
    feed_forget(batch->options.feed);
    rewind_to_checkpoint(batch);
    return BATCH_FENCED;
}

/* Back to the checkpoint, to find the guilty event. */
static enum batch_end look_closer(struct batch *batch)
{
    batch->careful_until = last_in_hand(batch)->position;
    rewind_to_checkpoint(batch);
    return BATCH_AGAIN;
}

static enum batch_end commit(struct batch *batch, struct heartbeat *beat,
                             struct err *err);

/* Alone, the event itself is guilty; what was left out before it is stored. */
static enum batch_end end_refused(struct batch *batch, struct heartbeat *beat,
                                  struct err *err)
{
    if (batch->applied == 0) /* a checkpoint alone holds no data */
        return BATCH_WAITS;
    if (!is_careful(batch))
        return look_closer(batch);
    batch->failure = *err;
    err_wrap(&batch->failure, "%.*s", STR_ARG(batch->options.decl->path));
    batch->failed = batch->wanted[0];
    batch->applied = 0;
    batch->pending = PENDING_NOTHING;
    changes_reset(batch->changes);
    return commit(batch, beat, err);
}

static enum batch_end offer_until_end(struct batch *batch,
                                      struct heartbeat *beat, struct err *err)
{
    switch (offer(batch, beat, err)) {
    case COMMIT_DONE:
        return end_stored(batch, err);
    case COMMIT_FENCED:
        return end_fenced(batch);
    case COMMIT_REFUSED:
        return end_refused(batch, beat, err);
    case COMMIT_BROKEN:
        rewind_to_checkpoint(batch);
        return BATCH_FAILED;
    case COMMIT_ROLLED_BACK:
        batch->pending = PENDING_COMMIT;
        return BATCH_WAITS;
    case COMMIT_UNCERTAIN:
        break;
    }
    batch->pending = PENDING_SETTLE;
    return BATCH_WAITS;
}

/* Commits what was done, or only moves the cursor when nothing came of it. */
static enum batch_end commit(struct batch *batch, struct heartbeat *beat,
                             struct err *err)
{
    uint64_t to = done_until(batch);

    if (has_to_commit(batch, to)) {
        seal(batch, to);
        return offer_until_end(batch, beat, err);
    }
    move_to(batch, to);
    return end_moved(batch, err);
}

/* The store's fault inside a handler is not the event's. */
static enum batch_end end_handler(struct batch *batch, struct heartbeat *beat,
                                  struct err *err)
{
    if (err_may_retry(err->code)) {
        rewind_to_checkpoint(batch);
        return BATCH_WAITS;
    }
    batch->failure = *err;
    batch->failed = batch->wanted[batch->applied];
    return commit(batch, beat, err);
}

enum batch_end batch_run(struct batch *batch, struct heartbeat *beat,
                         struct err *err)
{
    bool ran;

    if (batch->pending != PENDING_NOTHING)
        return offer_until_end(batch, beat, err);
    if (batch->wanted_count > 0 && !have_vm(batch, err))
        return BATCH_FAILED;
    ran = run_wanted(batch, beat, err);
    if (changes_are_doubtful(batch->changes))
        return look_closer(batch);
    return ran ? commit(batch, beat, err) : end_handler(batch, beat, err);
}

enum batch_end batch_save(struct batch *batch, struct heartbeat *beat,
                          struct err *err)
{
    if (batch_is_saved(batch))
        return BATCH_MOVED;
    if (batch->pending == PENDING_NOTHING) {
        let_go(batch);
        seal(batch, batch->position);
    }
    return offer_until_end(batch, beat, err);
}

/* ---- life and questions ---- */

struct batch *batch_new(const struct batch_options *options)
{
    struct batch *batch = NEW(struct batch);

    batch->options = *options;
    batch->changes =
        changes_new(options->store, options->decl, options->slice.generation);
    return batch;
}

void batch_free(struct batch *batch)
{
    if (batch == NULL)
        return;
    let_go(batch);
    drop_vm(batch);
    arena_done(&batch->script_arena);
    changes_free(batch->changes);
    mem_free(batch->wanted);
    mem_free(batch);
}

void batch_start(struct batch *batch, uint64_t position, uint64_t epoch)
{
    let_go(batch);
    batch->epoch = epoch;
    batch->stored = position;
    batch->position = position;
    batch->careful_until = 0;
    batch->saved_ms = clock_ms();
}

uint64_t batch_position(const struct batch *batch)
{
    return batch->position;
}

bool batch_is_saved(const struct batch *batch)
{
    return batch->position == batch->stored &&
           batch->pending == PENDING_NOTHING;
}

bool batch_is_pending(const struct batch *batch)
{
    return batch->pending != PENDING_NOTHING;
}

uint64_t batch_save_due_ms(const struct batch *batch)
{
    return batch_is_saved(batch) ? 0 : batch->saved_ms + BATCH_SAVE_EVERY_MS;
}

size_t batch_in_flight(const struct batch *batch)
{
    if (batch->count == 0)
        return 0;
    return (size_t)(last_in_hand(batch)->position - batch->position);
}

uint64_t batch_applied(const struct batch *batch)
{
    return batch->applied;
}

int64_t batch_recorded_at_us(const struct batch *batch)
{
    if (batch_in_flight(batch) > 0)
        return event_at(batch, batch->position + 1)->recorded_at_us;
    return batch->recorded_at_us;
}

const struct event *batch_failed_event(const struct batch *batch)
{
    return batch->failed;
}
