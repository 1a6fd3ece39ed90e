#include "store/pg_fields.h"
#include "store/pg_store.h"

/*
 * A batch is one pipeline with one sync: begin, the fence, the tables, commit.
 * The fence raises an error when it does not hold, which makes the server skip
 * everything behind it.
 */

static const char advance_sql[] =
    "select perigee.advance($1::text, $2::integer, $3::integer, $4::integer,"
    " $5::bigint, $6::bigint, $7::bigint, $8::uuid, $9::bigint, $10::integer)";

static void send_advance(struct pg_conn *conn, const struct batch_commit *batch)
{
    struct pg_args *args = pg_args(conn);

    pg_put_slice(args, &batch->slice);
    pg_put_u64(args, batch->epoch);
    pg_put_u64(args, batch->from);
    pg_put_u64(args, batch->to);
    pg_put_uuid(args, batch->to_event_id);
    pg_put_u64(args, batch->events_processed);
    pg_put_u32(args, batch->ttl_ms);
    pg_send(conn, advance_sql);
}

static enum commit_end end_of_fault(enum pg_fault fault)
{
    switch (fault) {
    case PG_FAULT_FENCED:
        return COMMIT_FENCED;
    case PG_FAULT_DATA:
    case PG_FAULT_UNIQUE:
        return COMMIT_REFUSED;
    case PG_FAULT_SETUP:
    case PG_FAULT_EXISTS:
        return COMMIT_BROKEN;
    case PG_FAULT_STORE:
    case PG_FAULT_LOCKED:
    case PG_FAULT_STALE:
        break;
    }
    return COMMIT_ROLLED_BACK;
}

static enum commit_end run_batch(struct pg_conn *conn, const char *schema,
                                 const struct batch_commit *batch,
                                 struct err *err)
{
    pg_begin(conn);
    send_advance(conn, batch);
    for (size_t i = 0; i < batch->table_count; i++)
        if (batch->tables[i].count > 0)
            pg_flush(conn, schema, batch->slice.generation, &batch->tables[i]);
    switch (pg_commit(conn, err)) {
    case PG_COMMITTED:
        return COMMIT_DONE;
    case PG_ABORTED:
        return end_of_fault(pg_fault(conn));
    case PG_UNCERTAIN:
        break;
    }
    return COMMIT_UNCERTAIN;
}

enum commit_end pg_commit_batch(struct store *store,
                                const struct batch_commit *batch,
                                struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "batch", err);
    enum commit_end end;

    if (conn == NULL)
        return COMMIT_ROLLED_BACK;
    end = run_batch(conn, pg_store_of(store)->read_schema, batch, err);
    pg_give_back(store, conn);
    return end;
}

/* ---- settling ---- */

/* `for update` waits until the transaction whose answer was lost is over, and
 * reads what it left. */
static const char settle_sql[] =
    "select c.position, c.epoch from perigee.checkpoints c"
    " where c.subscription = $1::text and c.generation = $2::integer"
    "   and c.partition = $3::integer and c.partitions = $4::integer"
    "   for update";

static const char event_sql[] =
    "select 1 from perigee.events"
    " where position = $1::bigint and event_id = $2::uuid";

static enum commit_end judge(const PGresult *row, const PGresult *event,
                             const struct batch_commit *batch)
{
    uint64_t position;

    if (PQntuples(row) == 0 || PQntuples(event) == 0 ||
        pg_u64(row, 0, 1) != batch->epoch)
        return COMMIT_FENCED;
    position = pg_u64(row, 0, 0);
    if (position == batch->to)
        return COMMIT_DONE;
    return position == batch->from ? COMMIT_ROLLED_BACK : COMMIT_FENCED;
}

static enum commit_end run_settle(struct pg_conn *conn,
                                  const struct batch_commit *batch,
                                  struct err *err)
{
    struct pg_args *args = pg_args(conn);
    enum commit_end end;

    pg_put_slice(args, &batch->slice);
    pg_send(conn, settle_sql);
    args = pg_args(conn);
    pg_put_u64(args, batch->to);
    pg_put_uuid(args, batch->to_event_id);
    pg_send(conn, event_sql);
    if (pg_run(conn, err) != PG_DONE)
        return COMMIT_UNCERTAIN;
    end = judge(pg_result(conn, 0), pg_result(conn, 1), batch);
    if (end != COMMIT_DONE)
        err_set(err, ERR_STORE, "the commit whose answer was lost %s",
                end == COMMIT_FENCED ? "was fenced off" : "did not happen");
    return end;
}

enum commit_end pg_commit_settle(struct store *store,
                                 const struct batch_commit *batch,
                                 struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "settle", err);
    enum commit_end end;

    if (conn == NULL)
        return COMMIT_UNCERTAIN;
    end = run_settle(conn, batch, err);
    pg_give_back(store, conn);
    return end;
}
