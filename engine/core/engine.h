#pragma once
/*
 * Everything that serves requests, in one place: built in order, stopped in
 * the reverse order.  `serve` builds all of it; a one-shot command builds the
 * part it needs (no subscriptions, no keeper) and talks to it through the same
 * api/ as HTTP does.
 *
 * Probes read `struct picture`, which is refreshed from memory and never waits
 * for a database, a lock that someone works under, or a script.
 */
#include "core/aggregate.h"
#include "core/append_queue.h"
#include "core/feed.h"
#include "core/keeper.h"
#include "core/script_set.h"
#include "core/subscription.h"

enum engine_part {
    ENGINE_STORE_ONLY, /* migrate, check of the schema */
    ENGINE_COMMANDS,   /* and appends, aggregates, reads */
    ENGINE_SERVE,      /* and subscriptions and the keeper */
};

struct engine_options {
    struct store_options store;
    struct script_set_options scripts;
    bool migrate;
    uint32_t command_timeout_ms;
    uint32_t append_timeout_ms;
    uint32_t append_max_waiting;
    uint32_t workers;
    uint32_t lease_ms;
    uint32_t batch_size;
    uint32_t processing_timeout_ms;
    uint32_t feed_blocks;
    uint32_t stall_timeout_ms;
    uint64_t lag_warning;  /* health thresholds, in events */
    uint64_t lag_critical;
};

enum engine_phase {
    PHASE_STARTING,
    PHASE_RUNNING,
    PHASE_STOPPING,
    PHASE_DRAINING,
    PHASE_CHECKPOINTING,
    PHASE_STOPPED,
    PHASE_FORCED,
};
const char *engine_phase_name(enum engine_phase phase);

struct engine {
    /* --- set by engine_open, then read only --- */
    struct engine_options options;
    struct store *store;
    struct script_set *scripts;
    struct head *head;
    struct append_queue *queue;
    struct aggregates *aggregates;
    struct feed *feed;
    struct subscriptions *subs; /* NULL unless serving */
    struct keeper *keeper;      /* NULL unless serving */
    struct uuid owner;
    uint64_t started_ms;
    /* --- any thread, atomic --- */
    int phase; /* enum engine_phase */
    int shutdown_asked; /* POST /api/shutdown */
    /* --- set before the API serves, read only then --- */
    void (*on_shutdown_asked)(void *arg); /* wakes the loop */
    void *on_shutdown_arg;
    struct heartbeat *loop_beat; /* NULL without a loop */
};

/* Opens the store, migrates or checks the schema, loads scripts, starts what
 * `part` says.  Script faults do not fail it: they show in health; a store
 * that is away does (ERR_STORE), unless it is ENGINE_SERVE and the caller
 * tries again. */
struct engine *engine_open(const struct engine_options *options,
                           enum engine_part part, struct err *err) MUST_USE;
/* Stops in the reverse order.  Graceful draining is core/shutdown's and comes
 * before this. */
void engine_close(struct engine *engine);

enum engine_phase engine_phase(const struct engine *engine);
void engine_move(struct engine *engine, enum engine_phase phase);
