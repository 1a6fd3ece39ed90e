#include "store/pool.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "run/thread.h"
#include "store/pg_exchange.h"

#include <inttypes.h>

/*
 *           .--------- nobody waits ---------.
 *           v                                |
 *   FREE --> CONNECTING --> LENT --> (given back) --> IDLE
 *                 ^                    |                |
 *                 '---- who waited <---'                |
 *                 '---------------- asked for ----------'
 *
 * A place that is CONNECTING belongs to the thread that claimed it, with the
 * idle connection that it has to look at, if there is one.  Idle ones are used
 * last in, first out: those that are not needed grow old together, and an
 * answer was just had from the one that is taken.
 *
 * Nobody waits while something is idle or may be opened, so what is free was
 * waited for by nobody, and nobody overtakes.
 */

enum place_state { FREE, CONNECTING, LENT, IDLE, PLACE_STATES };

struct place {
    enum place_state state;
    struct pg_conn *conn;
    const char *who; /* LENT */
    uint64_t since_ms;
    bool is_told; /* that the loan takes too long */
};

struct waiter {
    struct list in_line;
    struct signal granted_signal;
    struct place *granted; /* CONNECTING, and ours; NULL: not yet */
    struct pg_conn *conn;  /* that was in it, ours too, or NULL */
    uint64_t idle_ms;      /* that it was not used */
};

struct pg_pool {
    /* --- set before use, then read only --- */
    struct pg_pool_options options;
    uint32_t place_count;

    /* --- any thread, under lock --- */
    struct lock lock;
    struct place *places;
    uint32_t counts[PLACE_STATES];
    uint32_t reserved;
    struct list waiters; /* in the order of their coming */
    uint32_t waiting;
    uint64_t timeouts;
    uint64_t timeout_at_ms; /* when a wait was last given up; 0: never */
};

struct pg_pool *pg_pool_new(const struct pg_pool_options *options)
{
    struct pg_pool *pool = NEW(struct pg_pool);

    CHECK(options->size > 0);
    pool->options = *options;
    pool->place_count = options->size + options->overflow;
    pool->places = NEW_ARRAY(struct place, pool->place_count);
    pool->counts[FREE] = pool->place_count;
    lock_init(&pool->lock);
    list_init(&pool->waiters);
    return pool;
}

void pg_pool_free(struct pg_pool *pool)
{
    if (pool == NULL)
        return;
    CHECK(pool->counts[LENT] == 0 && pool->counts[CONNECTING] == 0);
    for (uint32_t i = 0; i < pool->place_count; i++)
        pg_conn_close(pool->places[i].conn);
    lock_done(&pool->lock);
    mem_free(pool->places);
    mem_free(pool);
}

/* ---- places ---- */

static void move(struct pg_pool *pool, struct place *place,
                 enum place_state state) REQUIRES(pool->lock)
{
    pool->counts[place->state]--;
    pool->counts[state]++;
    place->state = state;
    place->since_ms = clock_ms();
}

static uint32_t open_now(const struct pg_pool *pool) REQUIRES(pool->lock)
{
    return pool->place_count - pool->counts[FREE];
}

static uint32_t taken_now(const struct pg_pool *pool) REQUIRES(pool->lock)
{
    return open_now(pool) + pool->reserved;
}

/* The one that came to this state last. */
static struct place *find_last(struct pg_pool *pool, enum place_state state)
    REQUIRES(pool->lock)
{
    struct place *found = NULL;

    for (uint32_t i = 0; i < pool->place_count; i++) {
        struct place *place = &pool->places[i];

        if (place->state == state &&
            (found == NULL || place->since_ms >= found->since_ms))
            found = place;
    }
    return found;
}

static struct place *place_of(struct pg_pool *pool, const struct pg_conn *conn)
    REQUIRES(pool->lock)
{
    struct place *place = pool->places;

    while (place->state != LENT || place->conn != conn)
        place++;
    return place;
}

/* An idle connection, or the right to open one; NULL when there is neither. */
static struct place *try_claim(struct pg_pool *pool) REQUIRES(pool->lock)
{
    struct place *place = NULL;

    if (pool->counts[IDLE] > 0)
        place = find_last(pool, IDLE);
    else if (taken_now(pool) < pool->place_count)
        place = find_last(pool, FREE);
    return place;
}

/* The place and what is in it belong to the waiter alone: no other thread looks
 * at a connection that is being asked, opened or closed. */
static void grant(struct pg_pool *pool, struct waiter *waiter,
                  struct place *place) REQUIRES(pool->lock)
{
    waiter->granted = place;
    waiter->conn = place->conn;
    if (place->state == IDLE)
        waiter->idle_ms = clock_ms() - place->since_ms;
    place->conn = NULL;
    move(pool, place, CONNECTING);
}

/* Signalled under the lock: the waiter, and its signal, may be gone as soon as
 * it is given. */
static void grant_first(struct pg_pool *pool, struct place *place)
    REQUIRES(pool->lock)
{
    struct waiter *first =
        LIST_ITEM(pool->waiters.next, struct waiter, in_line);

    list_remove(&first->in_line);
    grant(pool, first, place);
    signal_one(&first->granted_signal);
}

/* Hands a place on, with its connection or empty. */
static void pass_on(struct pg_pool *pool, struct place *place)
    REQUIRES(pool->lock)
{
    if (taken_now(pool) <= pool->place_count && !list_is_empty(&pool->waiters))
        grant_first(pool, place);
    else
        move(pool, place, place->conn != NULL ? IDLE : FREE);
}

/* A place whose connection was taken out of it, and is closed only now: the
 * server must not see one more than there are places. */
static void close_and_pass_on(struct pg_pool *pool, struct place *place,
                              struct pg_conn *conn)
{
    pg_conn_close(conn);
    lock_take(&pool->lock);
    pass_on(pool, place);
    lock_give(&pool->lock);
}

/* Takes the connection out of its place, which stays taken. */
static struct pg_conn *take_out(struct pg_pool *pool, struct place *place)
    REQUIRES(pool->lock)
{
    struct pg_conn *conn = place->conn;

    place->conn = NULL;
    move(pool, place, CONNECTING);
    return conn;
}

/* ---- claiming ---- */

static void wait_in_line(struct pg_pool *pool, struct waiter *waiter,
                         uint64_t deadline_us) REQUIRES(pool->lock)
{
    signal_init(&waiter->granted_signal);
    list_append(&pool->waiters, &waiter->in_line);
    pool->waiting++;
    while (waiter->granted == NULL &&
           signal_wait_until(&waiter->granted_signal, &pool->lock, deadline_us))
        continue;
    pool->waiting--;
    if (waiter->granted == NULL) {
        list_remove(&waiter->in_line);
        pool->timeouts++;
        pool->timeout_at_ms = clock_ms();
    }
    signal_done(&waiter->granted_signal);
}

static bool take_place(struct pg_pool *pool, struct waiter *waiter)
    REQUIRES(pool->lock)
{
    struct place *place = try_claim(pool);

    if (place != NULL)
        grant(pool, waiter, place);
    return place != NULL;
}

/* True with a place that is CONNECTING; false when none came in time. */
static bool claim(struct pg_pool *pool, struct waiter *waiter)
{
    uint64_t began_us = clock_us();
    uint64_t most_us = (uint64_t)pool->options.timeout_ms * 1000;

    lock_take(&pool->lock);
    if (!take_place(pool, waiter))
        wait_in_line(pool, waiter, began_us + most_us);
    lock_give(&pool->lock);
    metric_observe(metric(METRIC_POOL_WAIT),
                   (double)(clock_us() - began_us) / 1e6);
    return waiter->granted != NULL;
}

/* ---- loans ---- */

static void warn_of_loan(const struct place *loan)
{
    log_warning("pool", "connection held too long",
                LOG_TEXT("holder", loan->who),
                LOG_U64("held_ms", clock_ms() - loan->since_ms));
}

static bool is_late(const struct pg_pool *pool, const struct place *place)
{
    return place->state == LENT && !place->is_told &&
           clock_ms() - place->since_ms > pool->options.timeout_ms;
}

static void warn_of_loans(struct pg_pool *pool)
{
    for (uint32_t i = 0; i < pool->place_count; i++) {
        struct place *place = &pool->places[i];
        struct place late = {0};

        lock_take(&pool->lock);
        if (is_late(pool, place)) {
            place->is_told = true;
            late = *place;
        }
        lock_give(&pool->lock);
        if (late.is_told)
            warn_of_loan(&late);
    }
}

/* ---- what idles in vain ---- */

static bool is_too_old(const struct pg_pool *pool, const struct pg_conn *conn)
{
    uint32_t recycle_ms = pool->options.recycle_ms;

    return recycle_ms > 0 && pg_conn_age_ms(conn) >= recycle_ms;
}

/* Opened under load and not needed lately, or so old that nobody would get it:
 * what is used last in, first out might never come back to be looked at. */
static bool is_surplus(const struct pg_pool *pool, const struct place *place)
    REQUIRES(pool->lock)
{
    if (place->state != IDLE)
        return false;
    return is_too_old(pool, place->conn) ||
           (taken_now(pool) > pool->options.size &&
            clock_ms() - place->since_ms >= pool->options.overflow_ms);
}

static struct place *find_surplus(struct pg_pool *pool) REQUIRES(pool->lock)
{
    for (uint32_t i = 0; i < pool->place_count; i++)
        if (is_surplus(pool, &pool->places[i]))
            return &pool->places[i];
    return NULL;
}

static bool close_surplus(struct pg_pool *pool)
{
    struct pg_conn *conn = NULL;
    struct place *place;

    lock_take(&pool->lock);
    place = find_surplus(pool);
    if (place != NULL)
        conn = take_out(pool, place);
    lock_give(&pool->lock);
    if (place != NULL)
        close_and_pass_on(pool, place, conn);
    return place != NULL;
}

void pg_pool_watch(struct pg_pool *pool)
{
    while (close_surplus(pool))
        continue;
    warn_of_loans(pool);
}

/* ---- lending ---- */

bool pg_pool_may_reuse(const struct pg_pool *pool, struct pg_conn *conn,
                       uint64_t idle_ms)
{
    return pg_conn_is_alive(conn) && !is_too_old(pool, conn) &&
           (idle_ms < pool->options.ask_after_ms || pg_conn_ping(conn));
}

/* A connection that works: the one there was, or another. */
static bool connect_waiter(struct pg_pool *pool, struct waiter *waiter,
                           struct err *err)
{
    if (waiter->conn != NULL &&
        !pg_pool_may_reuse(pool, waiter->conn, waiter->idle_ms)) {
        pg_conn_close(waiter->conn);
        waiter->conn = NULL;
    }
    if (waiter->conn == NULL)
        waiter->conn = pg_conn_open(pool->options.target, err);
    return waiter->conn != NULL;
}

static void lend(struct pg_pool *pool, const struct waiter *waiter,
                 const char *who)
{
    struct place *place = waiter->granted;

    lock_take(&pool->lock);
    place->conn = waiter->conn;
    place->who = who;
    place->is_told = false;
    move(pool, place, LENT);
    lock_give(&pool->lock);
}

/* Who waited in vain says who has them. */
static void fail_late(struct pg_pool *pool, struct err *err)
{
    warn_of_loans(pool);
    err_set(err, ERR_POOL_TIMEOUT,
            "no database connection was free within %" PRIu32 " ms",
            pool->options.timeout_ms);
}

struct pg_conn *pg_pool_acquire(struct pg_pool *pool, const char *who,
                                struct err *err)
{
    struct waiter waiter = {0};

    if (!claim(pool, &waiter)) {
        fail_late(pool, err);
        return NULL;
    }
    if (!connect_waiter(pool, &waiter, err)) {
        close_and_pass_on(pool, waiter.granted, NULL);
        return NULL;
    }
    lend(pool, &waiter, who);
    return waiter.conn;
}

void pg_pool_release(struct pg_pool *pool, struct pg_conn *conn)
{
    struct place *place;
    struct place loan;
    bool was_late, is_over;

    if (conn == NULL)
        return;
    pg_rollback(conn);
    pg_clear(conn);
    lock_take(&pool->lock);
    place = place_of(pool, conn);
    loan = *place;
    was_late = is_late(pool, place);
    is_over = !pg_conn_is_open(conn) || is_too_old(pool, conn) ||
              taken_now(pool) > pool->place_count;
    if (is_over)
        (void)take_out(pool, place);
    else
        pass_on(pool, place);
    lock_give(&pool->lock);

    if (is_over)
        close_and_pass_on(pool, place, conn);
    if (was_late)
        warn_of_loan(&loan);
}

/* ---- reserved places ---- */

void pg_pool_reserve(struct pg_pool *pool)
{
    struct pg_conn *surplus = NULL;
    struct place *idle;

    lock_take(&pool->lock);
    CHECK(pool->reserved + 1 < pool->options.size);
    pool->reserved++;
    idle = find_last(pool, IDLE);
    if (idle != NULL && taken_now(pool) > pool->options.size)
        surplus = take_out(pool, idle);
    lock_give(&pool->lock);
    if (surplus != NULL)
        close_and_pass_on(pool, idle, surplus);
}

void pg_pool_unreserve(struct pg_pool *pool)
{
    lock_take(&pool->lock);
    pool->reserved--;
    if (!list_is_empty(&pool->waiters) && taken_now(pool) < pool->place_count)
        grant_first(pool, find_last(pool, FREE));
    lock_give(&pool->lock);
}

/* ---- how it is ---- */

void pg_pool_status(struct pg_pool *pool, struct pool_status *out)
{
    lock_take(&pool->lock);
    *out = (struct pool_status){
        .most = pool->place_count,
        .idle = pool->counts[IDLE],
        .lent = pool->counts[LENT],
        .connecting = pool->counts[CONNECTING],
        .waiting = pool->waiting,
        .timeouts = pool->timeouts,
        .timeout_at_ms = pool->timeout_at_ms,
    };
    lock_give(&pool->lock);
}
