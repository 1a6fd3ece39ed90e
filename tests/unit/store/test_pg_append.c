#include "pg_support.h"

#include "pg_proxy.h"

#include <errno.h>
#include <signal.h>

/* What only PostgreSQL has: several writers, lost connections, frozen servers,
 * plans.  The contract itself is in test_conformance.c. */

struct fixture {
    struct store *store;
    struct store_writer *writer;
    struct arena arena;
};

static struct fixture fixture_at(const char *url)
{
    struct fixture f = {.store = open_at(url)};
    struct err err;

    f.writer = store_writer_open(f.store, &err);
    assert_non_null(f.writer);
    return f;
}

static void fixture_done(struct fixture *f)
{
    store_writer_close(f->writer);
    store_close(f->store);
    arena_done(&f->arena);
}

static int fresh(void **state)
{
    (void)state;
    make_schema();
    return 0;
}

static struct append_delta must_begin(struct fixture *f, struct log_place known)
{
    struct append_delta delta;
    struct err err;

    if (!store_append_begin(f->writer, known, &f->arena, &delta, &err))
        fail_msg("%s", err.text);
    return delta;
}

static enum append_end commit_event(struct fixture *f,
                                    const struct event *event, struct err *err)
{
    struct append_row row = {event, event->position};

    return store_append_commit(
        f->writer, &(struct append_batch){.rows = &row, .count = 1}, err);
}

/* ---- refusals ---- */

static void a_taken_id_makes_the_batch_stale(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct event first = make_event(1, 1, "Note", "a");
    struct event again = make_event(2, 1, "Note", "b");
    struct err err;

    (void)state;
    must_begin(&f, (struct log_place){0});
    assert_int_equal(commit_event(&f, &first, &err), APPEND_COMMITTED);
    again.event_id = first.event_id;
    must_begin(&f, (struct log_place){1, first.event_id});
    assert_int_equal(commit_event(&f, &again, &err), APPEND_STALE);
    assert_int_equal(ask_number("select count(*) from perigee.events"), 1);
    fixture_done(&f);
}

static void data_that_is_no_json_is_refused(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct event event = make_event(1, 1, "Note", "a");
    struct err err;

    (void)state;
    event.data = STR("{\"n\":");
    must_begin(&f, (struct log_place){0});
    assert_int_equal(commit_event(&f, &event, &err), APPEND_REFUSED);
    assert_int_equal(err.code, ERR_DATA);
    assert_text(&err, "json");
    /* The transaction is over, and the next one is as good as any. */
    event.data = STR("{}");
    must_begin(&f, (struct log_place){0});
    assert_int_equal(commit_event(&f, &event, &err), APPEND_COMMITTED);
    fixture_done(&f);
}

static void a_place_where_another_event_stands_is_cut(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct log_place last = append_some(f.store, 3);
    struct append_delta delta;

    (void)state;
    delta = must_begin(&f, (struct log_place){2, uuid_new()});
    assert_true(delta.cut);
    assert_int_equal(delta.count, 0);
    assert_int_equal(delta.head.position, 3);
    store_append_abort(f.writer);

    delta = must_begin(&f, (struct log_place){9, uuid_new()});
    assert_true(delta.cut);
    store_append_abort(f.writer);

    delta = must_begin(&f, last);
    assert_false(delta.cut);
    assert_int_equal(delta.count, 0);
    store_append_abort(f.writer);
    fixture_done(&f);
}

static void a_long_delta_is_cut(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct append_delta delta;

    (void)state;
    append_some(f.store, APPEND_DELTA_MAX);
    delta = must_begin(&f, (struct log_place){0});
    assert_false(delta.cut);
    assert_int_equal(delta.count, APPEND_DELTA_MAX);
    assert_int_equal(delta.moved[APPEND_DELTA_MAX - 1].position,
                     APPEND_DELTA_MAX);
    store_append_abort(f.writer);

    append_some(f.store, 1);
    delta = must_begin(&f, (struct log_place){0});
    assert_true(delta.cut);
    assert_int_equal(delta.count, 0);
    assert_int_equal(delta.head.position, APPEND_DELTA_MAX + 1);
    store_append_abort(f.writer);
    fixture_done(&f);
}

/* ---- lost connections ---- */

struct cut {
    struct proxy proxy;
    struct fixture f;
    char url[512];
};

static void cut_start(struct cut *cut)
{
    proxy_start(&cut->proxy);
    proxy_url(&cut->proxy, cut->url);
    cut->f = fixture_at(cut->url);
}

static void cut_stop(struct cut *cut)
{
    fixture_done(&cut->f);
    proxy_stop(&cut->proxy);
}

static void a_begin_that_is_cut_can_be_tried_again(void **state)
{
    const enum proxy_order orders[] = {PROXY_DROP_REQUEST, PROXY_DROP_ANSWER};
    struct append_delta delta;
    struct cut cut;
    struct err err;

    (void)state;
    cut_start(&cut);
    for (size_t i = 0; i < COUNT(orders); i++) {
        must_begin(&cut.f, (struct log_place){0});
        store_append_abort(cut.f.writer);
        proxy_order(&cut.proxy, orders[i]);
        assert_false(store_append_begin(cut.f.writer, (struct log_place){0},
                                        &cut.f.arena, &delta, &err));
        assert_int_equal(err.code, ERR_STORE);
        assert_text(&err, "lost");
    }
    must_begin(&cut.f, (struct log_place){0});
    store_append_abort(cut.f.writer);
    cut_stop(&cut);
}

static void a_lookup_that_is_cut_ends_the_transaction(void **state)
{
    struct append_stream stream = {STR("Note"), STR("a"), 0, 0, {{0}}};
    struct append_lookup lookup = {.streams = &stream, .stream_count = 1};
    struct cut cut;
    struct err err;

    (void)state;
    cut_start(&cut);
    must_begin(&cut.f, (struct log_place){0});
    proxy_order(&cut.proxy, PROXY_DROP_ANSWER);
    assert_false(store_append_lookup(cut.f.writer, &lookup, &err));
    assert_int_equal(err.code, ERR_STORE);
    must_begin(&cut.f, (struct log_place){0});
    store_append_abort(cut.f.writer);
    cut_stop(&cut);
}

static void a_commit_that_never_arrived_is_settled_as_undone(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct append_delta delta;
    struct cut cut;
    struct err err;

    (void)state;
    cut_start(&cut);
    must_begin(&cut.f, (struct log_place){0});
    proxy_order(&cut.proxy, PROXY_DROP_REQUEST);
    assert_int_equal(commit_event(&cut.f, &event, &err), APPEND_UNCERTAIN);
    delta = must_begin(&cut.f, (struct log_place){0});
    assert_int_equal(delta.count, 0);
    assert_int_equal(delta.head.position, 0);
    assert_int_equal(commit_event(&cut.f, &event, &err), APPEND_COMMITTED);
    cut_stop(&cut);
}

static void a_commit_whose_answer_was_lost_is_settled_as_done(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct append_delta delta;
    struct cut cut;
    struct err err;

    (void)state;
    cut_start(&cut);
    must_begin(&cut.f, (struct log_place){0});
    proxy_order(&cut.proxy, PROXY_DROP_ANSWER);
    assert_int_equal(commit_event(&cut.f, &event, &err), APPEND_UNCERTAIN);
    delta = must_begin(&cut.f, (struct log_place){0});
    assert_int_equal(delta.count, 1);
    assert_true(uuid_eq(delta.moved[0].event_id, event.event_id));
    store_append_abort(cut.f.writer);
    cut_stop(&cut);
}

/* ---- frozen servers ---- */

static pid_t backend_of(const char *application)
{
    return (pid_t)ask_number("select pid from pg_stat_activity"
                             " where application_name = '%s'"
                             "   and datname = current_database()",
                             application);
}

static void *thaw_soon(void *arg)
{
    usleep(700 * 1000);
    kill(*(const pid_t *)arg, SIGCONT);
    return NULL;
}

/* Waits for a standby too, which sessions on the tests' server otherwise do
 * not. */
static struct fixture impatient(const char *application, char url[600])
{
    struct store_options options = options_for(url);
    struct fixture f = {0};
    struct err err;

    snprintf(url, 600,
             "%s?application_name=%s&options=-csynchronous_commit%%3Don",
             db_url, application);
    options.statement_timeout_ms = 200;
    f.store = open_with(&options);
    f.writer = store_writer_open(f.store, &err);
    return f;
}

/* The socket is closed while the server sleeps, with everything already in its
 * buffer.  What it does when it wakes is its own business (here its timeout
 * for idle transactions is over); nobody looks before it did. */
static void a_frozen_server_is_waited_out(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct append_delta delta;
    char url[600];
    struct fixture f = impatient("frozen", url);
    pthread_t thread;
    pid_t backend;
    struct err err;

    (void)state;
    must_begin(&f, (struct log_place){0});
    backend = backend_of("frozen");
    if (kill(backend, SIGSTOP) != 0) {
        fprintf(stderr, "SKIPPED: may not stop the server's processes\n");
        store_append_abort(f.writer);
        fixture_done(&f);
        skip();
    }
    assert_int_equal(commit_event(&f, &event, &err), APPEND_UNCERTAIN);
    assert_text(&err, "no answer");
    assert_false(store_append_begin(f.writer, (struct log_place){0}, &f.arena,
                                    &delta, &err));
    assert_int_equal(err.code, ERR_STORE);

    pthread_create(&thread, NULL, thaw_soon, &backend);
    while (!store_append_begin(f.writer, (struct log_place){0}, &f.arena,
                               &delta, &err))
        assert_int_equal(err.code, ERR_STORE);
    pthread_join(thread, NULL);
    assert_int_equal(ask_number("select count(*) from pg_stat_activity"
                                " where pid = %d",
                                (int)backend),
                     0);
    assert_int_equal(ask_number("select count(*) from perigee.events"),
                     delta.count);
    store_append_abort(f.writer);
    fixture_done(&f);
}

static void set_standby(const char *names)
{
    run_sql("alter system set synchronous_standby_names = '%s'", names);
    run_sql("select pg_reload_conf()");
    while (ask_number("select count(*) from pg_settings where name ="
                      " 'synchronous_standby_names' and setting = '%s'",
                      names) == 0)
        usleep(10 * 1000);
}

/* The commit has happened, but waits for a standby: statement_timeout does not
 * end that, and its row does not show yet. */
static void a_commit_that_waits_for_its_standby_is_waited_out(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct append_delta delta;
    char url[600];
    struct fixture f = impatient("waiting", url);
    struct err err;

    (void)state;
    must_begin(&f, (struct log_place){0});
    set_standby("nobody");
    assert_int_equal(commit_event(&f, &event, &err), APPEND_UNCERTAIN);
    assert_false(store_append_begin(f.writer, (struct log_place){0}, &f.arena,
                                    &delta, &err));
    assert_int_equal(err.code, ERR_STORE);

    /* Ending it makes the row show, although no standby has it: not enough. */
    run_sql("select pg_terminate_backend(pid) from pg_stat_activity"
            " where wait_event = 'SyncRep' and datname = current_database()");
    while (ask_number("select count(*) from perigee.events") == 0)
        usleep(10 * 1000);
    assert_false(store_append_begin(f.writer, (struct log_place){0}, &f.arena,
                                    &delta, &err));
    assert_int_equal(err.code, ERR_STORE);

    set_standby("");
    while (!store_append_begin(f.writer, (struct log_place){0}, &f.arena,
                               &delta, &err))
        assert_int_equal(err.code, ERR_STORE);
    assert_int_equal(delta.count, 1);
    assert_true(uuid_eq(delta.moved[0].event_id, event.event_id));
    store_append_abort(f.writer);
    fixture_done(&f);
}

/* ---- sleeping clients ---- */

static void a_writer_that_sleeps_with_the_lock_loses_it(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct fixture sleeper = fixture_at(db_url);
    struct fixture f = fixture_at(db_url);
    uint64_t began;
    struct err err;

    (void)state;
    must_begin(&sleeper, (struct log_place){0});
    began = clock_ms();
    must_begin(&f, (struct log_place){0});
    assert_in_range(clock_ms() - began, 1000, 3500);
    assert_int_equal(commit_event(&f, &event, &err), APPEND_COMMITTED);

    event = make_event(1, 1, "Note", "b");
    assert_int_not_equal(commit_event(&sleeper, &event, &err),
                         APPEND_COMMITTED);
    assert_int_equal(ask_number("select count(*) from perigee.events"), 1);
    fixture_done(&sleeper);
    fixture_done(&f);
}

/* A client without that timeout: after the lock's own the holder is ended. */
static void a_holder_that_never_speaks_again_is_ended(void **state)
{
    struct fixture f = fixture_at(db_url);
    PGconn *holder = connect_to(db_url);
    struct append_delta delta;
    struct err err;

    (void)state;
    PQclear(run_on(holder, "begin"));
    PQclear(run_on(
        holder, "select pg_advisory_xact_lock(x'7065726967656501'::bigint)"));
    assert_false(store_append_begin(f.writer, (struct log_place){0}, &f.arena,
                                    &delta, &err));
    assert_int_equal(err.code, ERR_STORE);
    must_begin(&f, (struct log_place){0});
    store_append_abort(f.writer);
    PQfinish(holder);
    fixture_done(&f);
}

/* ---- several writers ---- */

#define BATCHES 150

struct contender {
    pthread_t thread;
    const char *own;
    bool failed;
};

/* An event of its own stream and one of the stream that all share. */
static bool append_pair(struct fixture *f, const struct contender *who,
                        struct log_place *known)
{
    struct append_stream streams[] = {
        {STR("Note"), str_of(who->own), 0, 0, {{0}}},
        {STR("Note"), STR("shared"), 0, 0, {{0}}},
    };
    struct append_lookup lookup = {.streams = streams, .stream_count = 2};
    struct append_delta delta = {0};
    struct event events[2];
    struct append_row rows[2];
    struct err err;

    if (!store_append_begin(f->writer, *known, &f->arena, &delta, &err) ||
        !store_append_lookup(f->writer, &lookup, &err))
        return false;
    for (size_t i = 0; i < 2; i++) {
        uint64_t position = delta.head.position + 1 + i;
        uint64_t stream = streams[i].stream_id;

        events[i] = make_event(position, streams[i].version + 1, "Note",
                               streams[i].aggregate_id.ptr);
        rows[i] = (struct append_row){&events[i], stream ? stream : position};
    }
    *known = (struct log_place){events[1].position, events[1].event_id};
    return store_append_commit(f->writer,
                               &(struct append_batch){.rows = rows, .count = 2},
                               &err) == APPEND_COMMITTED;
}

static void *contend(void *arg)
{
    struct contender *who = arg;
    struct fixture f = fixture_at(db_url);
    struct log_place known = {0};

    for (int i = 0; i < BATCHES && !who->failed; i++) {
        who->failed = !append_pair(&f, who, &known);
        arena_reset(&f.arena);
    }
    fixture_done(&f);
    return NULL;
}

static void two_writers_make_one_order_without_gaps(void **state)
{
    struct contender who[] = {{.own = "left"}, {.own = "right"}};

    (void)state;
    for (size_t i = 0; i < COUNT(who); i++)
        pthread_create(&who[i].thread, NULL, contend, &who[i]);
    for (size_t i = 0; i < COUNT(who); i++)
        pthread_join(who[i].thread, NULL);
    assert_false(who[0].failed || who[1].failed);
    assert_int_equal(ask_number("select max(position) from perigee.events"),
                     BATCHES * 4);
    assert_int_equal(ask_number("select count(*) from perigee.events"),
                     BATCHES * 4);
    assert_int_equal(
        ask_number(
            "select count(*) from (select aggregate_version, row_number()"
            " over (partition by stream_id order by position) as rank"
            " from perigee.events) e where aggregate_version <> rank"),
        0);
    assert_int_equal(ask_number("select max(aggregate_version)"
                                " from perigee.events"
                                " where aggregate_id = 'shared'"),
                     BATCHES * 2);
}

/* ---- plans ---- */

static int64_t sequential_scans(void)
{
    return ask_number("select sum(seq_scan) from pg_stat_user_tables"
                      " where schemaname = 'perigee'"
                      "   and relname in ('events', 'streams', 'event_ids')");
}

/* The writer prepares its statements while the log is empty; such a plan must
 * still be by index when there are thousands of events. */
static void plans_made_on_an_empty_log_are_by_index(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct contender who = {.own = "one"};
    struct log_place known = {0};
    struct event_page *page;
    int64_t before;
    struct err err;

    (void)state;
    wait_for_sessions_to_end();
    before = sequential_scans();
    for (int i = 0; i < 20; i++)
        assert_true(append_pair(&f, &who, &known));
    append_some(f.store, 5000);
    known = (struct log_place){0};
    for (int i = 0; i < 20; i++)
        assert_true(append_pair(&f, &who, &known));
    assert_true(store_read_after(f.store, 100, 1000, NULL, &page, &err));
    assert_int_equal(page->count, 1000);
    event_page_unref(page);
    assert_true(store_read_stream(f.store, STR("Note"), STR("one"), 1, 10,
                                  READ_FORWARD, &page, &err));
    event_page_unref(page);
    fixture_done(&f);
    wait_for_sessions_to_end();
    assert_int_equal(sequential_scans() - before, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_taken_id_makes_the_batch_stale, fresh),
        cmocka_unit_test_setup(data_that_is_no_json_is_refused, fresh),
        cmocka_unit_test_setup(a_place_where_another_event_stands_is_cut,
                               fresh),
        cmocka_unit_test_setup(a_long_delta_is_cut, fresh),
        cmocka_unit_test_setup(a_begin_that_is_cut_can_be_tried_again, fresh),
        cmocka_unit_test_setup(a_lookup_that_is_cut_ends_the_transaction,
                               fresh),
        cmocka_unit_test_setup(a_commit_that_never_arrived_is_settled_as_undone,
                               fresh),
        cmocka_unit_test_setup(
            a_commit_whose_answer_was_lost_is_settled_as_done, fresh),
        cmocka_unit_test_setup(a_frozen_server_is_waited_out, fresh),
        cmocka_unit_test_setup(
            a_commit_that_waits_for_its_standby_is_waited_out, fresh),
        cmocka_unit_test_setup(a_writer_that_sleeps_with_the_lock_loses_it,
                               fresh),
        cmocka_unit_test_setup(a_holder_that_never_speaks_again_is_ended,
                               fresh),
        cmocka_unit_test_setup(two_writers_make_one_order_without_gaps, fresh),
        cmocka_unit_test_setup(plans_made_on_an_empty_log_are_by_index, fresh),
    };
    int failed;

    need_server();
    make_database();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_database();
    return failed;
}
