#pragma once
/*
 * Connections to lend, first come first served.
 *
 * The store has two pools: its readers, and the one connection that writes;
 * waiting in that pool is waiting for the writer's turn (appends, batches,
 * leases and DDL all take it).  A connection that comes back is handed to
 * whoever has waited longest, so nobody can overtake.
 *
 * A loan that lasts too long is logged with who took it: while it is still out
 * (lite_pool_watch, and when somebody waited for it in vain), or at last when
 * it comes back.
 *
 * Any thread.  The lock protects the right to a connection, not its opening.
 */
#include "run/thread.h"
#include "store/lite_conn.h"
#include "store/store.h"

struct lite_pool {
    /* --- set before start, then read only --- */
    const struct lite_options *options; /* borrowed from the store */
    enum lite_use use;
    uint32_t max;
    /* --- any thread, under lock --- */
    struct lock lock;
    struct list idle;    /* of struct lite_conn; the last used comes first */
    struct list lent;    /* likewise, in no order */
    struct list waiters; /* in the order of their coming */
    uint32_t open;       /* connections, and rights to open one */
    uint64_t timeouts;
    uint64_t timeout_at_ms; /* when a wait was last given up; 0: never */
    bool is_shut;
};

/* An empty pool of at most `max` connections; nothing is opened yet. */
void lite_pool_init(struct lite_pool *pool, const struct lite_options *options,
                    enum lite_use use, uint32_t max);
/* Everything was given back. */
void lite_pool_done(struct lite_pool *pool);

/* Waits at most `wait_ms`, then ERR_POOL_TIMEOUT; ERR_STORE when a connection
 * cannot be opened.  `who` names the borrower in logs: a literal. */
struct lite_conn *lite_pool_acquire(struct lite_pool *pool, const char *who,
                                    uint32_t wait_ms, struct err *err) MUST_USE;
/* A connection that is stuck in a transaction is closed; another is opened in
 * its place when it is wanted. */
void lite_pool_release(struct lite_pool *pool, struct lite_conn *conn);

/* Gives back and closes. */
void lite_pool_discard(struct lite_pool *pool, struct lite_conn *conn);

/* From now on nothing is lent (ERR_STORE) and what comes back is closed; true
 * when no connection is open any more. */
bool lite_pool_shut(struct lite_pool *pool) MUST_USE;
/* Lends again. */
void lite_pool_reopen(struct lite_pool *pool);

/* Logs the loans that have lasted too long, each once. */
void lite_pool_watch(struct lite_pool *pool);
/* Connections open now. */
uint32_t lite_pool_open(struct lite_pool *pool);
/* Adds how it is now. */
void lite_pool_add_status(struct lite_pool *pool, struct pool_status *status);
