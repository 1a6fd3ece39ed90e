#include "store/lite_pool.h"

#include "base/clock.h"
#include "base/metrics.h"

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
    list_init(&pool->lent);
    list_init(&pool->waiters);
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
    if (!waiter->granted) {
        list_remove(&waiter->in_line);
        pool->timeouts++;
        pool->timeout_at_ms = clock_ms();
    }
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

/* ---- loans ---- */

static void note_loan(struct lite_pool *pool, struct lite_conn *conn,
                      const char *who)
{
    lock_take(&pool->lock);
    conn->lent.who = who;
    conn->lent.since_ms = clock_ms();
    conn->lent.is_told = false;
    list_append(&pool->lent, &conn->in_pool);
    lock_give(&pool->lock);
}

static struct lite_loan end_loan(struct lite_pool *pool, struct lite_conn *conn)
{
    lock_take(&pool->lock);
    list_remove(&conn->in_pool);
    lock_give(&pool->lock);
    return conn->lent;
}

static bool is_late(const struct lite_pool *pool, const struct lite_loan *loan)
{
    return !loan->is_told &&
           clock_ms() - loan->since_ms > pool->options->held_ms;
}

static void warn_of_loan(const struct lite_pool *pool,
                         const struct lite_loan *loan)
{
    log_warning("pool",
                pool->use == LITE_READS ? "connection held too long"
                                        : "turn to write held too long",
                LOG_TEXT("holder", loan->who),
                LOG_U64("held_ms", clock_ms() - loan->since_ms));
}

static bool take_late(struct lite_pool *pool, struct lite_loan *out)
{
    bool found = false;

    lock_take(&pool->lock);
    list_each (&pool->lent, item) {
        struct lite_loan *loan =
            &LIST_ITEM(item, struct lite_conn, in_pool)->lent;

        found = is_late(pool, loan);
        if (!found)
            continue;
        loan->is_told = true;
        *out = *loan;
        break;
    }
    lock_give(&pool->lock);
    return found;
}

void lite_pool_watch(struct lite_pool *pool)
{
    struct lite_loan late;

    while (take_late(pool, &late))
        warn_of_loan(pool, &late);
}

/* ---- idle ones ---- */

static uint32_t close_idle(struct lite_pool *pool)
{
    uint32_t closed = 0;
    uint32_t open;
    struct list idle;

    list_init(&idle);
    lock_take(&pool->lock);
    list_each_safe (&pool->idle, item, after) {
        list_remove(item);
        list_append(&idle, item);
    }
    lock_give(&pool->lock);
    list_each_safe (&idle, item, after) {
        lite_conn_close(LIST_ITEM(item, struct lite_conn, in_pool));
        closed++;
    }
    lock_take(&pool->lock);
    pool->open -= closed;
    open = pool->open;
    lock_give(&pool->lock);
    return open;
}

void lite_pool_done(struct lite_pool *pool)
{
    CHECK(close_idle(pool) == 0);
    lock_done(&pool->lock);
}

/* ---- lending ---- */

static bool claim(struct lite_pool *pool, struct waiter *waiter,
                  uint32_t wait_ms)
{
    uint64_t began_us = clock_us();

    lock_take(&pool->lock);
    if (!try_grant(pool, waiter))
        wait_in_line(pool, waiter, wait_ms);
    lock_give(&pool->lock);
    if (pool->use == LITE_READS)
        metric_observe(metric(METRIC_POOL_WAIT),
                       (double)(clock_us() - began_us) / 1e6);
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

static bool is_shut(struct lite_pool *pool)
{
    bool shut;

    lock_take(&pool->lock);
    shut = pool->is_shut;
    lock_give(&pool->lock);
    return shut;
}

static struct lite_conn *open_one(struct lite_pool *pool, struct err *err)
{
    struct lite_conn *conn = NULL;

    if (is_shut(pool))
        err_set(err, ERR_STORE, "%s: the database is being opened anew",
                pool->options->path);
    else
        conn = lite_conn_open(pool->options, pool->use, err);
    if (conn == NULL)
        pass_on(pool, NULL);
    return conn;
}

/* Who waited in vain says who has them. */
static void fail_late(struct lite_pool *pool, uint32_t wait_ms, struct err *err)
{
    lite_pool_watch(pool);
    err_set(err, ERR_POOL_TIMEOUT, "no %s of the database within %u ms",
            pool->use == LITE_READS ? "free reader" : "turn to write", wait_ms);
}

struct lite_conn *lite_pool_acquire(struct lite_pool *pool, const char *who,
                                    uint32_t wait_ms, struct err *err)
{
    struct waiter waiter = {.granted = false};
    struct lite_conn *conn;

    if (!claim(pool, &waiter, wait_ms)) {
        fail_late(pool, wait_ms, err);
        return NULL;
    }
    conn = waiter.conn != NULL ? waiter.conn : open_one(pool, err);
    if (conn == NULL)
        return NULL;
    lite_conn_lend(conn, clock_ms() + pool->options->statement_ms);
    note_loan(pool, conn, who);
    return conn;
}

void lite_pool_release(struct lite_pool *pool, struct lite_conn *conn)
{
    struct lite_loan ended;

    if (!lite_conn_settle(conn) || is_shut(pool)) {
        lite_pool_discard(pool, conn);
        return;
    }
    ended = end_loan(pool, conn);
    pass_on(pool, conn);
    if (is_late(pool, &ended))
        warn_of_loan(pool, &ended);
}

void lite_pool_discard(struct lite_pool *pool, struct lite_conn *conn)
{
    struct lite_loan ended = end_loan(pool, conn);

    lite_conn_close(conn);
    pass_on(pool, NULL);
    if (is_late(pool, &ended))
        warn_of_loan(pool, &ended);
}

static void set_shut(struct lite_pool *pool, bool shut)
{
    lock_take(&pool->lock);
    pool->is_shut = shut;
    lock_give(&pool->lock);
}

bool lite_pool_shut(struct lite_pool *pool)
{
    set_shut(pool, true);
    return close_idle(pool) == 0;
}

void lite_pool_reopen(struct lite_pool *pool)
{
    set_shut(pool, false);
}

uint32_t lite_pool_open(struct lite_pool *pool)
{
    uint32_t open;

    lock_take(&pool->lock);
    open = pool->open;
    lock_give(&pool->lock);
    return open;
}

static uint32_t count(const struct list *list)
{
    uint32_t n = 0;

    list_each (list, item)
        n++;
    return n;
}

void lite_pool_add_status(struct lite_pool *pool, struct pool_status *status)
{
    uint32_t idle, lent;

    lock_take(&pool->lock);
    idle = count(&pool->idle);
    lent = count(&pool->lent);
    status->most += pool->max;
    status->idle += idle;
    status->lent += lent;
    status->connecting += pool->open - idle - lent;
    status->waiting += count(&pool->waiters);
    status->timeouts += pool->timeouts;
    status->timeout_at_ms = MAX(status->timeout_at_ms, pool->timeout_at_ms);
    lock_give(&pool->lock);
}
