#pragma once
/*
 * A projection at work: a cursor over positions and a loop.
 *
 *     read after N, run, commit, again; nothing there: sleep until head moves
 *
 * There is no seam between catching up and live: the words describe the lag.
 *
 *        .------- fell behind ------.
 *        v                          |
 *   CATCHING_UP -- at the head --> LIVE
 *     |    ^                        |
 *     |    '- lease taken -.        |      STARTING leads to any of these
 *     '--- lease lost --> PAUSED <--'
 *     '---- handler failed, needs a rebuild ---> ERROR
 *   and from any of them: stop --> STOPPED, which is final
 *
 * A worker thread runs one batch of one subscription at a time; a subscription
 * is in the run queue at most once.  Its state, arena and overlay belong to
 * the worker that runs it; what probes and the API read is a copy under the
 * set's lock.
 *
 * A handler that fails: what came before it in the batch commits, the
 * checkpoint stands just before the event, the subscription is in ERROR with
 * file and line.  Errors of the store are waited out with
 * back-off and are never the script's fault.
 */
#include "core/feed.h"
#include "core/script_set.h"
#include "run/thread.h"

struct subscriptions;

enum subscription_state {
    SUB_STARTING,
    SUB_CATCHING_UP,
    SUB_LIVE,
    SUB_PAUSED,
    SUB_STOPPED,
    SUB_ERROR,
};
/* "catching_up" and the like, as documents show it. */
const char *subscription_state_name(enum subscription_state state);

struct subscriptions_options {
    struct store *store; /* borrowed, as feed and head */
    struct feed *feed;
    struct head *head;
    struct script_set *scripts; /* a reference is taken */
    struct uuid owner;          /* of this engine's leases */
    uint32_t workers;
    uint32_t lease_ms;
    uint32_t batch_size; /* unless a script says another */
    uint32_t processing_timeout_ms;
};

/* One a projection; installs tables, takes leases, starts the workers. */
struct subscriptions *
subscriptions_start(const struct subscriptions_options *options,
                    struct err *err) MUST_USE;

struct stop_result {
    uint32_t subscriptions_stopped;
    uint64_t in_flight_at_start; /* events read and not yet committed */
    uint64_t events_drained;
    uint64_t events_not_drained;
    uint32_t checkpoints_saved; /* subscriptions whose position is stored */
};
/* No new batch is begun from here on. */
void subscriptions_drain(struct subscriptions *subs);
/* The time for draining is over: each batch commits what it has done so far;
 * an event whose handler is running now is left to the next start. */
void subscriptions_cut(struct subscriptions *subs);
/* Waits for the batches in flight until `deadline_us`; then tells how it
 * went.  May be called again with a later deadline. */
bool subscriptions_drained(struct subscriptions *subs, uint64_t deadline_us,
                           struct stop_result *out);
/* Ends the workers (drain first), gives leases back, frees. */
void subscriptions_stop(struct subscriptions *subs);

/* The keeper's news: the slices that are still held, or nothing reached.
 * Leases of others that may have expired are tried. */
void subscriptions_leases(struct subscriptions *subs,
                          const struct checkpoint *held,
                          size_t count) ON_KEEPER;

/* What is known of one of them; texts are in the caller's arena. */
struct subscription_status {
    struct str name;
    enum subscription_state state;
    struct str reason; /* why paused, or the error; STR_NONE otherwise */
    uint64_t position;
    uint64_t head;
    uint64_t lag_events;
    double lag_seconds; /* age of the oldest unprocessed event; 0 at the head */
    uint64_t events_processed; /* by this process since its start */
    uint64_t events_failed;
    double events_per_second; /* over the last ten seconds */
    double error_rate;        /* a minute */
    struct str last_error;    /* STR_NONE when there was none */
    uint64_t uptime_ms;
    uint32_t script_version;
    struct str script_hash;
    uint32_t generation;
    bool required;
};
/* Never blocks on the store or a script. */
void subscriptions_status(struct subscriptions *subs, struct arena *arena,
                          struct subscription_status **out, size_t *count_out);
/* The heartbeats of the workers, for the liveness probe.  A handler that may
 * run longer than the limit, because its script says so, has both. */
bool subscriptions_are_stalled(struct subscriptions *subs, uint64_t limit_ms,
                               struct buf *who_out);
