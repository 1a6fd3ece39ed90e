#include "store/lite_store.h"

#include "base/clock.h"

/*
 * Life of a request's key: stored in the transaction of its events, found for
 * 24 hours, then as good as gone; forgotten in turns, or overwritten when it
 * comes again before that.
 */

#define KEPT_US (24 * INT64_C(3600) * 1000000)

/* Keys stored until then are too old to be found. */
static int64_t too_old_us(void)
{
    return clock_wall_us() - KEPT_US;
}

static void bind_key(sqlite3_stmt *stmt, const struct request_key *key)
{
    lite_bind_str(stmt, 1, key->key);
    lite_bind_str(stmt, 2, key->token);
    lite_bind_str(stmt, 3, key->tenant);
}

/* ---- asking ---- */

static void read_mark(sqlite3_stmt *stmt, struct request_mark *out)
{
    const void *hash = sqlite3_column_blob(stmt, 0);

    /* The table checks the length. */
    if (hash != NULL && sqlite3_column_bytes(stmt, 0) == sizeof(out->hash))
        memcpy(out->hash, hash, sizeof(out->hash));
    out->first_position = lite_column_u64(stmt, 1);
    out->first_version = lite_column_u64(stmt, 2);
    out->count = (uint32_t)lite_column_u64(stmt, 3);
}

static bool ask_one(struct lite_conn *conn, sqlite3_stmt *stmt,
                    struct request_ask *ask, struct err *err)
{
    enum lite_row row;

    bind_key(stmt, &ask->key);
    row = lite_step(conn, stmt, err);
    ask->found = row == LITE_ROW;
    if (ask->found)
        read_mark(stmt, &ask->mark);
    sqlite3_reset(stmt);
    return row != LITE_FAILED;
}

bool lite_ask_requests(struct lite_conn *conn, struct request_ask *asks,
                       size_t count, struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "select hash, first_position, first_version, count"
                     "  from perigee_requests"
                     " where key = ?1 and token = ?2 and tenant = ?3"
                     "   and stored_at > ?4",
                     err);
    bool good = stmt != NULL;

    if (good)
        lite_bind_i64(stmt, 4, too_old_us());
    for (size_t i = 0; good && i < count; i++)
        good = ask_one(conn, stmt, &asks[i], err);
    return good;
}

bool lite_request_find(struct store *store, struct request_ask *ask,
                       struct arena *arena UNUSED, struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    bool good;

    if (conn == NULL)
        return false;
    good = lite_ask_requests(conn, ask, 1, err);
    lite_read_end(store, conn);
    return good;
}

/* ---- storing ---- */

static bool make_room(struct lite_conn *conn, const struct request_key *key,
                      struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "delete from perigee_requests"
                     " where key = ?1 and token = ?2 and tenant = ?3"
                     "   and stored_at <= ?4",
                     err);

    if (stmt == NULL)
        return false;
    bind_key(stmt, key);
    lite_bind_i64(stmt, 4, too_old_us());
    return lite_run(conn, stmt, err);
}

static bool insert_mark(struct lite_conn *conn, const struct request_mark *mark,
                        struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn,
                     "insert into perigee_requests (key, token, tenant, hash,"
                     "  first_position, first_version, count, stored_at)"
                     " values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                     err);

    if (stmt == NULL)
        return false;
    bind_key(stmt, &mark->key);
    lite_bind_blob(stmt, 4, str_n((const char *)mark->hash, SHA256_SIZE));
    lite_bind_u64(stmt, 5, mark->first_position);
    lite_bind_u64(stmt, 6, mark->first_version);
    lite_bind_u64(stmt, 7, mark->count);
    lite_bind_i64(stmt, 8, clock_wall_us());
    return lite_run(conn, stmt, err);
}

bool lite_store_requests(struct lite_conn *conn,
                         const struct request_mark *marks, size_t count,
                         struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (!make_room(conn, &marks[i].key, err) ||
            !insert_mark(conn, &marks[i], err))
            return false;
    return true;
}

/* ---- forgetting ---- */

#define FORGET_AT_ONCE 1000
#define FORGET_TURNS   50

static bool is_any_old(struct lite_conn *conn, bool *out, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn, "select 1 from perigee_requests where stored_at <= ?1 limit 1",
        err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    lite_bind_i64(stmt, 1, too_old_us());
    row = lite_step(conn, stmt, err);
    *out = row == LITE_ROW;
    return row != LITE_FAILED;
}

/* Nothing to do is the rule, and costs no turn of the writer. */
static bool look_for_old(struct store *store, bool *out, struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    bool good;

    if (conn == NULL)
        return false;
    good = is_any_old(conn, out, err);
    lite_read_end(store, conn);
    return good;
}

static bool delete_some(struct lite_conn *conn, bool *more_out, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn,
        "delete from perigee_requests where (key, token, tenant) in"
        "  (select key, token, tenant from perigee_requests"
        "    where stored_at <= ?1 order by stored_at limit ?2)",
        err);

    if (stmt == NULL)
        return false;
    lite_bind_i64(stmt, 1, too_old_us());
    lite_bind_i64(stmt, 2, FORGET_AT_ONCE);
    if (!lite_run(conn, stmt, err))
        return false;
    *more_out = sqlite3_changes(conn->db) == FORGET_AT_ONCE;
    return true;
}

/* A turn for each piece: appends take theirs between them. */
static bool forget_piece(struct store *store, bool *more_out, struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);

    if (conn == NULL)
        return false;
    if (delete_some(conn, more_out, err))
        return lite_write_end(store, conn, LITE_KEEP, err);
    lite_write_drop(store, conn);
    return false;
}

bool lite_request_forget(struct store *store, struct err *err)
{
    bool more = false;

    if (!look_for_old(store, &more, err))
        return false;
    for (int turn = 0; more && turn < FORGET_TURNS; turn++)
        if (!forget_piece(store, &more, err))
            return false;
    return true;
}
