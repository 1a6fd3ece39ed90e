#include "pg_support.h"

#include "pg_proxy.h"

#include <signal.h>

/* Guesses on PostgreSQL: lost connections, a frozen server, a lock that is not
 * free, several writers.  What a guess is, is in conformance_guard.h. */

struct fixture {
    struct store *store;
    struct store_writer *writer;
    struct arena arena;
};

static struct fixture fixture_with(const struct store_options *options)
{
    struct fixture f = {.store = open_with(options)};
    struct err err;

    f.writer = store_writer_open(f.store, &err);
    assert_non_null(f.writer);
    return f;
}

static struct fixture fixture_at(const char *url)
{
    struct store_options options = options_for(url);

    return fixture_with(&options);
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

/* What a writer does before it guesses. */
static struct log_place learn_head(struct fixture *f)
{
    struct append_delta delta = must_begin(f, (struct log_place){0});

    store_append_abort(f->writer);
    return delta.head;
}

static enum append_end guess(struct fixture *f, struct log_place known,
                             const struct event *event, struct err *err)
{
    struct append_row row = {event, event->position};
    struct append_batch batch = {.rows = &row, .count = 1};
    int64_t recorded_at_us;

    return store_append_guarded(f->writer, known, &batch, &recorded_at_us, err);
}

static int64_t count_events(void)
{
    return ask_number("select count(*) from perigee.events");
}

/* ---- lost connections ---- */

static void check_cut_guess(enum proxy_order order, size_t stored)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct append_delta delta;
    struct proxy proxy;
    struct fixture f;
    char url[512];
    struct err err;

    proxy_start(&proxy);
    proxy_url(&proxy, url);
    f = fixture_at(url);
    learn_head(&f);
    proxy_order(&proxy, order);
    assert_int_equal(guess(&f, (struct log_place){0}, &event, &err),
                     APPEND_UNCERTAIN);
    delta = must_begin(&f, (struct log_place){0});
    assert_int_equal(delta.count, stored);
    assert_int_equal(delta.head.position, stored);
    store_append_abort(f.writer);
    fixture_done(&f);
    proxy_stop(&proxy);
}

static void a_guess_that_never_arrived_is_settled_as_undone(void **state)
{
    (void)state;
    check_cut_guess(PROXY_DROP_REQUEST, 0);
}

static void a_guess_whose_answer_was_lost_is_settled_as_done(void **state)
{
    (void)state;
    check_cut_guess(PROXY_DROP_ANSWER, 1);
}

static void a_connection_that_broke_meanwhile_is_replaced(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct fixture f = fixture_at(db_url);
    struct err err;

    (void)state;
    learn_head(&f);
    run_sql("select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()");
    wait_for_sessions_to_end();
    assert_int_equal(guess(&f, (struct log_place){0}, &event, &err),
                     APPEND_COMMITTED);
    fixture_done(&f);
}

/* ---- a frozen server ---- */

static pid_t backend_of(const char *application)
{
    return (pid_t)ask_number("select pid from pg_stat_activity"
                             " where application_name = '%s'"
                             "   and datname = current_database()",
                             application);
}

static void wait_for_end_of(pid_t backend)
{
    while (ask_number("select count(*) from pg_stat_activity where pid = %d",
                      (int)backend) > 0)
        usleep(10 * 1000);
}

/* The server froze before it had the lock, so there is nothing to wait for;
 * when it wakes, everything is in its buffer, the commit too. */
static void a_guess_that_comes_too_late_changes_nothing(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    char url[600];
    struct store_options options = options_for(url);
    struct append_delta delta;
    struct fixture f;
    pid_t backend;
    struct err err;

    (void)state;
    snprintf(url, sizeof(url), "%s?application_name=frozen", db_url);
    options.statement_timeout_ms = 200;
    f = fixture_with(&options);
    learn_head(&f);
    backend = backend_of("frozen");
    if (kill(backend, SIGSTOP) != 0) {
        fprintf(stderr, "SKIPPED: may not stop the server's processes\n");
        fixture_done(&f);
        skip();
    }
    assert_int_equal(guess(&f, (struct log_place){0}, &event, &err),
                     APPEND_UNCERTAIN);
    delta = must_begin(&f, (struct log_place){0});
    assert_int_equal(delta.head.position, 0);
    store_append_abort(f.writer);

    kill(backend, SIGCONT);
    wait_for_end_of(backend);
    assert_int_equal(count_events(), 0);
    /* What was begun since then may guess again. */
    assert_int_equal(guess(&f, (struct log_place){0}, &event, &err),
                     APPEND_COMMITTED);
    fixture_done(&f);
}

/* ---- the lock ---- */

static void a_guess_waits_for_the_lock_and_ends_who_sleeps_on_it(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct fixture f = fixture_at(db_url);
    PGconn *holder = connect_to(db_url);
    struct err err;

    (void)state;
    learn_head(&f);
    PQclear(run_on(holder, "begin"));
    PQclear(run_on(
        holder, "select pg_advisory_xact_lock(x'7065726967656501'::bigint)"));
    assert_int_equal(guess(&f, (struct log_place){0}, &event, &err),
                     APPEND_ROLLED_BACK);
    assert_int_equal(err.code, ERR_STORE);
    assert_int_equal(guess(&f, (struct log_place){0}, &event, &err),
                     APPEND_COMMITTED);
    PQfinish(holder);
    fixture_done(&f);
}

/* ---- notices ---- */

static int count_notices(PGconn *conn)
{
    int count = 0;
    PGnotify *notice;

    PQclear(run_on(conn, "select 1")); /* brings what has come */
    while ((notice = PQnotifies(conn)) != NULL) {
        count++;
        PQfreemem(notice);
    }
    return count;
}

static void only_a_guess_that_was_right_wakes_others(void **state)
{
    struct event event = make_event(1, 1, "Note", "a");
    struct fixture f = fixture_at(db_url);
    PGconn *listener = connect_to(db_url);
    struct err err;

    (void)state;
    PQclear(run_on(listener, "listen perigee"));
    learn_head(&f);
    assert_int_equal(guess(&f, (struct log_place){7, uuid_new()}, &event, &err),
                     APPEND_MOVED);
    assert_int_equal(count_notices(listener), 0);
    assert_int_equal(guess(&f, (struct log_place){0}, &event, &err),
                     APPEND_COMMITTED);
    assert_int_equal(count_notices(listener), 1);
    PQfinish(listener);
    fixture_done(&f);
}

/* ---- through a pooler ---- */

static void a_guess_leaves_nothing_in_a_pooled_session(void **state)
{
    struct store_options options = options_for(db_url);
    struct event event = make_event(1, 1, "Note", "a");
    struct fixture f;
    struct err err;

    (void)state;
    options.direct_url = db_url; /* so `url` is taken for a pooler's */
    f = fixture_with(&options);
    learn_head(&f);
    assert_int_equal(guess(&f, (struct log_place){0}, &event, &err),
                     APPEND_COMMITTED);
    assert_int_equal(count_events(), 1);
    fixture_done(&f);
}

/* ---- several writers ---- */

#define TURNS 300

struct contender {
    pthread_t thread;
    const char *own;
    size_t right;
    bool failed;
};

/* An event of the contender's own stream, guessed first, then begun. */
static bool append_own(struct fixture *f, struct contender *who,
                       struct log_place *known, uint64_t stream,
                       uint64_t version, struct event *event)
{
    struct append_row row = {event, stream};
    struct append_batch batch = {.rows = &row, .count = 1};
    struct append_delta delta;
    enum append_end end;
    int64_t recorded_at_us;
    struct err err;

    *event = make_event(known->position + 1, version, "Note", who->own);
    row.stream_id = stream != 0 ? stream : event->position;
    end =
        store_append_guarded(f->writer, *known, &batch, &recorded_at_us, &err);
    who->right += end == APPEND_COMMITTED;
    if (end == APPEND_MOVED &&
        store_append_begin(f->writer, *known, &f->arena, &delta, &err)) {
        event->position = delta.head.position + 1;
        row.stream_id = stream != 0 ? stream : event->position;
        end = store_append_commit(f->writer, &batch, &err);
    }
    *known = (struct log_place){event->position, event->event_id};
    return end == APPEND_COMMITTED;
}

static void *contend(void *arg)
{
    struct contender *who = arg;
    struct fixture f = fixture_at(db_url);
    struct log_place known = learn_head(&f);
    uint64_t stream = 0;
    struct event event;

    for (uint64_t i = 1; i <= TURNS && !who->failed; i++) {
        who->failed = !append_own(&f, who, &known, stream, i, &event);
        stream = stream != 0 ? stream : event.position;
        arena_reset(&f.arena);
    }
    fixture_done(&f);
    return NULL;
}

static void writers_that_guess_make_one_order_without_gaps(void **state)
{
    struct contender who[] = {
        {.own = "left"}, {.own = "middle"}, {.own = "right"}};

    (void)state;
    for (size_t i = 0; i < COUNT(who); i++)
        pthread_create(&who[i].thread, NULL, contend, &who[i]);
    for (size_t i = 0; i < COUNT(who); i++)
        pthread_join(who[i].thread, NULL);
    for (size_t i = 0; i < COUNT(who); i++)
        assert_false(who[i].failed);
    assert_true(who[0].right + who[1].right + who[2].right > 0);
    assert_int_equal(count_events(), TURNS * 3);
    assert_int_equal(ask_number("select max(position) from perigee.events"),
                     TURNS * 3);
    assert_int_equal(
        ask_number(
            "select count(*) from (select aggregate_version, row_number()"
            " over (partition by stream_id order by position) as rank"
            " from perigee.events) e where aggregate_version <> rank"),
        0);
}

/* ---- plans ---- */

static int64_t sequential_scans(void)
{
    return ask_number("select sum(seq_scan) from pg_stat_user_tables"
                      " where schemaname = 'perigee' and (relname in"
                      "   ('events', 'streams', 'event_ids', 'snapshots')"
                      "   or relname like 'requests%%')");
}

static void remember_and_ask(struct fixture *f, struct log_place *known)
{
    struct event event =
        make_event(known->position + 1, 1, "Note",
                   arena_printf(&f->arena, "n-%u", (unsigned)known->position));
    struct append_row row = {&event, event.position};
    struct request_key key = {STR("t"), STR(""), event.aggregate_id};
    struct request_mark mark = {.key = key,
                                .first_position = event.position,
                                .first_version = 1,
                                .count = 1};
    struct append_batch batch = {
        .rows = &row, .count = 1, .marks = &mark, .mark_count = 1};
    struct request_ask ask = {.key = key};
    struct snapshot snapshot = {.aggregate_type = STR("Note"),
                                .aggregate_id = event.aggregate_id,
                                .version = 1,
                                .last_id = event.event_id,
                                .shape = STR("v1"),
                                .script_hash = STR("h"),
                                .state = STR("{}")};
    int64_t recorded_at_us;
    bool found;
    struct err err;

    assert_int_equal(
        store_append_guarded(f->writer, *known, &batch, &recorded_at_us, &err),
        APPEND_COMMITTED);
    assert_true(store_request_find(f->store, &ask, &f->arena, &err));
    assert_true(ask.found);
    assert_true(store_snapshot_save(f->store, &snapshot, 1, &err));
    assert_true(store_snapshot_find(f->store, STR("Note"), event.aggregate_id,
                                    STR("v1"), 1, &f->arena, &snapshot, &found,
                                    &err));
    assert_true(found);
    *known = (struct log_place){event.position, event.event_id};
}

static void plans_made_on_an_empty_log_are_by_index(void **state)
{
    struct log_place known;
    struct fixture f;
    int64_t before;

    (void)state;
    wait_for_sessions_to_end();
    before = sequential_scans();
    f = fixture_at(db_url);
    known = learn_head(&f);
    for (int i = 0; i < 20; i++)
        remember_and_ask(&f, &known);
    fixture_done(&f);
    wait_for_sessions_to_end();
    assert_int_equal(sequential_scans(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_guess_that_never_arrived_is_settled_as_undone,
                               fresh),
        cmocka_unit_test_setup(a_guess_whose_answer_was_lost_is_settled_as_done,
                               fresh),
        cmocka_unit_test_setup(a_connection_that_broke_meanwhile_is_replaced,
                               fresh),
        cmocka_unit_test_setup(a_guess_that_comes_too_late_changes_nothing,
                               fresh),
        cmocka_unit_test_setup(
            a_guess_waits_for_the_lock_and_ends_who_sleeps_on_it, fresh),
        cmocka_unit_test_setup(only_a_guess_that_was_right_wakes_others, fresh),
        cmocka_unit_test_setup(a_guess_leaves_nothing_in_a_pooled_session,
                               fresh),
        cmocka_unit_test_setup(writers_that_guess_make_one_order_without_gaps,
                               fresh),
        cmocka_unit_test_setup(plans_made_on_an_empty_log_are_by_index, fresh),
    };
    int failed;

    need_server();
    make_database();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_database();
    return failed;
}
