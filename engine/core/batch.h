#pragma once
/*
 * A page of events, from the cursor to the commit.
 *
 *   read      the next events from the feed; those that the script does not
 *             want are left out, and still move the cursor
 *   run       a handler call an event, changes gather in memory; the first
 *             failure ends the batch just before its event
 *   commit    rows and checkpoint in one fenced transaction
 *
 * The cursor has two ends.  `position` is the last event whose effects, if it
 * has any, are stored; `stored` is the checkpoint.  They differ by events that
 * were left out: that progress alone is stored at most every SAVE_EVERY_MS.
 *
 * What the ends of a commit lead to:
 *
 *   DONE          the cursor moves
 *   ROLLED_BACK   the same changes are offered again, no handler runs twice
 *   UNCERTAIN     settled first: neither given up nor tried elsewhere
 *   FENCED        everything is dropped, the feed's blocks too
 *   REFUSED       back to the checkpoint and event by event, with inserts
 *                 looked up, until the guilty event is alone
 *   BROKEN        the projection's tables are not what they were: it fails
 *
 * One thread at a time: the worker that runs the subscription.
 */
#include "core/changes.h"
#include "core/feed.h"
#include "core/script_set.h"
#include "run/thread.h"

#define BATCH_SAVE_EVERY_MS 5000

struct batch;

struct batch_options {
    struct store *store; /* borrowed, as all pointers here: they belong to the
                            engine or to the set, which outlive the batch */
    struct feed *feed;
    const struct script_set *scripts;
    const struct projection_decl *decl;
    const struct source *source;
    struct slice slice;
    uint32_t batch_size;
    uint32_t timeout_ms; /* of one event's handler */
    uint32_t lease_ms;   /* that a commit renews */
    /* Atomic: once it is not 0 a batch ends behind the last event that was
     * done, and the one that is running does not count. */
    const int *cut;
};

/* At no position yet: batch_start comes first.  What `options` points to is
 * borrowed and outlives the batch. */
struct batch *batch_new(const struct batch_options *options);
void batch_free(struct batch *batch);

/* Goes to a checkpoint that was just taken; all that was in hand is dropped. */
void batch_start(struct batch *batch, uint64_t position, uint64_t epoch);

enum batch_end {
    BATCH_IDLE,   /* nothing behind the cursor */
    BATCH_READ,   /* events are in hand: batch_run */
    BATCH_MOVED,  /* the cursor moved */
    BATCH_AGAIN,  /* back at the checkpoint, to be read again at once */
    BATCH_WAITS,  /* the store failed, err says how: call again later */
    BATCH_FENCED, /* somebody else moved on: take the lease again */
    BATCH_FAILED, /* an event, or the script itself, failed for good */
};

/* Reads the next events.  `lag` is how many there are about: far behind the
 * head, batches grow.  While a commit has no end, READ at once: batch_run goes
 * on with it. */
enum batch_end batch_read(struct batch *batch, uint64_t lag,
                          struct heartbeat *beat, struct err *err);
/* Runs and commits what was read.  With FAILED everything before the event is
 * committed; batch_failed_event tells which it was. */
enum batch_end batch_run(struct batch *batch, struct heartbeat *beat,
                         struct err *err);
/* Stores a cursor that is ahead of the checkpoint (MOVED), or goes on with a
 * commit that has no end.  Runs no handler. */
enum batch_end batch_save(struct batch *batch, struct heartbeat *beat,
                          struct err *err);

/* Where the cursor stands: all before it is done, stored or not. */
uint64_t batch_position(const struct batch *batch);
/* False while progress is not stored or a commit has no end. */
bool batch_is_saved(const struct batch *batch);
/* True while a commit has no end: it comes before anything else. */
bool batch_is_pending(const struct batch *batch);
/* When batch_save is due, in clock_ms(); 0 when there is nothing to save. */
uint64_t batch_save_due_ms(const struct batch *batch);
/* Events that were read and not yet committed. */
size_t batch_in_flight(const struct batch *batch);
/* Events whose effects the last MOVED or FAILED committed. */
uint64_t batch_applied(const struct batch *batch);
/* When the next event that is known, else the last one, was recorded; 0 when
 * none was read yet. */
int64_t batch_recorded_at_us(const struct batch *batch);
/* After FAILED, until the next call: the event, or NULL when it was the script
 * that could not be loaded, or the tables that could not be written. */
const struct event *batch_failed_event(const struct batch *batch);
