#include "store/lite_pool.h"

#include "base/clock.h"

/* A right to a connection: an idle one, or with `conn` NULL to open one. */
struct waiter {
    struct list in_line;
    struct signal granted_signal;
    bool granted;
    struct lite_conn *conn;
};

void lite_pool_init(struct lite_pool *pool, const struct lite_options *options,
                    enum lite_use use, uint32_t max)
{
    *pool = (struct lite_pool){.options = options, .use = use, .max = max};
    lock_init(&pool->lock);
    list_init(&pool->idle);
    list_init(&pool->waiters);
}

void lite_pool_done(struct lite_pool *pool)
{
    uint32_t closed = 0;

    list_each_safe (&pool->idle, item, after) {
        lite_conn_close(LIST_ITEM(item, struct lite_conn, in_pool));
        closed++;
    }
    CHECK(closed == pool->open);
    lock_done(&pool->lock);
}

/* ---- under the lock ---- */

static struct lite_conn *take_idle(struct lite_pool *pool) REQUIRES(pool->lock)
{
    struct list *first = pool->idle.next;

    if (list_is_empty(&pool->idle))
        return NULL;
    list_remove(first);
    return LIST_ITEM(first, struct lite_conn, in_pool);
}

/* Nobody waits while something is idle or may be opened, so what is free here
 * was waited for by nobody. */
static bool try_grant(struct lite_pool *pool, struct waiter *waiter)
    REQUIRES(pool->lock)
{
    waiter->conn = take_idle(pool);
    if (waiter->conn == NULL) {
        if (pool->open == pool->max)
            return false;
        pool->open++;
    }
    waiter->granted = true;
    return true;
}

static void wait_in_line(struct lite_pool *pool, struct waiter *waiter,
                         uint32_t wait_ms) REQUIRES(pool->lock)
{
    uint64_t deadline_us = clock_us() + (uint64_t)wait_ms * 1000;

    signal_init(&waiter->granted_signal);
    list_append(&pool->waiters, &waiter->in_line);
    while (!waiter->granted &&
           signal_wait_until(&waiter->granted_signal, &pool->lock, deadline_us))
        continue;
    if (!waiter->granted)
        list_remove(&waiter->in_line);
    signal_done(&waiter->granted_signal);
}

/* Signalled under the lock: the waiter, and its signal, may be gone as soon
 * as it is given. */
static void grant_first(struct lite_pool *pool, struct lite_conn *conn)
    REQUIRES(pool->lock)
{
    struct waiter *first =
        LIST_ITEM(pool->waiters.next, struct waiter, in_line);

    list_remove(&first->in_line);
    first->conn = conn;
    first->granted = true;
    signal_one(&first->granted_signal);
}

/* ---- lending ---- */

static bool claim(struct lite_pool *pool, struct waiter *waiter,
                  uint32_t wait_ms)
{
    lock_take(&pool->lock);
    if (!try_grant(pool, waiter))
        wait_in_line(pool, waiter, wait_ms);
    lock_give(&pool->lock);
    return waiter->granted;
}

/* Passes on a connection, or with NULL the right to open one. */
static void pass_on(struct lite_pool *pool, struct lite_conn *conn)
{
    lock_take(&pool->lock);
    if (!list_is_empty(&pool->waiters))
        grant_first(pool, conn);
    else if (conn != NULL)
        list_prepend(&pool->idle, &conn->in_pool);
    else
        pool->open--;
    lock_give(&pool->lock);
}

static struct lite_conn *open_one(struct lite_pool *pool, struct err *err)
{
    struct lite_conn *conn = lite_conn_open(pool->options, pool->use, err);

    if (conn == NULL)
        pass_on(pool, NULL);
    return conn;
}

struct lite_conn *lite_pool_acquire(struct lite_pool *pool, uint32_t wait_ms,
                                    struct err *err)
{
    struct waiter waiter = {.granted = false};
    struct lite_conn *conn;

    if (!claim(pool, &waiter, wait_ms)) {
        err_set(err, ERR_POOL_TIMEOUT, "no %s of the database within %u ms",
                pool->use == LITE_READS ? "free reader" : "turn to write",
                wait_ms);
        return NULL;
    }
    conn = waiter.conn != NULL ? waiter.conn : open_one(pool, err);
    if (conn != NULL)
        lite_conn_lend(conn, clock_ms() + pool->options->statement_ms);
    return conn;
}

void lite_pool_release(struct lite_pool *pool, struct lite_conn *conn)
{
    if (lite_conn_settle(conn)) {
        pass_on(pool, conn);
        return;
    }
    lite_conn_close(conn);
    pass_on(pool, NULL);
}

uint32_t lite_pool_open(struct lite_pool *pool)
{
    uint32_t open;

    lock_take(&pool->lock);
    open = pool->open;
    lock_give(&pool->lock);
    return open;
}
