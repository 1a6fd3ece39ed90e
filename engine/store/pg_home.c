#include "store/pg_fields.h"
#include "store/pg_store.h"

#include "base/log.h"

/*
 * Where the log lives: SERVER/DATABASE/TABLE, the server's system identifier
 * and two object ids.  A dump that is restored elsewhere brings the old place
 * along, and so tells that what was given out for the old log (cursors) is not
 * for this one, although positions and even events are the same.
 *
 * A role that may not ask for the system identifier notes `?` for it, which is
 * no other server.  A copy of the whole server's files, and a standby that was
 * made the primary, look as they did: pg_log_renew is for those.
 */

static const char may_ask_sql[] =
    "select has_function_privilege('pg_catalog.pg_control_system()',"
    " 'execute')";

#define PLACE                                                                  \
    " || '/' || (select oid from pg_database"                                  \
    "             where datname = current_database())"                         \
    " || '/' || 'perigee.events'::regclass::oid from perigee.meta m"

static const char home_sql[] =
    "select m.home,"
    " (select system_identifier from pg_control_system())" PLACE;
static const char home_without_server_sql[] = "select m.home, '?'" PLACE;

/* Whoever finds it as we did, and first. */
static const char note_sql[] = "update perigee.meta set home = $2::text"
                               " where home is not distinct from $1::text";
static const char move_sql[] =
    "update perigee.meta set home = $2::text, log_id = gen_random_uuid()"
    " where home is not distinct from $1::text";

#define UNKNOWN STR("?")

/* Both are cut into server and the rest. */
static bool is_elsewhere(struct str noted, struct str here)
{
    struct str noted_server = str_cut(&noted, '/');
    struct str here_server = str_cut(&here, '/');

    if (!str_eq(noted, here))
        return true;
    return !str_eq(noted_server, here_server) &&
           !str_eq(noted_server, UNKNOWN) && !str_eq(here_server, UNKNOWN);
}

/* What to do about it; NULL: nothing. */
static const char *judge(struct str noted, struct str here)
{
    if (str_is_none(noted))
        return note_sql;
    if (is_elsewhere(noted, here))
        return move_sql;
    if (str_starts(noted, UNKNOWN) && !str_starts(here, UNKNOWN))
        return note_sql;
    return NULL;
}

static bool read_home(struct pg_conn *conn, struct err *err)
{
    bool may_ask;

    pg_send(conn, may_ask_sql);
    if (pg_run(conn, err) != PG_DONE)
        return false;
    may_ask = pg_bool(pg_result(conn, 0), 0, 0);
    pg_send(conn, may_ask ? home_sql : home_without_server_sql);
    return pg_run(conn, err) == PG_DONE;
}

/* The parameters are copied out of the answer before it is thrown away. */
static bool write_home(struct pg_conn *conn, const char *sql, struct err *err)
{
    struct pg_args *args = pg_args(conn);

    pg_put_str(args, pg_str(pg_result(conn, 0), 0, 0));
    pg_put_str(args, pg_str(pg_result(conn, 0), 0, 1));
    pg_send(conn, sql);
    return pg_run(conn, err) == PG_DONE;
}

bool pg_home_check(struct pg_conn *conn, struct err *err)
{
    const char *sql;

    if (!read_home(conn, err))
        return false;
    sql = judge(pg_str(pg_result(conn, 0), 0, 0),
                pg_str(pg_result(conn, 0), 0, 1));
    if (sql == NULL)
        return true;
    if (!write_home(conn, sql, err))
        return false;
    if (sql == move_sql)
        log_warning("store", "the log lives elsewhere than it did; it has a "
                             "new id, and old cursors are refused");
    return true;
}

bool pg_log_renew(struct store *store, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "log id", err);
    bool ok;

    if (conn == NULL)
        return false;
    pg_send(conn, "update perigee.meta set log_id = gen_random_uuid()");
    ok = pg_run(conn, err) == PG_DONE;
    pg_give_back(store, conn);
    return ok;
}
