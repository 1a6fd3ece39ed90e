#include "base/clock.h"
#include "base/mem.h"
#include "store/lite_file.h"
#include "store/lite_store.h"
#include "store/look_in.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

/* A file is looked at over a connection that may only read; the store itself
 * would create what is not there. */

static bool look_encoding(struct lite_conn *conn, struct store_look *out,
                          struct err *err)
{
    AUTO_STMT stmt = lite_prepare(conn, "pragma encoding", err);

    if (stmt == NULL || lite_step(conn, stmt, err) != LITE_ROW)
        return false;
    struct str name = lite_column_str(stmt, 0);
    look_copy(out->encoding, sizeof(out->encoding),
              str_eq(name, STR("UTF-8")) ? STR("UTF8") : name);
    return true;
}

/* Whether there is a log, somebody else's tables, or nothing. */
static bool look_objects(struct lite_conn *conn, struct store_look *out,
                         bool *has_meta, struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn, "select 1 from sqlite_master limit 1", err);
    enum lite_row row;

    if (stmt == NULL || !lite_has_object(conn, "perigee_meta", has_meta, err))
        return false;
    row = lite_step(conn, stmt, err);
    if (row == LITE_ROW && !*has_meta)
        out->schema = LOOK_NOT_OURS;
    return row != LITE_FAILED;
}

static bool look_meta(struct lite_conn *conn, struct store_look *out,
                      struct err *err)
{
    AUTO_STMT stmt = lite_prepare(
        conn, "select version, oldest_binary from perigee_meta", err);

    if (stmt == NULL || lite_step(conn, stmt, err) == LITE_FAILED)
        return false;
    look_judge_schema(out, (uint32_t)lite_column_u64(stmt, 0),
                      (uint32_t)lite_column_u64(stmt, 1));
    return true;
}

static bool look_head(struct lite_conn *conn, struct store_look *out,
                      struct err *err)
{
    AUTO_STMT stmt =
        lite_prepare(conn, "select max(position) from perigee_events", err);

    if (stmt == NULL || lite_step(conn, stmt, err) == LITE_FAILED)
        return false;
    out->head = lite_column_u64(stmt, 0);
    return true;
}

static uint64_t bytes_of(const char *path, const char *suffix)
{
    struct buf name = {0};
    struct stat about;
    int failed;

    buf_printf(&name, "%s%s", path, suffix);
    failed = stat(name.ptr, &about);
    buf_done(&name);
    return failed == 0 ? (uint64_t)about.st_size : 0;
}

static bool look_at(struct lite_conn *conn, struct store_look *out,
                    struct err *err)
{
    bool has_meta = false;

    look_copy(out->version, sizeof(out->version), str_of(sqlite3_libversion()));
    if (!look_encoding(conn, out, err))
        return false;
    out->is_reached = true;
    if (!look_objects(conn, out, &has_meta, err))
        return false;
    if (has_meta && !look_meta(conn, out, err))
        return false;
    return !look_has_log(out) || (lite_select_log_id(conn, &out->log_id, err) &&
                                  look_head(conn, out, err));
}

static bool look_in_file(const struct lite_options *options,
                         struct store_look *out, struct err *err)
{
    uint64_t began_ms = clock_ms();
    struct lite_conn *conn = lite_conn_open(options, LITE_READS, err);
    bool good;

    if (conn == NULL)
        return false;
    good = look_at(conn, out, err);
    out->reached_ms = (uint32_t)(clock_ms() - began_ms);
    out->log_bytes =
        bytes_of(options->path, "") + bytes_of(options->path, "-wal");
    lite_conn_close(conn);
    return good;
}

bool lite_look(const struct store_options *options, const char *path,
               struct store_look *out, struct err *err)
{
    char *plain = lite_plain_path(path);
    struct lite_options lite = {.path = plain,
                                .busy_ms = options->statement_timeout_ms};
    bool good;

    out->kind = STORE_SQLITE;
    good = look_in_file(&lite, out, err);
    mem_free(plain);
    return good;
}
