/*
 * The conformance suite: what store/store.h promises, asked of every store.
 *
 * It runs on a SQLite file in a temporary folder, and on PostgreSQL when
 * PERIGEE_TEST_PG_URL names a server (tests/support/pg.sh starts one), in a
 * database of its own that is dropped at the end.  A chapter a header:
 *
 *   conformance_life.h    opening, migrating, claiming
 *   conformance_log.h     appending and reading events
 *   conformance_guard.h   appending in one flush
 *   conformance_requests.h   requests that come again
 *   conformance_snapshots.h  folded states
 *   conformance_leases.h  checkpoints, leases, the fence
 *   conformance_tables.h  read models
 *   conformance_random.h  a thousand random batches against a model
 *   conformance_remember.h  the same for requests and snapshots
 */
#include "unit/store/conformance.h"
#include "unit/store/conformance_guard.h"
#include "unit/store/conformance_leases.h"
#include "unit/store/conformance_life.h"
#include "unit/store/conformance_log.h"
#include "unit/store/conformance_random.h"
#include "unit/store/conformance_remember.h"
#include "unit/store/conformance_requests.h"
#include "unit/store/conformance_snapshots.h"
#include "unit/store/conformance_tables.h"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <unistd.h>

/* ---- SQLite: a file in a folder ---- */

static char folder[] = "/tmp/perigee-conformance-XXXXXX";
static char lite_url[80];

static const char *lite_path(void)
{
    return lite_url + strlen("sqlite:");
}

static void lite_wipe(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-lock",
                                           "-address"};
    char path[100];

    for (size_t i = 0; i < COUNT(suffixes); i++) {
        snprintf(path, sizeof(path), "%s%s", lite_path(), suffixes[i]);
        unlink(path);
    }
}

static void lite_sql(const char *statements)
{
    char *text = NULL;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(lite_path(), &db), SQLITE_OK);
    if (sqlite3_exec(db, statements, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", statements, text);
    sqlite3_close(db);
}

static uint64_t lite_number(const char *query)
{
    sqlite3_stmt *stmt = NULL;
    uint64_t number;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(lite_path(), &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, query, -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        fail_msg("%s: %s", query, sqlite3_errmsg(db));
    number = (uint64_t)sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return number;
}

static void lite_age(unsigned hours)
{
    char sql[100];

    snprintf(sql, sizeof(sql),
             "update perigee_requests set stored_at = stored_at - %u000000",
             hours * 3600);
    lite_sql(sql);
}

/* The copy is moved into the place, as from a backup. */
static void lite_restore(void)
{
    char copy[100];
    char sql[120];

    snprintf(copy, sizeof(copy), "%s-copy", lite_path());
    snprintf(sql, sizeof(sql), "vacuum into '%s'", copy);
    lite_sql(sql);
    lite_wipe();
    assert_int_equal(rename(copy, lite_path()), 0);
}

static const struct target lite_target = {
    .name = "sqlite",
    .url = lite_url,
    .prefix = "perigee_",
    .wipe = lite_wipe,
    .sql = lite_sql,
    .number = lite_number,
    .age = lite_age,
    .restore = lite_restore,
};

static int make_folder(void **state UNUSED)
{
    target = &lite_target;
    assert_non_null(mkdtemp(folder));
    snprintf(lite_url, sizeof(lite_url), "sqlite:%s/log.db", folder);
    return 0;
}

static int remove_folder(void **state UNUSED)
{
    lite_wipe();
    return rmdir(folder);
}

/* ---- PostgreSQL: a database of this run ---- */

static char pg_name[64];
static char pg_url[512];

static void pg_run_on(const char *url, const char *statements)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, statements);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", statements, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

/* Where read models live; a user called perigee would look elsewhere first. */
static void pg_sql(const char *statements)
{
    char url[600];

    snprintf(url, sizeof(url), "%s?options=-csearch_path%%3Dpublic", pg_url);
    pg_run_on(url, statements);
}

static void pg_wipe(void)
{
    pg_sql("set client_min_messages = error;"
           "drop schema if exists perigee cascade;"
           "drop schema public cascade; create schema public");
}

static const char *server_url(void)
{
    const char *url = getenv("PERIGEE_TEST_PG_URL");

    return url != NULL && url[0] != '\0' ? url : NULL;
}

static void pg_server_sql(const char *verb)
{
    char sql[128];

    snprintf(sql, sizeof(sql), "%s database %s", verb, pg_name);
    pg_run_on(server_url(), sql);
}

static uint64_t pg_number(const char *query)
{
    PGconn *conn = PQconnectdb(pg_url);
    PGresult *result = PQexec(conn, query);
    uint64_t number;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", query, PQerrorMessage(conn));
    number = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(conn);
    return number;
}

/* Into the part of the ring in which so old a key would stand. */
static void pg_age(unsigned hours)
{
    char sql[200];

    snprintf(sql, sizeof(sql),
             "update perigee.requests"
             "   set stored_at = stored_at - interval '%u hours',"
             "       part = (part + 26 * 100 - %u) %% 26",
             hours, hours);
    pg_sql(sql);
}

/* Another database with the same in it, under the same name. */
static void pg_restore(void)
{
    char sql[300];

    snprintf(sql, sizeof(sql), "create database %s_copy template %s;", pg_name,
             pg_name);
    pg_run_on(server_url(), sql);
    pg_server_sql("drop");
    snprintf(sql, sizeof(sql), "alter database %s_copy rename to %s", pg_name,
             pg_name);
    pg_run_on(server_url(), sql);
}

static const struct target pg_target = {
    .name = "postgresql",
    .url = pg_url,
    .prefix = "perigee.",
    .wipe = pg_wipe,
    .sql = pg_sql,
    .number = pg_number,
    .age = pg_age,
    .restore = pg_restore,
};

/* The server's URL with another database behind its last slash. */
static int create_database(void **state UNUSED)
{
    const char *url = server_url();
    const char *slash = strrchr(url, '/');

    target = &pg_target;
    snprintf(pg_name, sizeof(pg_name), "perigee_conformance_%d", (int)getpid());
    snprintf(pg_url, sizeof(pg_url), "%.*s/%s", (int)(slash - url), url,
             pg_name);
    pg_server_sql("create");
    return 0;
}

static int drop_database(void **state UNUSED)
{
    pg_server_sql("drop");
    return 0;
}

/* ---- the suite ---- */

/* clang-format off */
#define EMPTY(test)    cmocka_unit_test_setup_teardown(test, open_empty, close_all)
#define MIGRATED(test) cmocka_unit_test_setup_teardown(test, open_migrated, close_all)
/* clang-format on */

static const struct CMUnitTest suite[] = {
    LIFE_TESTS(EMPTY, MIGRATED), LOG_TESTS(MIGRATED),
    GUARD_TESTS(MIGRATED),       REQUEST_TESTS(MIGRATED),
    SNAPSHOT_TESTS(MIGRATED),    LEASE_TESTS(MIGRATED),
    TABLE_TESTS(MIGRATED),       RANDOM_TESTS(MIGRATED),
    REMEMBER_TESTS(MIGRATED),
};

int main(void)
{
    int failed = cmocka_run_group_tests_name("conformance of SQLite", suite,
                                             make_folder, remove_folder);

    if (server_url() != NULL)
        return failed + cmocka_run_group_tests_name("conformance of PostgreSQL",
                                                    suite, create_database,
                                                    drop_database);
    fprintf(stderr, "\nSKIPPED: conformance of PostgreSQL, because "
                    "PERIGEE_TEST_PG_URL is not set (run under "
                    "tests/support/pg.sh)\n\n");
    return failed;
}
