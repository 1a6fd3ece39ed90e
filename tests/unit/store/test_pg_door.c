#include "pg_support.h"

#include <pthread.h>

/* The door in SQL as the server runs it: turns, notices, plans, ids, who may
 * mislead it.  What it takes and refuses is compared with HTTP in
 * tests/e2e/sql_spec.lua. */

static int fresh(void **state)
{
    (void)state;
    make_schema();
    return 0;
}

#define CALL                                                                   \
    "select version from perigee.append_events('Note', '%s',"                  \
    " '[{\"event_type\":\"Noted\",\"data\":{}}]', '%s')"

static int64_t append_in_sql(const char *id, const char *expected)
{
    return ask_number(CALL, id, expected);
}

/* ---- turns ---- */

struct caller {
    pthread_t thread;
    PGconn *conn;
    char sqlstate[6];
};

static void *call(void *arg)
{
    struct caller *caller = arg;
    char sql[256];
    PGresult *result;

    snprintf(sql, sizeof(sql), CALL, "n-1", "1");
    result = PQexec(caller->conn, sql);
    snprintf(caller->sqlstate, sizeof(caller->sqlstate), "%s",
             PQresultStatus(result) == PGRES_TUPLES_OK
                 ? "00000"
                 : PQresultErrorField(result, PG_DIAG_SQLSTATE));
    PQclear(result);
    return NULL;
}

static void wait_for_lock_waiters(int count)
{
    while (ask_number("select count(*) from pg_locks where locktype ="
                      " 'advisory' and not granted") < count)
        usleep(10 * 1000);
}

/* What it decides on is younger than the lock it waited for. */
static void a_call_sees_what_was_appended_while_it_waited(void **state)
{
    struct caller caller = {.conn = connect_to(db_url)};
    struct store *store = open_at(db_url);
    struct arena arena = {0};
    struct append_delta delta;
    struct err err;
    struct store_writer *writer = store_writer_open(store, &err);
    struct event event = make_event(1, 1, "Note", "n-1");
    struct append_row row = {&event, 1};

    (void)state;
    assert_true(store_append_begin(writer, (struct log_place){0}, &arena,
                                   &delta, &err));
    pthread_create(&caller.thread, NULL, call, &caller);
    wait_for_lock_waiters(1);
    assert_int_equal(
        store_append_commit(
            writer, &(struct append_batch){.rows = &row, .count = 1}, &err),
        APPEND_COMMITTED);
    pthread_join(caller.thread, NULL);
    assert_string_equal(caller.sqlstate, "00000");
    assert_int_equal(ask_number("select max(aggregate_version) from"
                                " perigee.events where position = 2"),
                     2);
    PQfinish(caller.conn);
    store_writer_close(writer);
    store_close(store);
    arena_done(&arena);
}

/* An engine that guesses the head is told that it moved. */
static void a_guess_behind_a_call_is_refused(void **state)
{
    struct store *store = open_at(db_url);
    struct log_place last = append_some(store, 1);
    struct arena arena = {0};
    struct append_delta delta;
    struct err err;
    struct store_writer *writer = store_writer_open(store, &err);
    struct event event = make_event(2, 1, "Note", "late");
    struct append_row row = {&event, 2};
    int64_t recorded_at_us;

    (void)state;
    assert_true(store_append_begin(writer, last, &arena, &delta, &err));
    store_append_abort(writer);
    assert_int_equal(append_in_sql("n-1", "1"), 2);
    assert_int_equal(
        store_append_guarded(writer, last,
                             &(struct append_batch){.rows = &row, .count = 1},
                             &recorded_at_us, &err),
        APPEND_MOVED);
    assert_true(store_append_begin(writer, last, &arena, &delta, &err));
    assert_int_equal(delta.count, 1);
    assert_int_equal(delta.moved[0].aggregate_version, 2);
    store_append_abort(writer);
    store_writer_close(writer);
    store_close(store);
    arena_done(&arena);
}

/* ---- notices ---- */

static void a_call_wakes_engines_once_and_names_the_head(void **state)
{
    PGconn *listener = connect_to(db_url);
    PGnotify *notice;

    (void)state;
    PQclear(run_on(listener, "listen perigee"));
    run_sql("select perigee.append_events('Note', 'a', '["
            "{\"event_type\":\"A\",\"data\":{}},"
            "{\"event_type\":\"B\",\"data\":{}}]')");
    PQclear(run_on(listener, "select 1"));
    notice = PQnotifies(listener);
    assert_non_null(notice);
    assert_string_equal(notice->extra, "2");
    PQfreemem(notice);
    assert_null(PQnotifies(listener));
    PQfinish(listener);
}

/* ---- ids ---- */

static void ids_that_are_made_are_of_version_7_and_of_now(void **state)
{
    (void)state;
    run_sql("select perigee.append_events('Note', 'a', (select json_agg("
            " json_build_object('event_type', 'A', 'data', json '{}'))"
            " from generate_series(1, 1000)))");
    assert_int_equal(ask_number("select count(distinct event_id)"
                                " from perigee.events where event_id::text ~"
                                " '^.{14}7.{4}[89ab]'"),
                     1000);
    assert_int_equal(
        ask_number(
            "select count(*) from perigee.events where abs("
            "   ('x' || substr(replace(event_id::text, '-', ''), 1, 12))"
            "     ::bit(48)::bigint - extract(epoch from recorded_at) * 1000)"
            "   < 60000"),
        1000);
}

/* ---- plans ---- */

static int64_t sequential_scans(void)
{
    return ask_number("select sum(seq_scan) from pg_stat_user_tables"
                      " where schemaname = 'perigee'"
                      "   and relname in ('events', 'streams', 'event_ids')");
}

/* Also those that a session made while the log was empty. */
static void the_log_is_never_scanned(void **state)
{
    PGconn *conn;
    int64_t before;

    (void)state;
    wait_for_sessions_to_end();
    before = sequential_scans();
    conn = connect_to(db_url);
    for (int i = 0; i < 20; i++)
        PQclear(run_on(conn, "select perigee.append_events('Note', 'a', '["
                             "{\"event_type\":\"A\",\"data\":{}}]')"));
    PQfinish(conn);
    wait_for_sessions_to_end();
    assert_int_equal(sequential_scans(), before);
}

/* ---- rights ---- */

/* Whoever may call it brings his own functions and operators along. */
static void a_caller_cannot_slip_code_into_it(void **state)
{
    PGconn *guest;
    char url[600];

    (void)state;
    run_sql("drop role if exists guest; create role guest login;"
            "create schema trap authorization guest;"
            "grant usage on schema perigee to guest;"
            "grant execute on function"
            " perigee.append_events(text, text, json, text) to guest");
    snprintf(url, sizeof(url), "postgresql://guest@%s",
             strchr(db_url, '@') + 1);
    guest = connect_to(url);
    PQclear(run_on(guest,
                   "create table trap.caught (who text);"
                   "create function trap.octet_length(text) returns integer"
                   " language plpgsql as $$ begin"
                   "   insert into trap.caught values (current_user); return 1;"
                   " end $$;"
                   "create function trap.same(text, text) returns boolean"
                   " language sql as $$ select trap.octet_length($1) > 0 $$;"
                   "create operator trap.= (leftarg = text, rightarg = text,"
                   "                        function = trap.same);"
                   "set search_path = trap, pg_catalog, public"));
    PQclear(run_on(guest, "select perigee.append_events('Note', 'a', '["
                          "{\"event_type\":\"A\",\"data\":{}}]')"));
    assert_int_equal(ask_number("select count(*) from trap.caught"), 0);
    PQfinish(guest);
    run_sql("drop owned by guest cascade; drop role guest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_call_sees_what_was_appended_while_it_waited,
                               fresh),
        cmocka_unit_test_setup(a_guess_behind_a_call_is_refused, fresh),
        cmocka_unit_test_setup(a_call_wakes_engines_once_and_names_the_head,
                               fresh),
        cmocka_unit_test_setup(ids_that_are_made_are_of_version_7_and_of_now,
                               fresh),
        cmocka_unit_test_setup(the_log_is_never_scanned, fresh),
        cmocka_unit_test_setup(a_caller_cannot_slip_code_into_it, fresh),
    };
    int failed;

    need_server();
    make_database();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_database();
    return failed;
}
