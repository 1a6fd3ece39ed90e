#include "base/clock.h"
#include "store/look_in.h"
#include "store/pg_conn_in.h"
#include "store/pg_fields.h"
#include "store/pg_store.h"

static const char server_sql[] =
    "select split_part(current_setting('server_version'), ' ', 1),"
    " current_setting('server_encoding'),"
    " to_regclass('perigee.meta') is not null";

static const char meta_sql[] =
    "select version, oldest_binary, log_id from perigee.meta";

/* Keys are in partitions; the whole has no size of its own. */
static const char log_sql[] =
    "select (select coalesce(max(position), 0) from perigee.events),"
    " pg_total_relation_size('perigee.events')"
    "  + pg_total_relation_size('perigee.event_ids')"
    "  + pg_total_relation_size('perigee.streams'),"
    " coalesce(pg_total_relation_size(to_regclass('perigee.snapshots')), 0),"
    " (select coalesce(sum(pg_total_relation_size(p.relid)), 0)::bigint"
    "  from pg_partition_tree(to_regclass('perigee.requests')) p)";

static bool look_server(struct pg_conn *conn, struct store_look *out,
                        bool *has_meta, struct err *err)
{
    const PGresult *row;

    pg_send(conn, server_sql);
    if (pg_run(conn, err) != PG_DONE)
        return false;
    row = pg_result(conn, 0);
    look_copy(out->version, sizeof(out->version), pg_str(row, 0, 0));
    look_copy(out->encoding, sizeof(out->encoding), pg_str(row, 0, 1));
    *has_meta = pg_bool(row, 0, 2);
    return true;
}

/* The server's time is somewhere between our times before and after: the
 * middle is wrong by half of the way there and back at most. */
static bool look_clock(struct pg_conn *conn, struct store_look *out,
                       struct err *err)
{
    int64_t before_us = clock_wall_us(), after_us;

    pg_send(conn, "select clock_timestamp()");
    if (pg_run(conn, err) != PG_DONE)
        return false;
    after_us = clock_wall_us();
    out->ahead_us = pg_time(pg_result(conn, 0), 0, 0) -
                    (before_us + (after_us - before_us) / 2);
    return true;
}

static bool look_meta(struct pg_conn *conn, struct store_look *out,
                      struct err *err)
{
    const PGresult *row;

    pg_send(conn, meta_sql);
    if (pg_run(conn, err) != PG_DONE)
        return false;
    row = pg_result(conn, 0);
    if (PQntuples(row) == 0)
        return true;
    look_judge_schema(out, pg_u32(row, 0, 0), pg_u32(row, 0, 1));
    out->log_id = pg_uuid(row, 0, 2);
    return true;
}

static bool look_log(struct pg_conn *conn, struct store_look *out,
                     struct err *err)
{
    const PGresult *row;

    pg_send(conn, log_sql);
    if (pg_run(conn, err) != PG_DONE)
        return false;
    row = pg_result(conn, 0);
    out->head = pg_u64(row, 0, 0);
    out->log_bytes = pg_u64(row, 0, 1);
    out->snapshot_bytes = pg_u64(row, 0, 2);
    out->key_bytes = pg_u64(row, 0, 3);
    return true;
}

/* Of our own leg: behind a pooler the server would tell of the pooler's. */
static void look_tls(const struct pg_conn *conn, struct store_look *out)
{
    PQconninfoOption *used = PQconninfo(conn->pg);
    const char *protocol = PQsslAttribute(conn->pg, "protocol");

    if (PQsslInUse(conn->pg) && protocol != NULL)
        look_copy(out->tls, sizeof(out->tls), str_of(protocol));
    for (const PQconninfoOption *one = used; one != NULL && one->keyword;
         one++) {
        if (strcmp(one->keyword, "sslmode") == 0 && one->val != NULL)
            out->is_certified = str_starts(str_of(one->val), STR("verify-"));
    }
    PQconninfoFree(used);
}

static bool look_at(struct pg_conn *conn, struct store_look *out,
                    uint64_t began_ms, struct err *err)
{
    bool has_meta = false;

    look_tls(conn, out);
    if (!look_server(conn, out, &has_meta, err))
        return false;
    out->is_reached = true;
    out->reached_ms = (uint32_t)(clock_ms() - began_ms);
    if (!look_clock(conn, out, err) || (has_meta && !look_meta(conn, out, err)))
        return false;
    return !look_has_log(out) || look_log(conn, out, err);
}

bool pg_look(const struct store_options *options, struct store_look *out,
             struct err *err)
{
    struct pg_target *target = pg_target_new(options, PG_WAY_USUAL, err);
    uint64_t began_ms = clock_ms();
    struct pg_conn *conn;
    bool good;

    out->kind = STORE_POSTGRES;
    if (target == NULL)
        return false;
    out->is_local = target->is_local;
    conn = pg_conn_open(target, err);
    good = conn != NULL && look_at(conn, out, began_ms, err);
    pg_conn_close(conn);
    pg_target_free(target);
    return good;
}
