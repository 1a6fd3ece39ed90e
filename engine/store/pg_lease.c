#include "store/pg_fields.h"
#include "store/pg_store.h"

#include <inttypes.h>

void pg_put_slice(struct pg_args *args, const struct slice *slice)
{
    pg_put_str(args, slice->subscription);
    pg_put_u32(args, slice->generation);
    pg_put_u32(args, slice->partition);
    pg_put_u32(args, slice->partitions);
}

struct checkpoint pg_checkpoint(const PGresult *rows, int row, int column,
                                struct arena *arena)
{
    return (struct checkpoint){
        .slice.subscription = arena_str(arena, pg_str(rows, row, column)),
        .slice.generation = pg_u32(rows, row, column + 1),
        .slice.partition = pg_u32(rows, row, column + 2),
        .slice.partitions = pg_u32(rows, row, column + 3),
        .position = pg_u64(rows, row, column + 4),
        .epoch = pg_u64(rows, row, column + 5),
        .owner = pg_uuid(rows, row, column + 6),
        .expired = pg_bool(rows, row, column + 7),
        .events_processed = pg_u64(rows, row, column + 8),
        .updated_at_us = pg_time(rows, row, column + 9),
    };
}

/* ---- taking ---- */

#define KEY                                                                    \
    "c.subscription = $1::text and c.generation = $2::integer"                 \
    " and c.partition = $3::integer and c.partitions = $4::integer"

/* `skip locked`: a row that a running commit holds is not waited for. */
static const char take_sql[] =
    "with free as (select 1 from perigee.checkpoints c where " KEY
    "    and (c.owner is null or c.owner = $5::uuid"
    "         or c.expires_at <= clock_timestamp())"
    "    for update skip locked)"
    "update perigee.checkpoints c"
    "   set owner = $5::uuid, epoch = c.epoch + 1,"
    "       expires_at = clock_timestamp() + $6::integer * interval '1 ms'"
    "  from free where " KEY " returning c.position";

static const char look_sql[] =
    "select " PG_CHECKPOINT_COLUMNS " from perigee.checkpoints c where " KEY;

static const char layout_sql[] =
    "select c.partitions from perigee.checkpoints c"
    " where c.subscription = $1::text and c.generation = $2::integer limit 1";

static void send_take(struct pg_conn *conn, const struct slice *slice,
                      struct uuid owner, uint32_t ttl_ms)
{
    struct pg_args *args = pg_args(conn);

    pg_put_slice(args, slice);
    pg_put_uuid(args, owner);
    pg_put_u32(args, ttl_ms);
    pg_send(conn, take_sql);
    args = pg_args(conn);
    pg_put_slice(args, slice);
    pg_send(conn, look_sql);
    args = pg_args(conn);
    pg_put_str(args, slice->subscription);
    pg_put_u32(args, slice->generation);
    pg_send(conn, layout_sql);
}

static bool say_missing(const struct slice *slice, const PGresult *layout,
                        struct err *err)
{
    if (PQntuples(layout) == 0)
        return err_set(err, ERR_NOT_FOUND,
                       "subscription '%.*s' has no checkpoint in generation "
                       "%" PRIu32,
                       STR_ARG(slice->subscription), slice->generation);
    return err_set(err, ERR_CONFLICT,
                   "generation %" PRIu32 " of subscription '%.*s' is laid out "
                   "in %" PRIu32 " partitions, not in %" PRIu32,
                   slice->generation, STR_ARG(slice->subscription),
                   pg_u32(layout, 0, 0), slice->partitions);
}

static enum lease_end read_take(struct pg_conn *conn, const struct slice *slice,
                                struct checkpoint *out, struct err *err)
{
    const PGresult *row = pg_result(conn, 1);
    struct arena texts = {0};

    if (PQntuples(row) == 0) {
        say_missing(slice, pg_result(conn, 2), err);
        return LEASE_FAILED;
    }
    *out = pg_checkpoint(row, 0, 0, &texts);
    out->slice = *slice;
    arena_done(&texts);
    return PQntuples(pg_result(conn, 0)) > 0 ? LEASE_TAKEN : LEASE_REFUSED;
}

enum lease_end pg_lease_take(struct store *store, const struct slice *slice,
                             struct uuid owner, uint32_t ttl_ms,
                             struct checkpoint *out, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "lease", err);
    enum lease_end end = LEASE_FAILED;

    if (conn == NULL)
        return LEASE_FAILED;
    send_take(conn, slice, owner, ttl_ms);
    if (pg_run(conn, err) == PG_DONE)
        end = read_take(conn, slice, out, err);
    pg_give_back(store, conn);
    return end;
}

/* ---- the others ---- */

static const char release_sql[] =
    "update perigee.checkpoints set owner = null, expires_at = null"
    " where owner = $1::uuid";

bool pg_lease_release(struct store *store, struct uuid owner, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "lease release", err);
    bool ok;

    if (conn == NULL)
        return false;
    pg_put_uuid(pg_args(conn), owner);
    pg_send(conn, release_sql);
    ok = pg_run(conn, err) == PG_DONE;
    pg_give_back(store, conn);
    return ok;
}

static const char list_sql[] =
    "select " PG_CHECKPOINT_COLUMNS " from perigee.checkpoints c"
    " order by c.subscription, c.generation, c.partition, c.partitions";

bool pg_list_checkpoints(struct store *store, struct arena *arena,
                         struct checkpoint **rows_out, size_t *count_out,
                         struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "checkpoints", err);
    bool ok;

    if (conn == NULL)
        return false;
    pg_send(conn, list_sql);
    ok = pg_run(conn, err) == PG_DONE;
    if (ok) {
        const PGresult *rows = pg_result(conn, 0);
        size_t count = (size_t)PQntuples(rows);

        *rows_out = ARENA_ARRAY(arena, struct checkpoint, count);
        *count_out = count;
        for (size_t i = 0; i < count; i++)
            (*rows_out)[i] = pg_checkpoint(rows, (int)i, 0, arena);
    }
    pg_give_back(store, conn);
    return ok;
}
