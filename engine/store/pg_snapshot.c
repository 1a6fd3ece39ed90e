#include "store/pg_fields.h"
#include "store/pg_store.h"

/*
 * Folded states: one row a stream, found by the stream's name.
 */

/* In the order of read_snapshot. */
#define COLUMNS                                                                \
    "s.type, s.key, n.version, n.shape, n.script_hash, n.state"                \
    "  from perigee.streams s join perigee.snapshots n on n.stream_id = s.id"

static struct snapshot read_snapshot(const PGresult *rows, int row,
                                     struct arena *arena)
{
    return (struct snapshot){
        .aggregate_type = arena_str(arena, pg_str(rows, row, 0)),
        .aggregate_id = arena_str(arena, pg_str(rows, row, 1)),
        .version = pg_u64(rows, row, 2),
        .shape = arena_str(arena, pg_str(rows, row, 3)),
        .script_hash = arena_str(arena, pg_str(rows, row, 4)),
        .state = arena_str(arena, pg_str(rows, row, 5)),
    };
}

/* ---- find ---- */

static const char find_sql[] =
    "select " COLUMNS " where s.type = $1::text and s.key = $2::text"
    "   and n.shape = $3::text and n.version <= $4::bigint";

bool pg_snapshot_find(struct store *store, struct str aggregate_type,
                      struct str aggregate_id, struct str shape,
                      uint64_t at_most, struct arena *arena,
                      struct snapshot *out, bool *found_out, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "snapshot", err);
    struct pg_args *args;
    bool ok;

    if (conn == NULL)
        return false;
    args = pg_args(conn);
    pg_put_str(args, aggregate_type);
    pg_put_str(args, aggregate_id);
    pg_put_str(args, shape);
    pg_put_u64(args, at_most);
    pg_send(conn, find_sql);
    ok = pg_run(conn, err) == PG_DONE;
    if (ok) {
        *found_out = PQntuples(pg_result(conn, 0)) > 0;
        if (*found_out)
            *out = read_snapshot(pg_result(conn, 0), 0, arena);
    }
    pg_give_back(store, conn);
    return ok;
}

/* ---- save ---- */

/* By stream: engines that save the same ones lock them in one order. */
static const char save_sql[] =
    "insert into perigee.snapshots as n"
    "    (stream_id, version, shape, script_hash, state)"
    " select distinct on (s.id) s.id, u.version, u.shape, u.script_hash,"
    "        u.state"
    "   from unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[],"
    "        $5::text[], $6::text[], $7::text[])"
    "        u(type, key, version, last_id, shape, script_hash, state)"
    "   join perigee.streams s on s.type = u.type and s.key = u.key"
    "  where exists (select from perigee.events e"
    "                 where e.stream_id = s.id"
    "                   and e.aggregate_version = u.version"
    "                   and e.event_id = u.last_id)"
    "  order by s.id, u.version desc"
    " on conflict (stream_id) do update"
    "    set version = excluded.version, shape = excluded.shape,"
    "        script_hash = excluded.script_hash, state = excluded.state,"
    "        saved_at = clock_timestamp()"
    "  where n.shape <> excluded.shape or n.version <= excluded.version";

static void put_text(struct pg_args *args, const struct snapshot *snapshots,
                     size_t count, size_t member)
{
    pg_array_begin(args, PG_TEXT, count);
    for (size_t i = 0; i < count; i++) {
        const char *snapshot = (const char *)&snapshots[i];

        pg_put_str(args, *(const struct str *)(snapshot + member));
    }
    pg_array_end(args);
}

static void send_save(struct pg_conn *conn, const struct snapshot *snapshots,
                      size_t count)
{
    struct pg_args *args = pg_args(conn);

    put_text(args, snapshots, count, offsetof(struct snapshot, aggregate_type));
    put_text(args, snapshots, count, offsetof(struct snapshot, aggregate_id));
    pg_array_begin(args, PG_INT8, count);
    for (size_t i = 0; i < count; i++)
        pg_put_u64(args, snapshots[i].version);
    pg_array_end(args);
    pg_array_begin(args, PG_UUID, count);
    for (size_t i = 0; i < count; i++)
        pg_put_uuid(args, snapshots[i].last_id);
    pg_array_end(args);
    put_text(args, snapshots, count, offsetof(struct snapshot, shape));
    put_text(args, snapshots, count, offsetof(struct snapshot, script_hash));
    put_text(args, snapshots, count, offsetof(struct snapshot, state));
    pg_send(conn, save_sql);
}

bool pg_snapshot_save(struct store *store, const struct snapshot *snapshots,
                      size_t count, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "snapshots", err);
    bool ok;

    if (conn == NULL)
        return false;
    send_save(conn, snapshots, count);
    ok = pg_run(conn, err) == PG_DONE;
    pg_give_back(store, conn);
    return ok;
}

/* ---- sample ---- */

static const char sample_sql[] =
    "select " COLUMNS " where s.type = $1::text and n.shape = $2::text"
    "   and n.script_hash <> $3::text limit $4::integer";

bool pg_snapshot_sample(struct store *store, struct str aggregate_type,
                        struct str shape, struct str script_hash,
                        uint32_t limit, struct arena *arena,
                        struct snapshot **out, size_t *count_out,
                        struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "snapshots", err);
    struct pg_args *args;
    bool ok;

    if (conn == NULL)
        return false;
    args = pg_args(conn);
    pg_put_str(args, aggregate_type);
    pg_put_str(args, shape);
    pg_put_str(args, script_hash);
    pg_put_u32(args, limit);
    pg_send(conn, sample_sql);
    ok = pg_run(conn, err) == PG_DONE;
    if (ok) {
        const PGresult *rows = pg_result(conn, 0);
        size_t count = (size_t)PQntuples(rows);

        *out = ARENA_ARRAY(arena, struct snapshot, count);
        *count_out = count;
        for (size_t i = 0; i < count; i++)
            (*out)[i] = read_snapshot(rows, (int)i, arena);
    }
    pg_give_back(store, conn);
    return ok;
}
