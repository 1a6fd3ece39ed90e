#include "store/lite_store.h"

#include "store/lite_claim.h"
#include "store/lite_file.h"
#include "store/schema.h"

/* ---- what is there ---- */

bool lite_has_object(struct lite_conn *conn, const char *name, bool *out,
                     struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn, "select 1 from sqlite_master where lower(name) = lower(?1)", err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    lite_bind_text(stmt, 1, name);
    row = lite_step(conn, stmt, err);
    *out = row == LITE_ROW;
    return row != LITE_FAILED;
}

struct meta {
    uint32_t version;
    uint32_t oldest_binary;
    struct uuid log_id;
};

static bool select_meta(struct lite_conn *conn, struct meta *out,
                        struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn, "select version, oldest_binary, log_id from perigee_meta", err);
    enum lite_row row;

    if (stmt == NULL)
        return false;
    row = lite_step(conn, stmt, err);
    if (row == LITE_END)
        return err_set(err, ERR_CONFIG, "perigee_meta is empty");
    if (row == LITE_FAILED)
        return false;
    *out = (struct meta){
        .version = (uint32_t)lite_column_u64(stmt, 0),
        .oldest_binary = (uint32_t)lite_column_u64(stmt, 1),
        .log_id = lite_column_uuid(stmt, 2),
    };
    return true;
}

/* Asked each time: a file that is copied while it is open is another one. */
bool lite_select_log_id(struct lite_conn *conn, struct uuid *out,
                        struct err *err)
{
    struct lite_file file;
    struct meta meta;

    if (!select_meta(conn, &meta, err) ||
        !lite_file_look(lite_conn_path(conn), &file, err))
        return false;
    *out = lite_file_log_id(&file, meta.log_id);
    return true;
}

/* ---- what this binary may touch ---- */

static bool check_encoding(struct lite_conn *conn, struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn, "pragma encoding", err);

    if (stmt == NULL || lite_step(conn, stmt, err) == LITE_FAILED)
        return false;
    return str_eq(lite_column_str(stmt, 0), STR("UTF-8")) ||
           err_set(err, ERR_CONFIG, "%s: the database's encoding is not UTF-8",
                   lite_conn_path(conn));
}

/* A database that holds other things is somebody else's: migrating it would put
 * our tables among theirs. */
static bool check_is_log_or_empty(struct lite_conn *conn, bool *has_meta_out,
                                  struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn, "select name from sqlite_master order by name limit 1", err);
    enum lite_row row;

    if (stmt == NULL ||
        !lite_has_object(conn, "perigee_meta", has_meta_out, err))
        return false;
    row = *has_meta_out ? LITE_END : lite_step(conn, stmt, err);
    if (row != LITE_ROW)
        return row == LITE_END;
    return err_set(err, ERR_CONFIG,
                   "%s: an SQLite database, but no log of Perigee (it has "
                   "\"%.*s\"); a log needs a file of its own",
                   lite_conn_path(conn), STR_ARG(lite_column_str(stmt, 0)));
}

/* Known by a newer binary, which asks for its own knowledge. */
static bool check_not_newer(struct lite_conn *conn, const struct meta *meta,
                            struct err *err)
{
    if (meta->oldest_binary <= SCHEMA_VERSION)
        return true;
    return err_set(err, ERR_CONFIG,
                   "%s: the database's schema (version %u) is too new for "
                   "this binary, which knows version %u",
                   lite_conn_path(conn), meta->version, SCHEMA_VERSION);
}

/* ---- migrating ---- */

static const struct schema_step *step_behind(uint32_t version)
{
    for (size_t i = 0; i < lite_schema_step_count; i++)
        if (lite_schema_steps[i].version > version)
            return &lite_schema_steps[i];
    return NULL;
}

static bool update_meta(struct lite_conn *conn, const struct schema_step *step,
                        struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn, "update perigee_meta set version = ?1, oldest_binary = ?2", err);

    if (stmt == NULL)
        return false;
    lite_bind_u64(stmt, 1, step->version);
    lite_bind_u64(stmt, 2, step->oldest_binary);
    return lite_run(conn, stmt, err);
}

enum migrated { MIGRATE_FAILED = -1, MIGRATE_NOTHING, MIGRATE_STEP };

/* The write lock is the migration lock: the version is read under it. */
static enum migrated run_next_step(struct lite_conn *conn, struct err *err)
{
    const struct schema_step *step;
    struct meta meta;
    bool has_meta;

    if (!check_encoding(conn, err) ||
        !check_is_log_or_empty(conn, &has_meta, err) ||
        !lite_exec(conn, lite_schema_meta, err) ||
        !select_meta(conn, &meta, err) || !check_not_newer(conn, &meta, err))
        return MIGRATE_FAILED;
    step = step_behind(meta.version);
    if (step == NULL)
        return MIGRATE_NOTHING;
    if (lite_exec(conn, step->sql, err) && update_meta(conn, step, err))
        return MIGRATE_STEP;
    err_wrap(err, "schema step %u", step->version);
    return MIGRATE_FAILED;
}

static enum migrated migrate_once(struct store *store, struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);
    enum migrated did;
    enum lite_keep keep;

    if (conn == NULL)
        return MIGRATE_FAILED;
    did = run_next_step(conn, err);
    keep = did == MIGRATE_STEP ? LITE_KEEP : LITE_DROP;
    if (!lite_write_end(store, conn, keep, err) && keep == LITE_KEEP)
        return MIGRATE_FAILED;
    return did;
}

bool lite_migrate(struct store *store, uint32_t *steps_out, struct err *err)
{
    uint32_t steps = 0;
    enum migrated did;

    while ((did = migrate_once(store, err)) == MIGRATE_STEP)
        steps++;
    if (did == MIGRATE_FAILED)
        return err_wrap(err, "migrate");
    *steps_out = steps;
    return true;
}

/* ---- checking ---- */

static bool judge_version(struct lite_conn *conn, const struct meta *meta,
                          struct err *err)
{
    if (!check_not_newer(conn, meta, err))
        return false;
    if (meta->version < SCHEMA_OLDEST)
        return err_set(err, ERR_CONFIG,
                       "%s: the database's schema (version %u) is too old for "
                       "this binary, which needs %u: run `perigee migrate`",
                       lite_conn_path(conn), meta->version, SCHEMA_OLDEST);
    return true;
}

static bool check_schema(struct lite_conn *conn, struct err *err)
{
    struct meta meta;
    bool has_meta;

    if (!check_encoding(conn, err) ||
        !check_is_log_or_empty(conn, &has_meta, err))
        return false;
    if (!has_meta)
        return err_set(err, ERR_CONFIG,
                       "%s: the database has no schema yet: run `perigee "
                       "migrate`",
                       lite_conn_path(conn));
    return select_meta(conn, &meta, err) && judge_version(conn, &meta, err);
}

bool lite_check_schema(struct store *store, struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    bool good;

    if (conn == NULL)
        return false;
    good = check_schema(conn, err);
    lite_read_end(store, conn);
    return good;
}

bool lite_log_id(struct store *store, struct uuid *out, struct err *err)
{
    struct lite_conn *conn = lite_read_begin(store, err);
    bool good;

    if (conn == NULL)
        return false;
    good = lite_select_log_id(conn, out, err);
    lite_read_end(store, conn);
    return good;
}

/* ---- another log ---- */

static bool update_log_id(struct store *store, struct err *err)
{
    struct lite_conn *conn = lite_write_begin(store, err);

    if (conn == NULL)
        return false;
    if (lite_exec(conn, "update perigee_meta set log_id = randomblob(16)", err))
        return lite_write_end(store, conn, LITE_KEEP, err);
    lite_write_drop(store, conn);
    return false;
}

/* An engine that serves the log would take it for a foreign one; so that none
 * can start meanwhile, the file is claimed. */
bool lite_log_renew(struct store *store, struct err *err)
{
    struct lite_store *lite = lite_of(store);
    struct lite_claim *claim = NULL;
    bool good;

    if (lite->claim == NULL) {
        claim = lite_claim_take(lite->path, NULL, err);
        if (claim == NULL)
            return false;
    }
    good = update_log_id(store, err);
    lite_claim_give(claim);
    return good;
}
