#pragma once
/*
 * Connections to PostgreSQL that are borrowed and given back.
 *
 *   acquire   an idle connection that is alive, or a new one while there are
 *             fewer than `max`, or the next one that is given back
 *   release   whole: idle, for whoever waits; broken: its place is free
 *
 * What the lock protects is the right to a connection; connecting and asking
 * are done outside of it.  A connection that sat idle is asked before it is
 * lent; a loan that is not given back within the timeout is logged with who
 * took it.  Any thread.
 */
#include "store/pg_conn.h"

struct pg_pool;

struct pg_pool_options {
    const struct pg_target *target; /* borrowed: freed after the pool */
    uint32_t max;                   /* connections, reserved ones included */
    uint32_t timeout_ms;            /* wait for one, then ERR_POOL_TIMEOUT */
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

/* Keeps a place for a connection that somebody opens for himself, or gives it
 * back; at least one place is left. */
void pg_pool_reserve(struct pg_pool *pool);
void pg_pool_unreserve(struct pg_pool *pool);

/* Open now, reserved places not counted. */
uint32_t pg_pool_open(struct pg_pool *pool);
