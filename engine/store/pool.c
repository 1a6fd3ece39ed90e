#include "store/pool.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "run/thread.h"
#include "store/pg_exchange.h"

#include <inttypes.h>

/*
 * A place is free, connecting, lent, or idle.  Idle ones are used last in,
 * first out: the ones that are not needed grow old together, and an answer
 * was just had from the one that is taken.
 */

#define IDLE_UNASKED_MS 10000
#define LARGEST_POOL    256

struct loan {
    struct pg_conn *conn; /* NULL: no loan */
    const char *who;
    uint64_t since_ms;
    bool is_told; /* that it takes too long */
};

struct idle {
    struct pg_conn *conn;
    uint64_t since_ms;
};

struct pg_pool {
    /* --- set before use, then read only --- */
    const struct pg_target *target;
    uint32_t timeout_ms;

    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal changed; /* a connection or a place became free */
    uint32_t max;
    uint32_t open; /* idle, lent and connecting */
    struct idle idle[LARGEST_POOL];
    uint32_t idle_count;
    struct loan loans[LARGEST_POOL];
};

struct pg_pool *pg_pool_new(const struct pg_pool_options *options)
{
    struct pg_pool *pool = NEW(struct pg_pool);

    CHECK(options->max > 0 && options->max <= LARGEST_POOL);
    pool->target = options->target;
    pool->timeout_ms = options->timeout_ms;
    pool->max = options->max;
    lock_init(&pool->lock);
    signal_init(&pool->changed);
    return pool;
}

void pg_pool_free(struct pg_pool *pool)
{
    if (pool == NULL)
        return;
    CHECK(pool->open == pool->idle_count);
    for (uint32_t i = 0; i < pool->idle_count; i++)
        pg_conn_close(pool->idle[i].conn);
    signal_done(&pool->changed);
    lock_done(&pool->lock);
    mem_free(pool);
}

/* ---- claiming ---- */

enum claim { CLAIM_IDLE, CLAIM_PLACE, CLAIM_NONE };

static enum claim try_claim(struct pg_pool *pool, struct idle *idle_out)
    REQUIRES(pool->lock)
{
    if (pool->idle_count > 0) {
        *idle_out = pool->idle[--pool->idle_count];
        return CLAIM_IDLE;
    }
    if (pool->open >= pool->max)
        return CLAIM_NONE;
    pool->open++;
    return CLAIM_PLACE;
}

static enum claim claim(struct pg_pool *pool, uint64_t deadline_us,
                        struct idle *idle_out)
{
    enum claim got;

    lock_take(&pool->lock);
    while ((got = try_claim(pool, idle_out)) == CLAIM_NONE)
        if (!signal_wait_until(&pool->changed, &pool->lock, deadline_us))
            break;
    lock_give(&pool->lock);
    return got;
}

static void give_place_back(struct pg_pool *pool)
{
    lock_take(&pool->lock);
    pool->open--;
    signal_one(&pool->changed);
    lock_give(&pool->lock);
}

/* Replaces a connection that died while it was idle: the place is kept. */
static struct pg_conn *revive(struct idle idle)
{
    bool was_long = clock_ms() - idle.since_ms >= IDLE_UNASKED_MS;

    if (pg_conn_is_alive(idle.conn) && (!was_long || pg_conn_ping(idle.conn)))
        return idle.conn;
    pg_conn_close(idle.conn);
    return NULL;
}

/* ---- loans ---- */

static void note_loan(struct pg_pool *pool, struct pg_conn *conn,
                      const char *who)
{
    struct loan *loan = pool->loans;

    lock_take(&pool->lock);
    while (loan->conn != NULL)
        loan++;
    *loan = (struct loan){conn, who, clock_ms(), false};
    lock_give(&pool->lock);
}

static struct loan end_loan(struct pg_pool *pool, const struct pg_conn *conn)
    REQUIRES(pool->lock)
{
    struct loan *loan = pool->loans;
    struct loan ended;

    while (loan->conn != conn)
        loan++;
    ended = *loan;
    loan->conn = NULL;
    return ended;
}

static void warn_of_loan(const struct loan *loan, uint64_t held_ms)
{
    log_warning("pool", "connection held too long",
                LOG_TEXT("holder", loan->who), LOG_U64("held_ms", held_ms));
}

/* Who finds no connection says who has them, each loan once. */
static void warn_of_loans(struct pg_pool *pool)
{
    uint64_t now = clock_ms();
    struct loan late[LARGEST_POOL];
    size_t count = 0;

    lock_take(&pool->lock);
    for (size_t i = 0; i < COUNT(pool->loans); i++) {
        struct loan *loan = &pool->loans[i];

        if (loan->conn == NULL || loan->is_told ||
            now - loan->since_ms < pool->timeout_ms)
            continue;
        loan->is_told = true;
        late[count++] = *loan;
    }
    lock_give(&pool->lock);
    for (size_t i = 0; i < count; i++)
        warn_of_loan(&late[i], now - late[i].since_ms);
}

/* ---- the pool ---- */

struct pg_conn *pg_pool_acquire(struct pg_pool *pool, const char *who,
                                struct err *err)
{
    uint64_t deadline_us = clock_us() + (uint64_t)pool->timeout_ms * 1000;
    struct idle idle = {0};
    enum claim got = claim(pool, deadline_us, &idle);
    struct pg_conn *conn = NULL;

    if (got == CLAIM_NONE) {
        warn_of_loans(pool);
        err_set(err, ERR_POOL_TIMEOUT,
                "no database connection was free within %" PRIu32 " ms",
                pool->timeout_ms);
        return NULL;
    }
    if (got == CLAIM_IDLE)
        conn = revive(idle);
    if (conn == NULL)
        conn = pg_conn_open(pool->target, err);
    if (conn == NULL)
        give_place_back(pool);
    else
        note_loan(pool, conn, who);
    return conn;
}

void pg_pool_release(struct pg_pool *pool, struct pg_conn *conn)
{
    struct loan loan;
    uint64_t now;
    bool is_kept;

    if (conn == NULL)
        return;
    pg_rollback(conn);
    pg_clear(conn);
    now = clock_ms();
    lock_take(&pool->lock);
    loan = end_loan(pool, conn);
    is_kept = pg_conn_is_open(conn) && pool->open <= pool->max;
    if (is_kept)
        pool->idle[pool->idle_count++] = (struct idle){conn, now};
    else
        pool->open--;
    signal_one(&pool->changed);
    lock_give(&pool->lock);

    if (!is_kept)
        pg_conn_close(conn);
    if (now - loan.since_ms > pool->timeout_ms && !loan.is_told)
        warn_of_loan(&loan, now - loan.since_ms);
}

void pg_pool_reserve(struct pg_pool *pool)
{
    struct idle surplus = {0};

    lock_take(&pool->lock);
    CHECK(pool->max > 1);
    pool->max--;
    if (pool->open > pool->max && pool->idle_count > 0) {
        surplus = pool->idle[--pool->idle_count];
        pool->open--;
    }
    lock_give(&pool->lock);
    pg_conn_close(surplus.conn);
}

void pg_pool_unreserve(struct pg_pool *pool)
{
    lock_take(&pool->lock);
    pool->max++;
    signal_one(&pool->changed);
    lock_give(&pool->lock);
}

uint32_t pg_pool_open(struct pg_pool *pool)
{
    uint32_t open;

    lock_take(&pool->lock);
    open = pool->open;
    lock_give(&pool->lock);
    return open;
}
