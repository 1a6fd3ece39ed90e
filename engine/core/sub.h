#pragma once
/*
 * Inside of the subscriptions: the structs that core/subscription (the set,
 * its queue and its workers), core/sub_turn (one turn of one subscription) and
 * core/sub_status (its states, and what others see of it) share.
 *
 * A turn is what a worker does for a subscription before it looks at the queue
 * again: one batch, or one step towards being able to run batches.
 *
 *   PREPARE   the tables are installed, or compared with the script's
 *   LEASE     the lease is taken; another engine may have it
 *   RUN       batches, from the checkpoint that came with the lease
 *   FAILED    nothing more until the process starts again
 *
 * No lock is held during a turn.  The set's lock guards the queue and what is
 * shown, for a few assignments each.
 */
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "core/batch.h"
#include "core/rate.h"
#include "core/subscription.h"

enum sub_step { STEP_PREPARE, STEP_LEASE, STEP_RUN, STEP_FAILED };

#define SUB_TEXT_SIZE 600

struct sub {
    /* --- set before start, then read only --- */
    struct subscriptions *set;
    const struct projection_decl *decl; /* borrowed from the set's scripts */
    const struct source *source;        /* borrowed likewise */
    char *name;
    uint32_t batch_size;
    uint32_t timeout_ms;
    uint64_t started_ms;
    struct metric_series *processed;
    struct metric_series *failed;
    struct metric_series *lag;
    struct metric_series *state_series;
    struct metric_series *batch_seconds;
    /* --- whoever has the turn --- */
    enum sub_step step;
    struct slice slice;
    struct batch *batch; /* NULL until tables are there, and after a failure */
    uint32_t retry_ms;   /* the store's last wait; 0 after a success */
    bool was_refused;    /* another engine ran it, and may have changed it */
    struct log_throttle trouble;
    /* --- any thread, under the set's lock: the queue --- */
    struct list in_queue;
    bool queued;
    bool running;
    bool head_moved;  /* while it was running */
    bool called;      /* to have a turn, whatever it waits for */
    bool hears_head;  /* idle: a higher head is worth a turn */
    uint64_t wake_us; /* idle: clock_us() of its next turn */
    bool closed;      /* it had its last turn */
    /* --- any thread, under the set's lock: the lease --- */
    bool leased;
    uint64_t epoch;
    uint64_t leased_ms;
    bool lease_lost; /* says the keeper */
    /* --- any thread, under the set's lock: what is shown --- */
    enum subscription_state state;
    char reason[SUB_TEXT_SIZE];     /* empty: none */
    char last_error[SUB_TEXT_SIZE]; /* empty: there was none */
    uint64_t position;
    uint32_t generation;
    bool saved;        /* the position is the checkpoint */
    int64_t oldest_us; /* when what waits was recorded; 0: nothing */
    uint64_t in_flight;
    uint64_t in_flight_at_drain;
    uint64_t events_processed;
    uint64_t events_failed;
    struct rate processed_rate;
    struct rate failed_rate;
};

struct worker {
    struct subscriptions *set;
    struct thread *thread;
    struct heartbeat beat; /* atomic: the liveness probe reads it */
    struct sub *sub;       /* under the set's lock: whose turn it is */
};

struct subscriptions {
    /* --- set before start, then read only --- */
    struct subscriptions_options options; /* with our reference to scripts */
    struct sub *subs;
    size_t count;
    struct worker *workers;
    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal work;   /* for workers: a turn is due, or the end is */
    struct signal closed; /* a subscription had its last turn */
    struct list queue;
    int cut; /* atomic: the workers read it between two events */
    bool draining;
    bool stopping;
    uint64_t in_flight_at_drain;
    uint64_t drained;
};

/* What a turn leaves behind. */
#define WAKE_NOW         0
#define WAKE_WHEN_CALLED UINT64_MAX

struct turn_end {
    uint64_t wake_us; /* of clock_us(), or one of the above */
    bool hears_head;
    bool is_last;
};

/* ---- core/sub_turn ---- */

/* The first steps only: tables and lease.  Before workers run their part is
 * played by the thread that starts the set. */
struct turn_end sub_open(struct sub *sub) ON_WORKER;
/* One turn. */
struct turn_end sub_turn(struct sub *sub, struct heartbeat *beat) ON_WORKER;
/* The last turn: stores what is not stored, without running a handler. */
struct turn_end sub_close(struct sub *sub, struct heartbeat *beat) ON_WORKER;

/* ---- core/sub_status: each takes the set's lock, unless it says else ---- */

/* The one place where a state changes.  `reason` may be NULL. */
void sub_move(struct sub *sub, enum subscription_state to, const char *reason);

/* The lease is ours: shows its position and generation. */
void sub_show_lease(struct sub *sub, const struct checkpoint *taken);
/* Where it stands although this engine does not run it. */
void sub_show_refused(struct sub *sub, const struct checkpoint *other);
/* True once after the keeper said that the lease is gone. */
bool sub_has_lost_lease(struct sub *sub);

/* Events are in hand and about to run; false when the set is draining. */
bool sub_show_begin(struct sub *sub);
/* A turn with the batch ended: shows where the cursor stands now and counts
 * what was committed; gives back how far it moved from `before`. */
uint64_t sub_show_end(struct sub *sub, enum batch_end end, uint64_t before);
enum sub_blame { BLAME_EVENT, BLAME_SCRIPT };
void sub_show_failure(struct sub *sub, enum sub_blame blame,
                      const struct err *err);
void sub_show_closed(struct sub *sub);

/* The head is there now: what is behind it has begun to wait. */
void sub_show_head(struct subscriptions *subs, struct sub *sub, uint64_t head)
    REQUIRES(subs->lock);
/* Head less position. */
uint64_t sub_lag(const struct sub *sub, uint64_t position);
