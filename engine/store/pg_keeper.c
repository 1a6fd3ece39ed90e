#include "store/pg_fields.h"
#include "store/pg_store.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>

/*
 * The keeper sits on a connection that listens, and beats over it.  When it
 * breaks, the sleep that notices it ends early, once, and the next beat
 * connects again, not more often than the back-off allows.  Notices that were
 * missed meanwhile do not matter: each beat brings the head.
 *
 * In a small pool there is no such seat: beats borrow, and sleep is sleep.
 *
 * The keeper's thread owns all of this.
 */

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS   2000

struct pg_keeper {
    struct store_keeper base;
    struct pg_seat seat;
    struct pg_conn *listening; /* the seat's connection, once it listens */
    uint64_t opened;           /* the seat's number of that one */
    uint32_t backoff_ms;       /* 0: the last try went well */
    uint64_t next_try_ms;
};

static struct pg_keeper *keeper_of(struct store_keeper *keeper)
{
    return CONTAINER_OF(keeper, struct pg_keeper, base);
}

struct store_keeper *pg_keeper_open(struct store *store, struct err *err)
{
    struct pg_store *pg = pg_store_of(store);
    struct pg_keeper *keeper = NEW(struct pg_keeper);

    (void)err; /* it connects when it beats */
    keeper->base.store = store;
    pg_seat_init(&keeper->seat, pg, pg->direct, "keeper");
    return &keeper->base;
}

void pg_keeper_close(struct store_keeper *base)
{
    struct pg_keeper *keeper = keeper_of(base);

    pg_seat_done(&keeper->seat);
    mem_free(keeper);
}

/* ---- connecting ---- */

static void back_off(struct pg_keeper *keeper)
{
    uint32_t longer = MAX(keeper->backoff_ms * 2, BACKOFF_FIRST_MS);

    keeper->backoff_ms = MIN(longer, BACKOFF_MAX_MS);
    keeper->next_try_ms = clock_ms() + keeper->backoff_ms;
}

static bool listen_again(struct pg_keeper *keeper, struct err *err)
{
    struct pg_conn *conn = keeper->seat.conn;

    if (!keeper->seat.store->has_seats ||
        (keeper->listening != NULL && keeper->opened == keeper->seat.opened))
        return true;
    keeper->listening = NULL;
    pg_send(conn, "listen perigee");
    if (pg_run(conn, err) != PG_DONE)
        return false;
    keeper->listening = conn;
    keeper->opened = keeper->seat.opened;
    return true;
}

static bool connect_again(struct pg_keeper *keeper, struct err *err)
{
    if (keeper->listening != NULL && !pg_conn_is_alive(keeper->listening))
        keeper->listening = NULL;
    if (keeper->listening == NULL && keeper->backoff_ms > 0 &&
        clock_ms() < keeper->next_try_ms)
        return err_set(err, ERR_STORE,
                       "PostgreSQL was not reachable a moment ago");
    if (!pg_seat_take(&keeper->seat, err) || !listen_again(keeper, err)) {
        keeper->listening = NULL; /* the seat may have lost it */
        back_off(keeper);
        return false;
    }
    keeper->backoff_ms = 0;
    return true;
}

/* ---- beating ---- */

/* Rows that a running commit holds are skipped, and shown as they were. */
static const char beat_sql[] =
    "with mine as (select c.subscription, c.generation, c.partition,"
    "       c.partitions from perigee.checkpoints c"
    "    where c.owner = $1::uuid for update skip locked),"
    " renewed as (update perigee.checkpoints c"
    "    set expires_at = clock_timestamp() + $2::integer * interval '1 ms'"
    "   from mine where (c.subscription, c.generation, c.partition,"
    "       c.partitions) = (mine.subscription, mine.generation,"
    "       mine.partition, mine.partitions))"
    "select (select max(position) from perigee.events), "
    "m.log_id, " PG_CHECKPOINT_COLUMNS "  from perigee.meta m"
    "  left join perigee.checkpoints c on c.owner = $1::uuid";

static void read_beat(const PGresult *rows, struct arena *arena,
                      struct beat *out)
{
    size_t count = (size_t)PQntuples(rows);

    *out = (struct beat){
        .head = pg_u64(rows, 0, 0),
        .log_id = pg_uuid(rows, 0, 1),
        .held = ARENA_ARRAY(arena, struct checkpoint, count),
    };
    for (size_t i = 0; i < count; i++) {
        if (pg_is_null(rows, (int)i, 2))
            continue; /* it holds nothing */
        out->held[out->held_count] = pg_checkpoint(rows, (int)i, 2, arena);
        /* The snapshot shows the lease before it was renewed. */
        out->held[out->held_count++].expired = false;
    }
}

static bool run_beat(struct pg_conn *conn, struct uuid owner, uint32_t ttl_ms,
                     struct arena *arena, struct beat *out, struct err *err)
{
    struct pg_args *args = pg_args(conn);

    pg_put_uuid(args, owner);
    pg_put_u32(args, ttl_ms);
    pg_send(conn, beat_sql);
    if (pg_run(conn, err) != PG_DONE)
        return false;
    if (PQntuples(pg_result(conn, 0)) == 0)
        return err_set(err, ERR_CONFIG, "perigee.meta is empty");
    read_beat(pg_result(conn, 0), arena, out);
    return true;
}

bool pg_keeper_beat(struct store_keeper *base, struct uuid owner,
                    uint32_t ttl_ms, struct arena *arena, struct beat *out,
                    struct err *err)
{
    struct pg_keeper *keeper = keeper_of(base);
    bool ok;

    pg_pool_watch(pg_store_of(base->store)->pool);
    if (!connect_again(keeper, err))
        return false;
    ok = run_beat(keeper->seat.conn, owner, ttl_ms, arena, out, err);
    if (!pg_conn_is_open(keeper->seat.conn))
        keeper->listening = NULL;
    pg_seat_rest(&keeper->seat);
    return ok;
}

/* ---- sleeping ---- */

enum sleep_end { SLEEP_ON, SLEEP_NOTICE, SLEEP_OVER };

/* Notices may have been read along with a beat's answer: looked for first. */
static enum sleep_end look(struct pg_keeper *keeper, uint64_t *head_out)
{
    if (keeper->listening == NULL)
        return SLEEP_ON;
    if (pg_conn_notices(keeper->listening, head_out))
        return SLEEP_NOTICE;
    if (pg_conn_is_open(keeper->listening))
        return SLEEP_ON;
    keeper->listening = NULL; /* broken: the early end happens here, once */
    return SLEEP_OVER;
}

static bool is_woken(struct pg_keeper *keeper, int wake_fd, uint64_t left_ms)
{
    int notices =
        keeper->listening != NULL ? pg_conn_socket(keeper->listening) : -1;
    struct pollfd fds[] = {
        {.fd = wake_fd, .events = POLLIN},
        {.fd = notices, .events = POLLIN},
    };
    int ready = poll(fds, COUNT(fds), (int)MIN(left_ms, INT32_MAX));

    return ready > 0 ? fds[0].revents != 0 : ready < 0 && errno != EINTR;
}

bool pg_keeper_wait(struct store_keeper *base, int wake_fd, uint32_t timeout_ms,
                    uint64_t *head_out)
{
    struct pg_keeper *keeper = keeper_of(base);
    uint64_t deadline_ms = clock_ms() + timeout_ms;

    for (;;) {
        enum sleep_end end = look(keeper, head_out);
        uint64_t now = clock_ms();

        if (end != SLEEP_ON)
            return end == SLEEP_NOTICE;
        if (now >= deadline_ms || is_woken(keeper, wake_fd, deadline_ms - now))
            return false;
    }
}
