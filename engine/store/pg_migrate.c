#include "store/pg_fields.h"
#include "store/pg_store.h"
#include "store/schema.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * The schema over a connection of its own, the direct one.  Each step is one
 * transaction under the migration lock, which reads the version again: of
 * several processes that start at once one makes a step, and the others find
 * it made.
 */

/* A migration elsewhere may take its time. */
#define LOCK_WAIT "60s"

struct meta {
    bool is_there;
    int32_t version;
    int32_t oldest_binary;
    struct uuid log_id;
    bool is_utf8;
};

/* Two questions, because a statement that names a table which is not there is
 * refused as a whole. */
static bool read_meta(struct pg_conn *conn, struct meta *out, struct err *err)
{
    *out = (struct meta){0};
    pg_send(conn, "select to_regclass('perigee.meta') is not null,"
                  " current_setting('server_encoding') = 'UTF8'");
    if (pg_run(conn, err) != PG_DONE)
        return false;
    out->is_there = pg_bool(pg_result(conn, 0), 0, 0);
    out->is_utf8 = pg_bool(pg_result(conn, 0), 0, 1);
    if (!out->is_there)
        return true;
    pg_send(conn, "select version, oldest_binary, log_id from perigee.meta");
    if (pg_run(conn, err) != PG_DONE)
        return false;
    if (PQntuples(pg_result(conn, 0)) != 1)
        return err_set(err, ERR_CONFIG,
                       "perigee.meta must have one row and has %d",
                       PQntuples(pg_result(conn, 0)));
    out->version = pg_i32(pg_result(conn, 0), 0, 0);
    out->oldest_binary = pg_i32(pg_result(conn, 0), 0, 1);
    out->log_id = pg_uuid(pg_result(conn, 0), 0, 2);
    return true;
}

static bool check_encoding(const struct meta *meta, struct err *err)
{
    if (meta->is_utf8)
        return true;
    return err_set(err, ERR_CONFIG,
                   "the database is not encoded in UTF8: create another with "
                   "`create database … encoding 'UTF8' template template0`");
}

static bool check_not_newer(const struct meta *meta, struct err *err)
{
    if (meta->oldest_binary <= SCHEMA_VERSION)
        return true;
    return err_set(err, ERR_CONFIG,
                   "the schema (version %d) needs a newer perigee: it asks for "
                   "schema knowledge %d, this binary has %d",
                   meta->version, meta->oldest_binary, SCHEMA_VERSION);
}

/* The lock as a script, which waits longer than the statements of a session
 * do. */
static bool lock_migrations(struct pg_conn *conn, struct err *err)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "select pg_advisory_xact_lock(%" PRId64 ")",
             PG_LOCK_MIGRATION);
    pg_begin(conn);
    pg_send(conn, "select set_config('lock_timeout', '" LOCK_WAIT "', true),"
                  " set_config('statement_timeout', '0', true)");
    if (pg_run(conn, err) == PG_DONE && pg_script(conn, sql, err) == PG_DONE)
        return true;
    if (pg_fault(conn) == PG_FAULT_LOCKED)
        err_set(err, ERR_STORE,
                "another process has been migrating for " LOCK_WAIT);
    return false;
}

static bool make_step(struct pg_conn *conn, const struct schema_step *step,
                      struct err *err)
{
    struct pg_args *args;

    if (pg_script(conn, step->sql, err) != PG_DONE)
        return err_wrap(err, "schema step %" PRIu32, step->version);
    args = pg_args(conn);
    pg_put_u32(args, step->version);
    pg_put_u32(args, step->oldest_binary);
    pg_send(conn, "update perigee.meta set version = $1, oldest_binary = $2");
    return pg_run(conn, err) == PG_DONE;
}

/* NULL: the schema is as this binary knows it, or newer. */
static const struct schema_step *next_step(const struct meta *meta)
{
    for (size_t i = 0; i < pg_schema_step_count; i++)
        if ((int64_t)pg_schema_steps[i].version > meta->version)
            return &pg_schema_steps[i];
    return NULL;
}

/* In the transaction: `meta` where it is missing, then the step that is next
 * by what the lock lets us see.  `meta` is read again after making it: before,
 * a server session may still remember that it is not there, although another
 * process has made it meanwhile, and all the steps. */
static bool advance(struct pg_conn *conn, uint32_t *steps_out, struct err *err)
{
    const struct schema_step *step;
    struct meta meta;

    if (!lock_migrations(conn, err) || !read_meta(conn, &meta, err))
        return false;
    if (!meta.is_there && (pg_script(conn, pg_schema_meta, err) != PG_DONE ||
                           !read_meta(conn, &meta, err)))
        return false;
    step = next_step(&meta);
    if (step != NULL && !make_step(conn, step, err))
        return false;
    if (pg_commit(conn, err) != PG_COMMITTED)
        return false;
    *steps_out += step != NULL;
    return true;
}

static bool migrate(struct pg_conn *conn, uint32_t *steps_out, struct err *err)
{
    struct meta meta;

    for (;;) {
        if (!read_meta(conn, &meta, err) || !check_encoding(&meta, err) ||
            !check_not_newer(&meta, err))
            return false;
        if (meta.is_there && next_step(&meta) == NULL)
            return true;
        if (!advance(conn, steps_out, err))
            return false;
    }
}

bool pg_migrate(struct store *store, uint32_t *steps_out, struct err *err)
{
    struct pg_conn *conn = pg_conn_open(pg_store_of(store)->direct, err);
    uint32_t steps = 0;
    bool ok;

    if (conn == NULL)
        return false;
    ok = migrate(conn, &steps, err) && pg_home_check(conn, err);
    pg_conn_close(conn);
    if (ok)
        *steps_out = steps;
    return ok || err_wrap(err, "migrate");
}

static bool check(const struct meta *meta, struct err *err)
{
    if (!check_encoding(meta, err))
        return false;
    if (!meta->is_there || meta->version == 0)
        return err_set(err, ERR_CONFIG,
                       "the database has no schema of perigee: run `perigee "
                       "migrate`");
    if (meta->version < SCHEMA_OLDEST)
        return err_set(err, ERR_CONFIG,
                       "the schema is version %d and this perigee needs %d: "
                       "run `perigee migrate`",
                       meta->version, SCHEMA_OLDEST);
    return check_not_newer(meta, err);
}

bool pg_check_schema(struct store *store, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "check schema", err);
    struct meta meta;
    bool ok;

    if (conn == NULL)
        return false;
    ok = read_meta(conn, &meta, err) && check(&meta, err) &&
         pg_home_check(conn, err);
    pg_give_back(store, conn);
    return ok;
}

bool pg_log_id(struct store *store, struct uuid *out, struct err *err)
{
    struct pg_conn *conn = pg_borrow(store, "log id", err);
    struct meta meta;
    bool ok;

    if (conn == NULL)
        return false;
    ok = read_meta(conn, &meta, err) && check(&meta, err);
    if (ok)
        *out = meta.log_id;
    pg_give_back(store, conn);
    return ok;
}
