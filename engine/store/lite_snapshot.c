#include "store/lite_store.h"

#include "base/clock.h"

/* ---- finding ---- */

#define SNAPSHOT_COLUMNS                                                       \
    "s.type, s.key, p.version, p.shape, p.script_hash, p.state"

static struct snapshot read_snapshot(sqlite3_stmt *stmt, struct arena *arena)
{
    return (struct snapshot){
        .aggregate_type = arena_str(arena, lite_column_str(stmt, 0)),
        .aggregate_id = arena_str(arena, lite_column_str(stmt, 1)),
        .version = lite_column_u64(stmt, 2),
        .shape = arena_str(arena, lite_column_str(stmt, 3)),
        .script_hash = arena_str(arena, lite_column_str(stmt, 4)),
        .state = arena_str(arena, lite_column_str(stmt, 5)),
    };
}

static sqlite3_stmt *prepare_find(struct lite_conn *conn, struct err *err)
{
    return lite_prepare(conn,
                        "select " SNAPSHOT_COLUMNS "  from perigee_streams s"
                        "  join perigee_snapshots p on p.stream_id = s.id"
                        " where s.type = ?1 and s.key = ?2 and p.shape = ?3"
                        "   and p.version <= ?4",
                        err);
}

bool lite_snapshot_find(struct store *store, struct str aggregate_type,
                        struct str aggregate_id, struct str shape,
                        uint64_t at_most, struct arena *arena,
                        struct snapshot *out, bool *found_out, struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    enum lite_row row = LITE_FAILED;
    sqlite3_stmt *stmt;

    if (conn == NULL)
        return false;
    stmt = prepare_find(conn, err);
    if (stmt != NULL) {
        lite_bind_str(stmt, 1, aggregate_type);
        lite_bind_str(stmt, 2, aggregate_id);
        lite_bind_str(stmt, 3, shape);
        lite_bind_u64(stmt, 4, at_most);
        row = lite_step(conn, stmt, err);
    }
    if (row == LITE_ROW)
        *out = read_snapshot(stmt, arena);
    lite_end(&stmt);
    lite_read_end(store, conn);
    *found_out = row == LITE_ROW;
    return row != LITE_FAILED;
}

/* ---- saving ---- */

static void bind_snapshot(sqlite3_stmt *stmt, const struct snapshot *snapshot)
{
    lite_bind_str(stmt, 1, snapshot->aggregate_type);
    lite_bind_str(stmt, 2, snapshot->aggregate_id);
    lite_bind_u64(stmt, 3, snapshot->version);
    lite_bind_str(stmt, 4, snapshot->shape);
    lite_bind_str(stmt, 5, snapshot->script_hash);
    lite_bind_str(stmt, 6, snapshot->state);
    lite_bind_i64(stmt, 7, clock_wall_us());
    lite_bind_uuid(stmt, 8, &snapshot->last_id);
}

static bool save_all(struct lite_conn *conn, const struct snapshot *snapshots,
                     size_t count, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn,
        "insert into perigee_snapshots"
        "  (stream_id, version, shape, script_hash, state, saved_at)"
        " select s.id, ?3, ?4, ?5, ?6, ?7 from perigee_streams s"
        "  where s.type = ?1 and s.key = ?2"
        "    and exists (select 1 from perigee_events e"
        "                 where e.stream_id = s.id"
        "                   and e.aggregate_version = ?3"
        "                   and e.event_id = ?8)"
        " on conflict (stream_id) do update"
        "   set version = excluded.version, shape = excluded.shape,"
        "       script_hash = excluded.script_hash, state = excluded.state,"
        "       saved_at = excluded.saved_at"
        "   where perigee_snapshots.shape <> excluded.shape"
        "      or perigee_snapshots.version <= excluded.version",
        err);
    bool good = stmt != NULL;

    for (size_t i = 0; good && i < count; i++) {
        bind_snapshot(stmt, &snapshots[i]);
        good = lite_run(conn, stmt, err);
    }
    return good;
}

bool lite_snapshot_save(struct store *store, const struct snapshot *snapshots,
                        size_t count, struct err *err)
{
    struct lite_conn *conn;

    if (count == 0)
        return true;
    conn = lite_write_begin(store, err);
    if (conn == NULL)
        return false;
    if (save_all(conn, snapshots, count, err))
        return lite_write_end(store, conn, LITE_KEEP, err);
    lite_write_drop(store, conn);
    return false;
}

/* ---- a sample ---- */

struct sample {
    struct snapshot *rows;
    size_t count;
};

static bool collect(struct lite_conn *conn, sqlite3_stmt *stmt,
                    struct arena *arena, struct sample *out, struct err *err)
{
    enum lite_row row;

    while ((row = lite_step(conn, stmt, err)) == LITE_ROW) {
        out->rows = lite_room(arena, out->rows, out->count, sizeof(*out->rows));
        out->rows[out->count++] = read_snapshot(stmt, arena);
    }
    return row != LITE_FAILED;
}

static sqlite3_stmt *prepare_sample(struct lite_conn *conn, struct err *err)
{
    return lite_prepare(conn,
                        "select " SNAPSHOT_COLUMNS "  from perigee_snapshots p"
                        "  join perigee_streams s on s.id = p.stream_id"
                        " where s.type = ?1 and p.shape = ?2"
                        "   and p.script_hash <> ?3"
                        " limit ?4",
                        err);
}

bool lite_snapshot_sample(struct store *store, struct str aggregate_type,
                          struct str shape, struct str script_hash,
                          uint32_t limit, struct arena *arena,
                          struct snapshot **out, size_t *count_out,
                          struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    struct sample found = {0};
    sqlite3_stmt *stmt;
    bool good;

    if (conn == NULL)
        return false;
    stmt = prepare_sample(conn, err);
    good = stmt != NULL;
    if (good) {
        lite_bind_str(stmt, 1, aggregate_type);
        lite_bind_str(stmt, 2, shape);
        lite_bind_str(stmt, 3, script_hash);
        lite_bind_u64(stmt, 4, limit);
        good = collect(conn, stmt, arena, &found, err);
    }
    lite_end(&stmt);
    lite_read_end(store, conn);
    if (good) {
        *out = found.rows;
        *count_out = found.count;
    }
    return good;
}
