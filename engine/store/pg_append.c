#include "store/pg_fields.h"
#include "store/pg_store.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * The writer's transaction.
 *
 *   begin    `begin`, the log's lock, the delta, the head: one flush with a
 *            sync, so that the server counts us as idle while we decide, and
 *            its timeout frees the lock when we never come back.  (With a
 *            flush alone it would count us as active, for ever.)
 *   lookup   one more round trip, only for what the cache does not know
 *   commit   insert, notice, commit: one flush
 *
 * The lock is taken in a statement of its own: the statements behind it have
 * younger snapshots and see what the one before us committed.
 *
 * The writer's thread owns all of this.
 */

struct pg_writer {
    struct store_writer base;
    struct pg_seat seat;
    bool is_uncertain; /* what became of the last commit */
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

void pg_append_abort(struct store_writer *base)
{
    pg_seat_rest(&writer_of(base)->seat);
}

/* ---- begin ---- */

static const char lock_sql[] = "select pg_advisory_xact_lock($1::bigint)";

/* From `known` on, itself included, to see what stands there. */
static const char delta_sql[] =
    "select e.position, e.stream_id, e.aggregate_type, e.aggregate_id,"
    "       e.aggregate_version, e.event_id"
    "  from perigee.events e where e.position >= $1::bigint"
    " order by e.position limit $2::integer";

static const char head_sql[] =
    "select clock_timestamp(), e.position, e.event_id"
    "  from (select 1) one left join lateral"
    "       (select position, event_id from perigee.events"
    "         order by position desc limit 1) e on true";

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

static void end_holder(struct pg_conn *conn)
{
    struct err ignored;

    pg_rollback(conn);
    pg_put_i64(pg_args(conn), PG_LOCK_LOG);
    pg_send(conn, end_holder_sql);
    if (pg_run(conn, &ignored) != PG_DONE)
        pg_rollback(conn);
}

/* The place itself, all that may be given, and one more to know that there is
 * more. */
#define DELTA_ROWS (APPEND_DELTA_MAX + 2)

static bool run_begin(struct pg_conn *conn, struct log_place known,
                      struct err *err)
{
    struct pg_args *args;

    pg_begin(conn);
    pg_put_i64(pg_args(conn), PG_LOCK_LOG);
    pg_send(conn, lock_sql);
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

/*
 * After a commit whose answer was lost: waits the old transaction out, and
 * then for a write of ours to be as durable as the database promises.  When
 * somebody ends a commit that waits for its standby, its rows show although no
 * standby has them; what shows behind a later write that a standby has, is
 * there too.
 */
static bool wait_out(struct pg_conn *conn, struct err *err)
{
    pg_begin(conn);
    pg_put_i64(pg_args(conn), PG_LOCK_LOG);
    pg_send(conn, lock_sql);
    pg_send(conn, "select 1 from perigee.meta for update");
    if (pg_commit(conn, err) == PG_COMMITTED)
        return true;
    if (pg_fault(conn) == PG_FAULT_LOCKED)
        end_holder(conn);
    return err_wrap(err, "wait for the commit whose answer was lost");
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
    };
    if (!out->cut)
        read_moved(moved, skip, arena, out);
}

bool pg_append_begin(struct store_writer *base, struct log_place known,
                     struct arena *arena, struct append_delta *out,
                     struct err *err)
{
    struct pg_writer *writer = writer_of(base);
    struct pg_seat *seat = &writer->seat;

    if (!pg_seat_take(seat, err))
        return false;
    if (writer->is_uncertain)
        writer->is_uncertain = !wait_out(seat->conn, err);
    if (writer->is_uncertain || !run_begin(seat->conn, known, err)) {
        pg_seat_rest(seat);
        return false;
    }
    read_delta(pg_result(seat->conn, 1), pg_result(seat->conn, 2), known, arena,
               out);
    return true;
}

/* ---- lookup ---- */

static const char streams_sql[] =
    "select s.id, v.aggregate_version"
    "  from unnest($1::text[], $2::text[]) with ordinality u(type, key, place)"
    "  left join perigee.streams s on s.type = u.type and s.key = u.key"
    "  left join lateral"
    "       (select e.aggregate_version from perigee.events e"
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

bool pg_append_lookup(struct store_writer *base, struct append_lookup *lookup,
                      struct err *err)
{
    struct pg_conn *conn = writer_of(base)->seat.conn;

    send_streams(conn, lookup);
    send_ids(conn, lookup);
    if (pg_run(conn, err) != PG_DONE) {
        pg_append_abort(base);
        return false;
    }
    read_streams(pg_result(conn, 0), lookup);
    lookup->found = read_events(pg_result(conn, 1));
    return true;
}

/* ---- commit ---- */

/* One statement for events, ids and new streams: a stream is new when its id
 * is the position of the event at hand. */
static const char insert_sql[] =
    "with u as (select * from unnest($1::bigint[], $2::bigint[], $3::bigint[],"
    "    $4::uuid[], $5::text[], $6::integer[], $7::text[], $8::text[],"
    "    $9::text[], $10::text[], $11::text[], $12::text[],"
    "    $13::timestamptz[], $14::timestamptz[], $15::json[], $16::json[])"
    "  as u(stream_id, position, aggregate_version, event_id, event_type,"
    "    event_version, aggregate_type, aggregate_id, tenant_id, actor_id,"
    "    correlation_id, causation_id, occurred_at, recorded_at, data,"
    "    metadata)),"
    " new_streams as (insert into perigee.streams (id, type, key)"
    "   select position, aggregate_type, aggregate_id from u"
    "    where stream_id = position),"
    " new_ids as (insert into perigee.event_ids (event_id, position)"
    "   select event_id, position from u)"
    "insert into perigee.events (stream_id, position, aggregate_version,"
    "    event_id, event_type, event_version, aggregate_type, aggregate_id,"
    "    tenant_id, actor_id, correlation_id, causation_id, occurred_at,"
    "    recorded_at, data, metadata)"
    " select * from u";

/* Its parameters but the first, which is no member of an event. */
/* clang-format off */
#define COLUMN(type, member) {type, offsetof(struct event, member)}
static const struct column {
    enum pg_type type;
    size_t offset;
} columns[] = {
    COLUMN(PG_INT8,        position),
    COLUMN(PG_INT8,        aggregate_version),
    COLUMN(PG_UUID,        event_id),
    COLUMN(PG_TEXT,        event_type),
    COLUMN(PG_INT4,        event_version),
    COLUMN(PG_TEXT,        aggregate_type),
    COLUMN(PG_TEXT,        aggregate_id),
    COLUMN(PG_TEXT,        tenant_id),
    COLUMN(PG_TEXT,        actor_id),
    COLUMN(PG_TEXT,        correlation_id),
    COLUMN(PG_TEXT,        causation_id),
    COLUMN(PG_TIMESTAMPTZ, occurred_at_us),
    COLUMN(PG_TIMESTAMPTZ, recorded_at_us),
    COLUMN(PG_JSON,        data),
    COLUMN(PG_JSON,        metadata),
};
/* clang-format on */

/* What a type of the statement is in memory. */
static void put_member(struct pg_args *args, enum pg_type type,
                       const void *member)
{
    if (type == PG_INT8)
        pg_put_u64(args, *(const uint64_t *)member);
    else if (type == PG_INT4)
        pg_put_u32(args, *(const uint32_t *)member);
    else if (type == PG_UUID)
        pg_put_uuid(args, *(const struct uuid *)member);
    else if (type == PG_TIMESTAMPTZ)
        pg_put_time(args, *(const int64_t *)member);
    else
        pg_put_str(args, *(const struct str *)member);
}

static void put_column(struct pg_args *args, const struct append_batch *batch,
                       const struct column *column)
{
    pg_array_begin(args, column->type, batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        const char *event = (const char *)batch->rows[i].event;

        put_member(args, column->type, event + column->offset);
    }
    pg_array_end(args);
}

static void send_insert(struct pg_conn *conn, const struct append_batch *batch)
{
    struct pg_args *args = pg_args(conn);

    pg_array_begin(args, PG_INT8, batch->count);
    for (size_t i = 0; i < batch->count; i++)
        pg_put_u64(args, batch->rows[i].stream_id);
    pg_array_end(args);
    for (size_t i = 0; i < COUNT(columns); i++)
        put_column(args, batch, &columns[i]);
    pg_send(conn, insert_sql);
}

static const char notify_sql[] = "select pg_notify('perigee', $1::text)";

/* Other instances wake by it; once a batch, since notices serialise commits. */
static void send_notice(struct pg_conn *conn, uint64_t head)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, head);
    pg_put_str(pg_args(conn), str_of(text));
    pg_send(conn, notify_sql);
}

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

static enum append_end commit(struct pg_conn *conn,
                              const struct append_batch *batch, struct err *err)
{
    if (batch->count > 0) {
        send_insert(conn, batch);
        send_notice(conn, batch->rows[batch->count - 1].event->position);
    }
    switch (pg_commit(conn, err)) {
    case PG_COMMITTED:
        return APPEND_COMMITTED;
    case PG_ABORTED:
        return end_of_fault(pg_fault(conn));
    case PG_UNCERTAIN:
        break;
    }
    return APPEND_UNCERTAIN;
}

enum append_end pg_append_commit(struct store_writer *base,
                                 const struct append_batch *batch,
                                 struct err *err)
{
    struct pg_writer *writer = writer_of(base);
    enum append_end end = commit(writer->seat.conn, batch, err);

    writer->is_uncertain = end == APPEND_UNCERTAIN;
    pg_seat_rest(&writer->seat);
    return end;
}
