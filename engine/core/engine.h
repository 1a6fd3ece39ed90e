#pragma once
/*
 * Everything that serves requests, in one place: built in order, stopped in
 * the reverse order.  `serve` builds all of it; a one-shot command builds the
 * part it needs (no subscriptions, keeper or janitor) and talks to it through
 * the same api/ as HTTP does.
 *
 * HTTP listens before the store is reached, so an engine has
 * two ages.  Before engine_is_open() its parts are NULL and only probes,
 * version and shutdown are answered, everything else with ERR_STORE; from then
 * on the parts are there until engine_close, whatever the phase is.
 *
 * Probes read from memory and never wait for a database, a lock that someone
 * works under, or a script.
 */
#include "core/aggregate.h"
#include "core/append_queue.h"
#include "core/feed.h"
#include "core/janitor.h"
#include "core/keeper.h"
#include "core/script_set.h"
#include "core/snapshot_audit.h"
#include "core/subscription.h"
#include "store/pool_size.h"

enum engine_part {
    ENGINE_COMMANDS, /* appends, aggregates, reads */
    ENGINE_SERVE,    /* and subscriptions, the keeper and the janitor */
};

struct engine_options {
    struct store_options store;
    struct pool_plan pool; /* how the store's pool got its size */
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
    uint64_t lag_warning; /* health thresholds, in events */
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
/* As /health and the log call it: "starting". */
const char *engine_phase_name(enum engine_phase phase);

struct engine {
    /* --- set by engine_new, then read only --- */
    struct engine_options options; /* texts are borrowed from the caller */
    struct uuid owner;
    uint64_t started_ms;
    /* --- set by engine_start, read only once engine_is_open --- */
    struct store *store;
    struct uuid log_id; /* of the log at start */
    struct script_set *scripts;
    struct head *head;
    struct append_queue *queue;
    struct snapshots *snapshots;
    struct aggregates *aggregates;
    struct feed *feed;
    struct subscriptions *subs; /* NULL unless serving */
    struct keeper *keeper;      /* NULL unless serving, as the next two */
    struct janitor *janitor;
    struct snapshot_audit *audit;
    /* --- any thread, atomic --- */
    int open;           /* see engine_is_open */
    int phase;          /* enum engine_phase */
    int shutdown_asked; /* POST /api/shutdown */
    /* --- any thread, under lock --- */
    struct lock lock;
    char start_error[512]; /* why it is not open yet, or empty */
    /* --- set before the API serves, read only then --- */
    void (*on_shutdown_asked)(void *arg); /* wakes the loop */
    void *on_shutdown_arg;
    struct heartbeat *loop_beat; /* NULL without a loop */
};

/* An engine that is not open yet; never NULL. */
struct engine *engine_new(const struct engine_options *options);
/* Opens the store, migrates or checks the schema, loads scripts, starts what
 * `part` says; blocks.  `address` is where this engine is served (see
 * store_claim), NULL for a command.  Script faults do not fail it: they show
 * in health.  Everything is taken back on failure, and after ERR_STORE or
 * ERR_POOL_TIMEOUT (the store is away) the caller may try again. */
bool engine_start(struct engine *engine, enum engine_part part,
                  const char *address, struct err *err) MUST_USE;
/* Both in one, for a command. */
struct engine *engine_open(const struct engine_options *options,
                           enum engine_part part, struct err *err) MUST_USE;
/* Stops in the reverse order and frees; NULL is fine.  Graceful draining is
 * core/shutdown's and comes before this. */
void engine_close(struct engine *engine);

/* True once the parts are there; from then until engine_close.  Any thread. */
bool engine_is_open(const struct engine *engine);
/* Why engine_start failed last; empty when it did not. */
void engine_start_error(struct engine *engine, char *text, size_t size);

/* Where it is now.  Any thread. */
enum engine_phase engine_phase(const struct engine *engine);
/* Moves on and logs it: core/shutdown only. */
void engine_move(struct engine *engine, enum engine_phase phase);
