#pragma once
/*
 * Connections to PostgreSQL that are borrowed and given back.
 *
 *   acquire   an idle connection that is alive, or a new one while there are
 *             fewer than `size + overflow`, or the next that is given back, in
 *             the order in which it was asked for
 *   release   to who has waited longest; else idle.  One that is broken, or
 *             older than `recycle_ms`, is closed and leaves its place
 *   watch     now and then: closes what was opened under load and has been idle
 *             since, and logs loans that take too long
 *
 * What the lock protects is the right to a connection; connecting and asking
 * are done outside of it.  A connection that sat idle is asked before it is
 * lent.  A loan that is not given back within the timeout is logged with who
 * took it: while it is still out (pg_pool_watch), or at last when it comes
 * back.  Any thread.
 */
#include "store/pg_conn.h"
#include "store/store.h"

struct pg_pool;

#define PG_POOL_NEVER_ASK UINT32_MAX

struct pg_pool_options {
    const struct pg_target *target; /* borrowed: freed after the pool */
    uint32_t size;         /* connections that stay, reserved ones included */
    uint32_t overflow;     /* more under load */
    uint32_t overflow_ms;  /* ... which are closed when idle for so long */
    uint32_t timeout_ms;   /* wait for one, then ERR_POOL_TIMEOUT */
    uint32_t recycle_ms;   /* 0: they grow as old as they like */
    uint32_t ask_after_ms; /* idle for so long: asked before it is lent */
};

/* Connects to nothing yet. */
struct pg_pool *pg_pool_new(const struct pg_pool_options *options);
/* All loans must be back. */
void pg_pool_free(struct pg_pool *pool);

/* `who` names the borrower in logs: a literal. */
struct pg_conn *pg_pool_acquire(struct pg_pool *pool, const char *who,
                                struct err *err) MUST_USE;
/* Rolls back what was left open.  NULL is fine. */
void pg_pool_release(struct pg_pool *pool, struct pg_conn *conn);

/* Whether a connection that nobody used for `idle_ms` may be used again: not
 * lost, not too old, and answering where it has to be asked. */
bool pg_pool_may_reuse(const struct pg_pool *pool, struct pg_conn *conn,
                       uint64_t idle_ms);

/* Keeps a place for a connection that somebody opens for himself, or gives it
 * back; at least one place is left. */
void pg_pool_reserve(struct pg_pool *pool);
void pg_pool_unreserve(struct pg_pool *pool);

/* Closes connections that idle beyond `size` for `overflow_ms`, or beyond
 * `recycle_ms`, and logs loans that have been out for longer than the timeout,
 * each once. */
void pg_pool_watch(struct pg_pool *pool);
/* How it is now; reserved places are not counted. */
void pg_pool_status(struct pg_pool *pool, struct pool_status *out);
