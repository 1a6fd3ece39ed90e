#include "pg_support.h"

#include "base/log.h"
#include "store/pg_exchange.h"
#include "store/pg_fields.h"
#include "store/pool.h"

#include <pthread.h>
#include <signal.h>

static struct pg_target *target;

static struct pg_target *target_of(const char *url, uint32_t timeout_ms)
{
    struct store_options options = {.url = url,
                                    .statement_timeout_ms = timeout_ms};
    struct err err;
    struct pg_target *made = pg_target_new(&options, PG_WAY_USUAL, &err);

    if (made == NULL)
        fail_msg("%s", err.text);
    return made;
}

static struct pg_pool *pool_of(uint32_t max, uint32_t timeout_ms)
{
    struct pg_pool_options options = {
        .target = target, .size = max, .timeout_ms = timeout_ms};

    return pg_pool_new(&options);
}

static uint32_t open_of(struct pg_pool *pool)
{
    struct pool_status now;

    pg_pool_status(pool, &now);
    return now.idle + now.lent + now.connecting;
}

static struct pg_conn *must_acquire(struct pg_pool *pool)
{
    struct err err;
    struct pg_conn *conn = pg_pool_acquire(pool, "test", &err);

    if (conn == NULL)
        fail_msg("%s", err.text);
    return conn;
}

static int32_t backend_of(struct pg_conn *conn)
{
    struct err err;

    pg_send(conn, "select pg_backend_pid()::bigint");
    if (pg_run(conn, &err) != PG_DONE)
        fail_msg("%s", err.text);
    return (int32_t)pg_i64(pg_result(conn, 0), 0, 0);
}

static void what_is_given_back_is_lent_again(void **state)
{
    struct pg_pool *pool = pool_of(3, 500);
    struct pg_conn *first = must_acquire(pool);
    int32_t backend = backend_of(first);

    (void)state;
    pg_pool_release(pool, first);
    first = must_acquire(pool);
    assert_int_equal(backend_of(first), backend);
    assert_int_equal(open_of(pool), 1);
    pg_pool_release(pool, first);
    pg_pool_free(pool);
}

static void no_more_than_its_size_are_open(void **state)
{
    struct pg_pool *pool = pool_of(2, 200);
    struct pg_conn *a = must_acquire(pool);
    struct pg_conn *b = must_acquire(pool);
    uint64_t began = clock_ms();
    struct err err;

    (void)state;
    assert_null(pg_pool_acquire(pool, "third", &err));
    assert_int_equal(err.code, ERR_POOL_TIMEOUT);
    assert_in_range(clock_ms() - began, 200, 1000);
    assert_int_equal(open_of(pool), 2);
    pg_pool_release(pool, a);
    pg_pool_release(pool, b);
    pg_pool_free(pool);
}

static void *release_soon(void *arg)
{
    void **args = arg;

    usleep(100 * 1000);
    pg_pool_release(args[0], args[1]);
    return NULL;
}

static void who_waits_gets_what_is_given_back(void **state)
{
    struct pg_pool *pool = pool_of(1, 5000);
    struct pg_conn *conn = must_acquire(pool);
    void *args[] = {pool, conn};
    pthread_t thread;

    (void)state;
    pthread_create(&thread, NULL, release_soon, args);
    conn = must_acquire(pool);
    pthread_join(thread, NULL);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

static void what_died_while_idle_is_replaced(void **state)
{
    struct pg_pool *pool = pool_of(2, 500);
    struct pg_conn *conn = must_acquire(pool);
    int32_t backend = backend_of(conn);

    (void)state;
    pg_pool_release(pool, conn);
    run_sql("select pg_terminate_backend(%d)", (int)backend);
    while (ask_number("select count(*) from pg_stat_activity where pid = %d",
                      (int)backend) > 0)
        usleep(10 * 1000);
    conn = must_acquire(pool);
    assert_int_not_equal(backend_of(conn), backend);
    assert_int_equal(open_of(pool), 1);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

static void what_died_while_lent_frees_its_place(void **state)
{
    struct pg_pool *pool = pool_of(1, 500);
    struct pg_conn *conn = must_acquire(pool);
    int32_t backend = backend_of(conn);
    struct err err;

    (void)state;
    run_sql("select pg_terminate_backend(%d)", (int)backend);
    pg_send(conn, "select 1");
    assert_int_not_equal(pg_run(conn, &err), PG_DONE);
    assert_int_equal(err.code, ERR_STORE);
    pg_pool_release(pool, conn);
    assert_int_equal(open_of(pool), 0);
    conn = must_acquire(pool);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

static void a_transaction_left_open_is_rolled_back(void **state)
{
    struct pg_pool *pool = pool_of(1, 500);
    struct pg_conn *conn = must_acquire(pool);
    struct err err;

    (void)state;
    run_sql("create table if not exists left_open (n int)");
    pg_begin(conn);
    pg_send(conn, "insert into left_open values (1)");
    assert_int_equal(pg_run(conn, &err), PG_DONE);
    pg_pool_release(pool, conn);
    assert_int_equal(open_of(pool), 1);
    assert_int_equal(ask_number("select count(*) from left_open"), 0);
    conn = must_acquire(pool);
    pg_send(conn, "insert into left_open values (2)");
    assert_int_equal(pg_run(conn, &err), PG_DONE);
    pg_pool_release(pool, conn);
    assert_int_equal(ask_number("select n from left_open"), 2);
    pg_pool_free(pool);
}

static void a_reserved_place_is_not_lent(void **state)
{
    struct pg_pool *pool = pool_of(2, 100);
    struct pg_conn *conn;
    struct err err;

    (void)state;
    pg_pool_reserve(pool);
    conn = must_acquire(pool);
    assert_null(pg_pool_acquire(pool, "second", &err));
    pg_pool_unreserve(pool);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

static void a_server_that_is_away_is_said_in_one_line(void **state)
{
    struct err err;
    struct pg_target *away =
        target_of("postgresql://joe:secret@127.0.0.1:1/shop", 1000);
    struct pg_pool_options options = {
        .target = away, .size = 1, .timeout_ms = 100};
    struct pg_pool *pool = pg_pool_new(&options);

    (void)state;
    assert_null(pg_pool_acquire(pool, "test", &err));
    assert_int_equal(err.code, ERR_STORE);
    assert_text(&err, "refused");
    assert_null(strchr(err.text, '\n'));
    assert_null(strstr(err.text, "secret"));
    assert_int_equal(open_of(pool), 0);
    pg_pool_free(pool);
    pg_target_free(away);
}

/* ---- overflow ---- */

static struct pool_status status_of(struct pg_pool *pool)
{
    struct pool_status now;

    pg_pool_status(pool, &now);
    return now;
}

static struct pg_pool *pool_with_overflow(uint32_t size, uint32_t overflow)
{
    struct pg_pool_options options = {
        .target = target,
        .size = size,
        .overflow = overflow,
        .timeout_ms = 200,
    };

    return pg_pool_new(&options);
}

static void more_are_opened_under_load_and_closed_after_it(void **state)
{
    struct pg_pool *pool = pool_with_overflow(1, 2);
    struct pg_conn *conns[3];
    uintmax_t backends[3];
    struct err err;

    (void)state;
    for (int i = 0; i < 3; i++) {
        conns[i] = must_acquire(pool);
        backends[i] = (uintmax_t)backend_of(conns[i]);
    }
    assert_null(pg_pool_acquire(pool, "fourth", &err));
    assert_int_equal(err.code, ERR_POOL_TIMEOUT);
    assert_int_equal(status_of(pool).lent, 3);
    assert_int_equal(status_of(pool).timeouts, 1);
    for (int i = 0; i < 3; i++)
        pg_pool_release(pool, conns[i]);
    assert_int_equal(status_of(pool).idle, 3);
    assert_int_equal(status_of(pool).lent, 0);
    conns[0] = must_acquire(pool); /* none is opened anew */
    assert_in_set((uintmax_t)backend_of(conns[0]), backends, COUNT(backends));
    pg_pool_watch(pool);
    assert_int_equal(status_of(pool).idle, 0);
    assert_int_equal(status_of(pool).lent, 1);
    pg_pool_release(pool, conns[0]);
    pg_pool_free(pool);
}

/* ---- the order of waiting ---- */

#define IN_LINE 5

struct in_line {
    struct pg_pool *pool;
    struct pg_conn *conn;
    struct err err;
    pthread_t thread;
};

static void *wait_for_one(void *arg)
{
    struct in_line *waiter = arg;

    waiter->conn = pg_pool_acquire(waiter->pool, "waiter", &waiter->err);
    return NULL;
}

/* One behind the other, each seen waiting before the next comes. */
static void line_up(struct pg_pool *pool, struct in_line *waiters,
                    uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        waiters[i] = (struct in_line){.pool = pool};
        pthread_create(&waiters[i].thread, NULL, wait_for_one, &waiters[i]);
        while (status_of(pool).waiting <= i)
            usleep(1000);
    }
}

static void who_came_first_is_served_first(void **state)
{
    struct pg_pool *pool = pool_of(1, 30000);
    struct pg_conn *conn = must_acquire(pool);
    struct in_line waiters[IN_LINE];

    (void)state;
    line_up(pool, waiters, IN_LINE);
    for (uint32_t i = 0; i < IN_LINE; i++) {
        pg_pool_release(pool, conn);
        pthread_join(waiters[i].thread, NULL);
        conn = waiters[i].conn;
        assert_non_null(conn);
        assert_int_equal(status_of(pool).waiting, IN_LINE - 1 - i);
    }
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

/* The place of a connection that broke goes to who waits. */
static void who_waits_gets_an_empty_place(void **state)
{
    struct pg_pool *pool = pool_of(1, 30000);
    struct pg_conn *conn = must_acquire(pool);
    int32_t backend = backend_of(conn);
    struct in_line waiter;
    struct err err;

    (void)state;
    line_up(pool, &waiter, 1);
    run_sql("select pg_terminate_backend(%d)", (int)backend);
    pg_send(conn, "select 1");
    assert_int_not_equal(pg_run(conn, &err), PG_DONE);
    pg_pool_release(pool, conn);
    pthread_join(waiter.thread, NULL);
    assert_non_null(waiter.conn);
    assert_int_not_equal(backend_of(waiter.conn), backend);
    pg_pool_release(pool, waiter.conn);
    pg_pool_free(pool);
}

static void a_place_that_is_reserved_no_more_goes_to_who_waits(void **state)
{
    struct pg_pool *pool = pool_of(2, 30000);
    struct pg_conn *conn;
    struct in_line waiter;

    (void)state;
    pg_pool_reserve(pool);
    conn = must_acquire(pool);
    line_up(pool, &waiter, 1);
    pg_pool_unreserve(pool);
    pthread_join(waiter.thread, NULL);
    assert_non_null(waiter.conn);
    pg_pool_release(pool, waiter.conn);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

/* ---- age ---- */

static void what_is_old_is_replaced_when_it_comes_back(void **state)
{
    struct pg_pool_options options = {
        .target = target, .size = 1, .timeout_ms = 500, .recycle_ms = 300};
    struct pg_pool *pool = pg_pool_new(&options);
    struct pg_conn *conn = must_acquire(pool);
    int32_t backend = backend_of(conn);

    (void)state;
    while (pg_conn_age_ms(conn) < 300)
        usleep(10 * 1000);
    assert_int_equal(backend_of(conn), backend); /* nobody takes it away */
    pg_pool_release(pool, conn);
    assert_int_equal(open_of(pool), 0);
    conn = must_acquire(pool);
    assert_int_not_equal(backend_of(conn), backend);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

/* A server that is stopped answers nobody, and the socket does not tell. */
static void what_grows_old_while_nobody_needs_it_is_closed(void **state)
{
    struct pg_pool_options options = {
        .target = target, .size = 2, .timeout_ms = 500, .recycle_ms = 300};
    struct pg_pool *pool = pg_pool_new(&options);
    struct pg_conn *conn = must_acquire(pool);

    (void)state;
    pg_pool_release(pool, conn);
    pg_pool_watch(pool);
    assert_int_equal(status_of(pool).idle, 1);
    while (pg_conn_age_ms(conn) < 300)
        usleep(10 * 1000);
    pg_pool_watch(pool);
    assert_int_equal(status_of(pool).idle, 0);
    pg_pool_free(pool);
}

static void what_does_not_answer_is_replaced(void **state)
{
    struct pg_pool_options options = {
        .target = target, .size = 1, .timeout_ms = 500, .ask_after_ms = 0};
    struct pg_pool *pool = pg_pool_new(&options);
    struct pg_conn *conn = must_acquire(pool);
    int32_t backend = backend_of(conn);
    uint64_t began;

    (void)state;
    pg_pool_release(pool, conn);
    if (kill(backend, SIGSTOP) != 0)
        skip(); /* a server of another machine */
    began = clock_ms();
    conn = must_acquire(pool);
    kill(backend, SIGCONT);
    assert_int_not_equal(backend_of(conn), backend);
    assert_in_range(clock_ms() - began, 1900, 30000);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

static void nobody_is_asked_who_need_not_be(void **state)
{
    struct pg_pool_options options = {.target = target,
                                      .size = 1,
                                      .timeout_ms = 500,
                                      .ask_after_ms = PG_POOL_NEVER_ASK};
    struct pg_pool *pool = pg_pool_new(&options);
    struct pg_conn *conn = must_acquire(pool);
    int32_t backend = backend_of(conn);

    (void)state;
    pg_pool_release(pool, conn);
    if (kill(backend, SIGSTOP) != 0)
        skip();
    assert_ptr_equal(must_acquire(pool), conn);
    kill(backend, SIGCONT);
    assert_int_equal(backend_of(conn), backend);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

/* ---- loans ---- */

/* What watching, and with `conn` giving back, writes to the log. */
static const char *log_of(struct pg_pool *pool, struct pg_conn *conn)
{
    static char text[1024];
    int pipes[2];
    ssize_t len;

    assert_int_equal(pipe(pipes), 0);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, pipes[1]);
    pg_pool_watch(pool);
    pg_pool_release(pool, conn);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, 1);
    close(pipes[1]);
    len = read(pipes[0], text, sizeof(text) - 1);
    assert_true(len >= 0);
    text[len] = '\0';
    close(pipes[0]);
    return text;
}

static void a_late_loan_is_told_once_while_it_is_out(void **state)
{
    struct pg_pool *pool = pool_of(2, 300);
    struct pg_conn *conn = must_acquire(pool);
    uint64_t began = clock_ms();
    const char *said = log_of(pool, NULL);

    (void)state;
    if (clock_ms() - began < 300)
        assert_string_equal(said, "");
    while (clock_ms() - began <= 301)
        usleep(10 * 1000);
    if (said[0] == '\0')
        said = log_of(pool, NULL);
    assert_non_null(strstr(said, "connection held too long holder=test"));
    assert_string_equal(log_of(pool, conn), "");
    pg_pool_free(pool);
}

/* ---- exchanges ---- */

static void after_a_refusal_the_next_exchange_is_whole(void **state)
{
    struct pg_pool *pool = pool_of(1, 500);
    struct pg_conn *conn = must_acquire(pool);
    struct err err;

    (void)state;
    pg_send(conn, "select 1 / 0");
    pg_send(conn, "select 'never run'");
    assert_int_equal(pg_run(conn, &err), PG_REFUSED);
    assert_int_equal(pg_fault(conn), PG_FAULT_DATA);
    assert_text(&err, "division by zero");
    /* What was skipped was not prepared either, and is prepared now. */
    pg_send(conn, "select 'never run'");
    assert_int_equal(pg_run(conn, &err), PG_DONE);
    assert_string_equal(PQgetvalue(pg_result(conn, 0), 0, 0), "never run");
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

static bool stop_at_third(void *arg, const PGresult *row)
{
    (void)row;
    return ++*(int *)arg < 3;
}

static void rows_that_are_not_wanted_cost_the_connection(void **state)
{
    struct pg_pool *pool = pool_of(1, 500);
    struct pg_conn *conn = must_acquire(pool);
    struct err err;
    int count = 0;

    (void)state;
    pg_send(conn, "select generate_series(1, 2)");
    assert_int_equal(pg_run_rows(conn, stop_at_third, &count, &err), PG_DONE);
    assert_int_equal(count, 2);
    assert_true(pg_conn_is_open(conn));
    count = 0;
    pg_send(conn, "select generate_series(1, 2000000)");
    assert_int_equal(pg_run_rows(conn, stop_at_third, &count, &err), PG_DONE);
    assert_int_equal(count, 3);
    assert_false(pg_conn_is_open(conn));
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

static void more_statements_than_are_kept_prepared_run_too(void **state)
{
    struct pg_pool *pool = pool_of(1, 500);
    struct pg_conn *conn = must_acquire(pool);
    struct err err;
    char sql[64];

    (void)state;
    for (int i = 0; i < 300; i++) {
        snprintf(sql, sizeof(sql), "select %d::text", i);
        pg_send(conn, sql);
    }
    if (pg_run(conn, &err) != PG_DONE)
        fail_msg("%s", err.text);
    assert_string_equal(PQgetvalue(pg_result(conn, 299), 0, 0), "299");
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

/* A commit that fails at its own turn by an ERROR is undone for certain. */
static void a_deferred_constraint_aborts_at_the_commit(void **state)
{
    struct pg_pool *pool = pool_of(1, 500);
    struct pg_conn *conn = must_acquire(pool);
    struct err err;

    (void)state;
    run_sql("create table deferred (n int unique deferrable"
            " initially deferred)");
    pg_begin(conn);
    pg_send(conn, "insert into deferred values (1), (1)");
    assert_int_equal(pg_commit(conn, &err), PG_ABORTED);
    assert_int_equal(pg_fault(conn), PG_FAULT_UNIQUE);
    /* And outside of a transaction block at the sync. */
    pg_send(conn, "insert into deferred values (1), (1)");
    assert_int_equal(pg_run(conn, &err), PG_REFUSED);
    assert_int_equal(pg_fault(conn), PG_FAULT_UNIQUE);
    pg_send(conn, "select 1");
    assert_int_equal(pg_run(conn, &err), PG_DONE);
    pg_pool_release(pool, conn);
    pg_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_back_is_lent_again),
        cmocka_unit_test(no_more_than_its_size_are_open),
        cmocka_unit_test(who_waits_gets_what_is_given_back),
        cmocka_unit_test(what_died_while_idle_is_replaced),
        cmocka_unit_test(what_died_while_lent_frees_its_place),
        cmocka_unit_test(a_transaction_left_open_is_rolled_back),
        cmocka_unit_test(a_reserved_place_is_not_lent),
        cmocka_unit_test(a_server_that_is_away_is_said_in_one_line),
        cmocka_unit_test(more_are_opened_under_load_and_closed_after_it),
        cmocka_unit_test(who_came_first_is_served_first),
        cmocka_unit_test(who_waits_gets_an_empty_place),
        cmocka_unit_test(a_place_that_is_reserved_no_more_goes_to_who_waits),
        cmocka_unit_test(what_is_old_is_replaced_when_it_comes_back),
        cmocka_unit_test(what_grows_old_while_nobody_needs_it_is_closed),
        cmocka_unit_test(what_does_not_answer_is_replaced),
        cmocka_unit_test(nobody_is_asked_who_need_not_be),
        cmocka_unit_test(a_late_loan_is_told_once_while_it_is_out),
        cmocka_unit_test(after_a_refusal_the_next_exchange_is_whole),
        cmocka_unit_test(rows_that_are_not_wanted_cost_the_connection),
        cmocka_unit_test(more_statements_than_are_kept_prepared_run_too),
        cmocka_unit_test(a_deferred_constraint_aborts_at_the_commit),
    };
    int failed;

    need_server();
    make_database();
    target = target_of(db_url, 3000);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_target_free(target);
    drop_database();
    return failed;
}
