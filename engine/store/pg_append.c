#include "store/pg_fields.h"
#include "store/pg_store.h"

#include "base/mem.h"

#include <inttypes.h>

/*
 * The writer's transaction.
 *
 *   begin    `begin`, the log's lock, the delta, the head: one flush with a
 *            sync, so that the server counts us as idle while we decide, and
 *            its timeout frees the lock when we never come back.  (With a
 *            flush alone it would count us as active, for ever.)
 *   lookup   one more round trip, only for what the cache does not know
 *   commit   insert, notice, keys, commit: one flush
 *   guarded  begin, lock, insert if the head is the known one, commit: one
 *            flush, and no wait for us while the lock is ours
 *
 * The lock is taken in a statement of its own: the statements behind it have
 * younger snapshots and see what the one before us committed.
 *
 * The writer's thread owns all of this.
 */

struct pg_writer {
    struct store_writer base;
    struct pg_seat seat;
    bool is_open;      /* between begin and commit or abort */
    bool is_uncertain; /* what became of the last commit */
    uint64_t fence;    /* as the last begin found it */
};

static struct pg_writer *writer_of(struct store_writer *writer)
{
    return CONTAINER_OF(writer, struct pg_writer, base);
}

struct store_writer *pg_writer_open(struct store *store, struct err *err)
{
    struct pg_store *pg = pg_store_of(store);
    struct pg_writer *writer = NEW(struct pg_writer);

    (void)err; /* it connects when it begins */
    writer->base.store = store;
    pg_seat_init(&writer->seat, pg, pg->target, "writer");
    return &writer->base;
}

void pg_writer_close(struct store_writer *base)
{
    struct pg_writer *writer = writer_of(base);

    pg_seat_done(&writer->seat);
    mem_free(writer);
}

/* The transaction is over, or is ended here. */
static void leave(struct pg_writer *writer)
{
    writer->is_open = false;
    pg_seat_rest(&writer->seat);
}

void pg_append_abort(struct store_writer *base)
{
    leave(writer_of(base));
}

/* ---- the lock ---- */

static const char lock_sql[] = "select pg_advisory_xact_lock($1::bigint)";

/* A holder of the log's lock whose client has not spoken for 2 seconds is
 * ended: the second line behind idle_in_transaction_session_timeout, for a
 * server session that does not have it. */
static const char end_holder_sql[] =
    "select pg_terminate_backend(a.pid)"
    "  from pg_locks l join pg_stat_activity a using (pid)"
    " where l.locktype = 'advisory' and l.granted and l.objsubid = 1"
    "   and a.wait_event = 'ClientRead'"
    "   and l.database = (select oid from pg_database"
    "                      where datname = current_database())"
    "   and (l.classid::bigint << 32 | l.objid::bigint) = $1::bigint"
    "   and a.state_change < clock_timestamp() - interval '2 s'";

/* For whoever waited for the lock in vain. */
static void end_holder(struct pg_conn *conn)
{
    struct err ignored;

    pg_rollback(conn);
    pg_put_i64(pg_args(conn), PG_LOCK_LOG);
    pg_send(conn, end_holder_sql);
    if (pg_run(conn, &ignored) != PG_DONE)
        pg_rollback(conn);
}

static void send_lock(struct pg_conn *conn)
{
    pg_put_i64(pg_args(conn), PG_LOCK_LOG);
    pg_send(conn, lock_sql);
}

/*
 * After a commit whose answer was lost: waits the old transaction out, and
 * then for a write of ours to be as durable as the database promises.  When
 * somebody ends a commit that waits for its standby, its rows show although no
 * standby has them; what shows behind a later write that a standby has, is
 * there too.
 *
 * A guess sends lock and rows together: its server may be frozen before it has
 * the lock, and there is nothing to wait for.  The write is to the fence, which
 * that guess asks for as it was, so it will find that it came too late.
 */
static bool wait_out(struct pg_conn *conn, struct err *err)
{
    pg_begin(conn);
    send_lock(conn);
    pg_send(conn, "update perigee.meta set fence = fence + 1");
    if (pg_commit(conn, err) == PG_COMMITTED)
        return true;
    if (pg_fault(conn) == PG_FAULT_LOCKED)
        end_holder(conn);
    return err_wrap(err, "wait for the commit whose answer was lost");
}

/* A connection, and nothing behind us that may still happen. */
static bool take_seat(struct pg_writer *writer, struct err *err)
{
    if (!pg_seat_take(&writer->seat, err))
        return false;
    if (writer->is_uncertain)
        writer->is_uncertain = !wait_out(writer->seat.conn, err);
    return !writer->is_uncertain;
}

/* ---- begin ---- */

/* From `known` on, itself included, to see what stands there. */
static const char delta_sql[] =
    "select e.position, e.stream_id, e.aggregate_type, e.aggregate_id,"
    "       e.aggregate_version, e.event_id"
    "  from perigee.events e where e.position >= $1::bigint"
    " order by e.position limit $2::integer";

static const char head_sql[] =
    "select clock_timestamp(), e.position, e.event_id, m.fence"
    "  from perigee.meta m left join lateral"
    "       (select position, event_id from perigee.events"
    "         order by position desc limit 1) e on true";

/* The place itself, all that may be given, and one more to know that there is
 * more. */
#define DELTA_ROWS (APPEND_DELTA_MAX + 2)

static bool run_begin(struct pg_conn *conn, struct log_place known,
                      struct err *err)
{
    struct pg_args *args;

    pg_begin(conn);
    send_lock(conn);
    args = pg_args(conn);
    pg_put_u64(args, known.position);
    pg_put_i32(args, DELTA_ROWS);
    pg_send(conn, delta_sql);
    pg_send(conn, head_sql);
    if (pg_run(conn, err) == PG_DONE)
        return true;
    if (pg_fault(conn) == PG_FAULT_LOCKED)
        end_holder(conn);
    return false;
}

/* Rows of the delta that come before the first foreign event: 1 when the
 * event at `known` is the one that is known, 0 at the start of the log, -1
 * when the place is not what it was. */
static int known_rows(const PGresult *rows, struct log_place known)
{
    if (known.position == 0)
        return 0;
    if (PQntuples(rows) == 0 || pg_u64(rows, 0, 0) != known.position ||
        !uuid_eq(pg_uuid(rows, 0, 5), known.event_id))
        return -1;
    return 1;
}

static void read_moved(const PGresult *rows, int skip, struct arena *arena,
                       struct append_delta *out)
{
    out->count = (size_t)(PQntuples(rows) - skip);
    out->moved = ARENA_ARRAY(arena, struct append_moved, out->count);
    for (size_t i = 0; i < out->count; i++) {
        int row = (int)i + skip;

        out->moved[i] = (struct append_moved){
            .position = pg_u64(rows, row, 0),
            .stream_id = pg_u64(rows, row, 1),
            .aggregate_type = arena_str(arena, pg_str(rows, row, 2)),
            .aggregate_id = arena_str(arena, pg_str(rows, row, 3)),
            .aggregate_version = pg_u64(rows, row, 4),
            .event_id = pg_uuid(rows, row, 5),
        };
    }
}

static void read_delta(const PGresult *moved, const PGresult *head,
                       struct log_place known, struct arena *arena,
                       struct append_delta *out)
{
    int skip = known_rows(moved, known);

    *out = (struct append_delta){
        .now_us = pg_time(head, 0, 0),
        .head = {pg_u64(head, 0, 1), pg_uuid(head, 0, 2)},
        .cut = skip < 0 || PQntuples(moved) - skip > APPEND_DELTA_MAX,
        .lost = skip < 0,
    };
    if (!out->cut)
        read_moved(moved, skip, arena, out);
}

bool pg_append_begin(struct store_writer *base, struct log_place known,
                     struct arena *arena, struct append_delta *out,
                     struct err *err)
{
    struct pg_writer *writer = writer_of(base);
    struct pg_conn *conn;

    if (!take_seat(writer, err) || !run_begin(writer->seat.conn, known, err)) {
        leave(writer);
        return false;
    }
    conn = writer->seat.conn;
    writer->is_open = true;
    writer->fence = pg_u64(pg_result(conn, 2), 0, 3);
    read_delta(pg_result(conn, 1), pg_result(conn, 2), known, arena, out);
    return true;
}

/* ---- lookup ---- */

static const char streams_sql[] =
    "select s.id, v.aggregate_version, v.event_id"
    "  from unnest($1::text[], $2::text[]) with ordinality u(type, key, place)"
    "  left join perigee.streams s on s.type = u.type and s.key = u.key"
    "  left join lateral"
    "       (select e.aggregate_version, e.event_id from perigee.events e"
    "         where e.stream_id = s.id"
    "         order by e.aggregate_version desc limit 1) v on true"
    " order by u.place";

static const char ids_sql[] = "select " PG_EVENT_COLUMNS
                              "  from perigee.event_ids i join perigee.events e"
                              "    on e.position = i.position"
                              " where i.event_id = any ($1::uuid[])"
                              " order by e.position";

static void send_streams(struct pg_conn *conn,
                         const struct append_lookup *lookup)
{
    struct pg_args *args = pg_args(conn);

    pg_array_begin(args, PG_TEXT, lookup->stream_count);
    for (size_t i = 0; i < lookup->stream_count; i++)
        pg_put_str(args, lookup->streams[i].aggregate_type);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT, lookup->stream_count);
    for (size_t i = 0; i < lookup->stream_count; i++)
        pg_put_str(args, lookup->streams[i].aggregate_id);
    pg_array_end(args);
    pg_send(conn, streams_sql);
}

static void send_ids(struct pg_conn *conn, const struct append_lookup *lookup)
{
    struct pg_args *args = pg_args(conn);

    pg_array_begin(args, PG_UUID, lookup->id_count);
    for (size_t i = 0; i < lookup->id_count; i++)
        pg_put_uuid(args, lookup->ids[i]);
    pg_array_end(args);
    pg_send(conn, ids_sql);
}

static void read_streams(const PGresult *rows, struct append_lookup *lookup)
{
    CHECK((size_t)PQntuples(rows) == lookup->stream_count);
    for (size_t i = 0; i < lookup->stream_count; i++) {
        lookup->streams[i].stream_id = pg_u64(rows, (int)i, 0);
        lookup->streams[i].version = pg_u64(rows, (int)i, 1);
        lookup->streams[i].last_id = pg_uuid(rows, (int)i, 2);
    }
}

static struct event_page *read_events(const PGresult *rows)
{
    struct event_page *page;

    if (PQntuples(rows) == 0)
        return NULL;
    page = event_page_new();
    for (int row = 0; row < PQntuples(rows); row++) {
        struct event event = pg_event(rows, row);

        event_page_add(page, &event);
    }
    return page;
}

static bool run_lookup(struct pg_conn *conn, struct append_lookup *lookup,
                       struct err *err)
{
    send_streams(conn, lookup);
    send_ids(conn, lookup);
    if (lookup->key_count > 0)
        pg_send_asks(conn, lookup->keys, lookup->key_count);
    if (pg_run(conn, err) != PG_DONE)
        return false;
    read_streams(pg_result(conn, 0), lookup);
    lookup->found = read_events(pg_result(conn, 1));
    if (lookup->key_count > 0)
        pg_read_asks(pg_result(conn, 2), lookup->keys, lookup->key_count);
    return true;
}

bool pg_append_lookup(struct store_writer *base, struct append_lookup *lookup,
                      struct err *err)
{
    struct pg_writer *writer = writer_of(base);
    bool ok = writer->is_open || pg_seat_take(&writer->seat, err);

    ok = ok && run_lookup(writer->seat.conn, lookup, err);
    if (!ok || !writer->is_open)
        leave(writer);
    return ok;
}

/* ---- commit ---- */

static enum append_end end_of_fault(enum pg_fault fault)
{
    switch (fault) {
    case PG_FAULT_UNIQUE:
        return APPEND_STALE;
    case PG_FAULT_DATA:
        return APPEND_REFUSED;
    case PG_FAULT_STORE:
    case PG_FAULT_LOCKED:
    case PG_FAULT_STALE:
    case PG_FAULT_EXISTS:
    case PG_FAULT_SETUP:
    case PG_FAULT_FENCED:
        break;
    }
    return APPEND_ROLLED_BACK;
}

static enum append_end commit(struct pg_writer *writer, struct err *err)
{
    enum append_end end = APPEND_UNCERTAIN;

    switch (pg_commit(writer->seat.conn, err)) {
    case PG_COMMITTED:
        end = APPEND_COMMITTED;
        break;
    case PG_ABORTED:
        end = end_of_fault(pg_fault(writer->seat.conn));
        break;
    case PG_UNCERTAIN:
        break;
    }
    writer->is_uncertain = end == APPEND_UNCERTAIN;
    return end;
}

enum append_end pg_append_commit(struct store_writer *base,
                                 const struct append_batch *batch,
                                 struct err *err)
{
    struct pg_writer *writer = writer_of(base);
    enum append_end end;

    pg_send_batch(writer->seat.conn, batch);
    end = commit(writer, err);
    leave(writer);
    return end;
}

/* ---- begin and commit in one ---- */

#define GUARDED_RESULT 1 /* behind the lock's */

static enum append_end run_guarded(struct pg_writer *writer,
                                   struct log_place known,
                                   const struct append_batch *batch,
                                   int64_t *recorded_at_us, struct err *err)
{
    struct pg_conn *conn = writer->seat.conn;
    const PGresult *row;
    enum append_end end;

    pg_begin(conn);
    send_lock(conn);
    pg_send_guarded(conn, known, writer->fence, batch);
    end = commit(writer, err);
    if (pg_fault(conn) == PG_FAULT_LOCKED)
        end_holder(conn);
    if (end != APPEND_COMMITTED)
        return end;
    row = pg_result(conn, GUARDED_RESULT);
    if (PQntuples(row) == 0) {
        err_set(err, ERR_STORE, "others appended behind position %" PRIu64,
                known.position);
        return APPEND_MOVED;
    }
    *recorded_at_us = pg_time(row, 0, 0);
    return APPEND_COMMITTED;
}

enum append_end pg_append_guarded(struct store_writer *base,
                                  struct log_place known,
                                  const struct append_batch *batch,
                                  int64_t *recorded_at_us, struct err *err)
{
    struct pg_writer *writer = writer_of(base);
    enum append_end end = APPEND_ROLLED_BACK;

    CHECK(!writer->is_open && batch->count > 0);
    if (take_seat(writer, err))
        end = run_guarded(writer, known, batch, recorded_at_us, err);
    leave(writer);
    return end;
}
