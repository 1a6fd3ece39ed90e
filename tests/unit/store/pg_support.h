#pragma once
/*
 * What the tests of the PostgreSQL store share: a server from
 * PERIGEE_TEST_PG_URL (tests/support/pg.sh starts one), a database of each
 * program's own, a second connection that looks and disturbs, and events.
 * Include it once a program; every function is static.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/store.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAYBE_UNUSED __attribute__((unused))

static char db_name[64];
static char db_url[512];
static PGconn *admin; /* connected to the program's database */

static const char *server_url(void)
{
    const char *url = getenv("PERIGEE_TEST_PG_URL");

    return url != NULL && url[0] != '\0' ? url : NULL;
}

/* Ends the program loudly, but well, when there is no server. */
static void need_server(void)
{
    if (server_url() != NULL)
        return;
    fprintf(stderr, "SKIPPED: PERIGEE_TEST_PG_URL is not set (run under "
                    "tests/support/pg.sh)\n");
    exit(0);
}

static PGconn *connect_to(const char *url)
{
    PGconn *conn = PQconnectdb(url);

    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "%s", PQerrorMessage(conn));
        exit(1);
    }
    return conn;
}

/* The server's URL with another database behind the last slash. */
static void url_of_database(char url[512], const char *name)
{
    const char *server = server_url();
    const char *slash = strrchr(server, '/');

    snprintf(url, 512, "%.*s/%s", (int)(slash - server), server, name);
}

static PGresult *run_on(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(conn));
        fail();
    }
    return result;
}

MAYBE_UNUSED static void run_sql(const char *format, ...) PRINTF_LIKE(1, 2);
static void run_sql(const char *format, ...)
{
    char sql[4096];
    va_list args;

    va_start(args, format);
    vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    PQclear(run_on(admin, sql));
}

MAYBE_UNUSED static int64_t ask_number(const char *format, ...)
    PRINTF_LIKE(1, 2);
static int64_t ask_number(const char *format, ...)
{
    char sql[4096];
    va_list args;
    PGresult *result;
    int64_t number;

    va_start(args, format);
    vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    result = run_on(admin, sql);
    number = PQntuples(result) == 0
                 ? -1
                 : strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return number;
}

/* Statistics show what a session did once it has ended. */
MAYBE_UNUSED static void wait_for_sessions_to_end(void)
{
    while (ask_number("select count(*) from pg_stat_activity"
                      " where datname = '%s' and pid <> pg_backend_pid()"
                      "   and backend_type = 'client backend'",
                      db_name) > 0)
        usleep(10 * 1000);
}

/* For main: a database for this program, and at its end none. */
static void make_database(void)
{
    PGconn *server = connect_to(server_url());
    char sql[128];

    snprintf(db_name, sizeof(db_name), "perigee_test_%d", (int)getpid());
    snprintf(sql, sizeof(sql), "create database %s", db_name);
    PQclear(run_on(server, sql));
    PQfinish(server);
    url_of_database(db_url, db_name);
    admin = connect_to(db_url);
    PQclear(run_on(admin, "set client_min_messages = warning"));
}

static void drop_database(void)
{
    PGconn *server = connect_to(server_url());
    char sql[128];

    PQfinish(admin);
    snprintf(sql, sizeof(sql), "drop database %s with (force)", db_name);
    PQclear(run_on(server, sql));
    PQfinish(server);
}

/* ---- stores ---- */

static struct store_options options_for(const char *url)
{
    return (struct store_options){
        .url = url,
        .read_schema = "public",
        .pool_size = 6,
        .pool_timeout_ms = 2000,
        .statement_timeout_ms = 5000,
    };
}

static struct store *open_with(const struct store_options *options)
{
    struct err err;
    struct store *store = store_open(options, &err);

    if (store == NULL)
        fail_msg("%s", err.text);
    return store;
}

MAYBE_UNUSED static struct store *open_at(const char *url)
{
    struct store_options options = options_for(url);

    return open_with(&options);
}

/* An empty log and nothing installed. */
MAYBE_UNUSED static void make_schema(void)
{
    struct store *store = open_at(db_url);
    uint32_t steps = 0;
    struct err err;

    run_sql("drop schema if exists perigee cascade; drop schema public cascade;"
            " create schema public");
    if (!store_migrate(store, &steps, &err))
        fail_msg("%s", err.text);
    store_close(store);
}

/* ---- events ---- */

static struct event make_event(uint64_t position, uint64_t version,
                               const char *type, const char *id)
{
    return (struct event){
        .position = position,
        .event_id = uuid_new(),
        .event_type = STR("Noted"),
        .event_version = 1,
        .aggregate_type = str_of(type),
        .aggregate_id = str_of(id),
        .aggregate_version = version,
        .data = STR("{\"n\":1}"),
        .metadata = STR("{}"),
        .occurred_at_us = 1291191960000000,
        .recorded_at_us = 1291191960000001,
    };
}

/* Appends `count` events, each opening a stream of its own, behind the head. */
MAYBE_UNUSED static struct log_place append_some(struct store *store,
                                                 size_t count)
{
    struct err err;
    struct arena arena = {0};
    struct append_delta delta;
    struct store_writer *writer = store_writer_open(store, &err);
    struct event *events = ARENA_ARRAY(&arena, struct event, count);
    struct append_row *rows = ARENA_ARRAY(&arena, struct append_row, count);
    struct log_place last = {0};

    assert_non_null(writer);
    if (!store_append_begin(writer, last, &arena, &delta, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < count; i++) {
        uint64_t position = delta.head.position + 1 + i;

        events[i] =
            make_event(position, 1, "Note",
                       arena_printf(&arena, "n-%u", (unsigned)position));
        rows[i] = (struct append_row){&events[i], position};
        last = (struct log_place){position, events[i].event_id};
    }
    if (store_append_commit(
            writer, &(struct append_batch){.rows = rows, .count = count},
            &err) != APPEND_COMMITTED)
        fail_msg("%s", err.text);
    store_writer_close(writer);
    arena_done(&arena);
    return last;
}

#define assert_text(err_ptr, part)                                             \
    do {                                                                       \
        if (strstr((err_ptr)->text, (part)) == NULL)                           \
            fail_msg("'%s' lacks '%s'", (err_ptr)->text, (part));              \
    } while (0)
