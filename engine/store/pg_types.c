#include "store/pg_store.h"

/*
 * The list of event types that the scripts declare, for perigee.append_events.
 * Engines with the same scripts start together: they take turns, and whoever
 * finds the list as it should be writes nothing.
 */

static const char turn_sql[] = "select pg_advisory_xact_lock($1::bigint)";

#define WANTED                                                                 \
    "unnest($1::text[], $2::text[], $3::integer[])"                            \
    " w(aggregate_type, event_type, newest)"

/* Whether the list has it as it is wanted. */
#define SAME                                                                   \
    "w.aggregate_type = t.aggregate_type"                                      \
    " and w.event_type is not distinct from t.event_type"                      \
    " and w.newest is not distinct from t.newest"

static const char delete_sql[] =
    "delete from perigee.event_types t"
    " where not exists (select from " WANTED " where " SAME ")";

static const char insert_sql[] =
    "insert into perigee.event_types (aggregate_type, event_type, newest)"
    " select distinct w.* from " WANTED
    "  where not exists (select from perigee.event_types t where " SAME ")";

static void send_types(struct pg_conn *conn, const char *sql,
                       const struct declared_type *types, size_t count)
{
    struct pg_args *args = pg_args(conn);

    pg_array_begin(args, PG_TEXT, count);
    for (size_t i = 0; i < count; i++)
        pg_put_str(args, types[i].aggregate_type);
    pg_array_end(args);
    pg_array_begin(args, PG_TEXT, count);
    for (size_t i = 0; i < count; i++)
        pg_put_str(args, types[i].event_type);
    pg_array_end(args);
    pg_array_begin(args, PG_INT4, count);
    for (size_t i = 0; i < count; i++) {
        if (types[i].newest > 0)
            pg_put_u32(args, types[i].newest);
        else
            pg_put_null(args);
    }
    pg_array_end(args);
    pg_send(conn, sql);
}

bool pg_declare_types(struct store *store, const struct declared_type *types,
                      size_t count, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "event types", err);
    bool ok;

    if (conn == NULL)
        return false;
    pg_put_i64(pg_args(conn), PG_LOCK_MIGRATION);
    pg_send(conn, turn_sql);
    send_types(conn, delete_sql, types, count);
    send_types(conn, insert_sql, types, count);
    ok = pg_run(conn, err) == PG_DONE;
    pg_give_back(store, conn);
    return ok;
}
