#include "pg_support.h"

#include "pg_proxy.h"

#include <signal.h>

/* Batches on PostgreSQL: lost answers, frozen servers, locked rows, plans.
 * Table `sums`: id bigint, note text?, total numeric, count integer?. */

static const struct table_def sums = {
    .name = STR("sums"),
    .column_count = 4,
    .columns = {{STR("id"), VALUE_BIGINT, false},
                {STR("count"), VALUE_INTEGER, true},
                {STR("note"), VALUE_TEXT, true},
                {STR("total"), VALUE_NUMERIC, false}},
    .index_count = 1,
    .indexes = {{1, {1}}},
};
enum { ID, COUNT_COLUMN, NOTE, TOTAL };

static const struct slice slice = {STR("sums"), 1, 0, 1};

static struct projection_def definition(void)
{
    return (struct projection_def){
        .name = STR("sums"),
        .generation = 1,
        .partitions = 1,
        .version = 1,
        .script_hash = STR("hash"),
        .definition = STR("[]"),
        .tables = &sums,
        .table_count = 1,
    };
}

struct fixture {
    struct store *store;
    struct uuid owner;
    uint64_t epoch;
    struct log_place at; /* the end of the log: 10 events */
};

static struct fixture fixture_with(const struct store_options *options)
{
    struct projection_def def = definition();
    struct fixture f = {.store = open_with(options), .owner = uuid_new()};
    struct store *direct = open_at(db_url);
    struct checkpoint checkpoint;
    struct err err;

    f.at = append_some(direct, 10);
    if (!store_projection_install(direct, &def, 0, &err))
        fail_msg("%s", err.text);
    assert_int_equal(
        store_lease_take(direct, &slice, f.owner, 10000, &checkpoint, &err),
        LEASE_TAKEN);
    f.epoch = checkpoint.epoch;
    store_close(direct);
    return f;
}

static struct fixture fixture_at(const char *url)
{
    struct store_options options = options_for(url);

    return fixture_with(&options);
}

static int fresh(void **state)
{
    (void)state;
    make_schema();
    return 0;
}

static struct value number(int64_t i64)
{
    return (struct value){.kind = VALUE_BIGINT, .i64 = i64};
}

static struct value numeric(const char *text)
{
    return (struct value){.kind = VALUE_NUMERIC, .text = str_of(text)};
}

/* Adds 1.50 to row 7. */
static const struct value added[] = {
    {.kind = VALUE_BIGINT, .i64 = 7},
    {.kind = VALUE_NULL},
    {.kind = VALUE_NULL},
    {.kind = VALUE_NUMERIC, .text = STR("1.50")},
};
static const struct row_change add = {
    ROW_ADD, UINT64_C(1) << ID | UINT64_C(1) << TOTAL, added};
static const struct table_change add_change = {&sums, &add, 1};

static struct batch_commit batch_of(const struct fixture *f,
                                    const struct table_change *change)
{
    return (struct batch_commit){
        .slice = slice,
        .epoch = f->epoch,
        .from = 0,
        .to = f->at.position,
        .to_event_id = f->at.event_id,
        .events_processed = 10,
        .ttl_ms = 10000,
        .tables = change,
        .table_count = 1,
    };
}

static void assert_total(const char *expected)
{
    assert_int_equal(ask_number("select count(*) from sums"
                                " where id = 7 and total::text = '%s'",
                                expected),
                     1);
}

/* ---- the fence ---- */

static void the_same_batch_commits_once(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct batch_commit batch = batch_of(&f, &add_change);
    struct err err;

    (void)state;
    assert_int_equal(store_commit_batch(f.store, &batch, &err), COMMIT_DONE);
    assert_int_equal(store_commit_batch(f.store, &batch, &err), COMMIT_FENCED);
    assert_total("1.50");
    store_close(f.store);
}

/* ---- lost answers ---- */

static void settle_after(enum proxy_order order, enum commit_end expected)
{
    struct proxy proxy;
    char url[512];
    struct fixture f;
    struct batch_commit batch;
    uint64_t head;
    struct err err;

    proxy_start(&proxy);
    proxy_url(&proxy, url);
    f = fixture_at(url);
    batch = batch_of(&f, &add_change);
    assert_true(store_head(f.store, &head, &err)); /* it is connected */
    proxy_order(&proxy, order);
    assert_int_equal(store_commit_batch(f.store, &batch, &err),
                     COMMIT_UNCERTAIN);
    assert_int_equal(store_commit_settle(f.store, &batch, &err), expected);
    if (expected == COMMIT_ROLLED_BACK)
        assert_int_equal(store_commit_batch(f.store, &batch, &err),
                         COMMIT_DONE);
    assert_total("1.50");
    store_close(f.store);
    proxy_stop(&proxy);
}

static void a_batch_that_never_arrived_is_settled_as_undone(void **state)
{
    (void)state;
    settle_after(PROXY_DROP_REQUEST, COMMIT_ROLLED_BACK);
}

static void a_batch_whose_answer_was_lost_is_settled_as_done(void **state)
{
    (void)state;
    settle_after(PROXY_DROP_ANSWER, COMMIT_DONE);
}

/* ---- frozen servers ---- */

static struct fixture impatient(char url[600])
{
    struct store_options options = options_for(url);

    snprintf(url, 600, "%s?application_name=frozen", db_url);
    options.statement_timeout_ms = 300;
    return fixture_with(&options);
}

static pid_t freeze_idle_backend(struct fixture *f)
{
    uint64_t head;
    struct err err;
    pid_t backend;

    assert_true(store_head(f->store, &head, &err)); /* it is connected */
    backend = (pid_t)ask_number("select pid from pg_stat_activity"
                                " where application_name = 'frozen'"
                                "   and datname = current_database()");
    return kill(backend, SIGSTOP) == 0 ? backend : 0;
}

static void wait_for_end_of(pid_t backend)
{
    while (ask_number("select count(*) from pg_stat_activity where pid = %d",
                      (int)backend) > 0)
        usleep(10 * 1000);
}

/* It froze before it had the row: settling cannot see it, the retry commits,
 * and what wakes later is fenced off.  Once, whatever happens. */
static void a_server_that_wakes_after_the_retry_is_fenced_off(void **state)
{
    char url[600];
    struct fixture f = impatient(url);
    struct batch_commit batch = batch_of(&f, &add_change);
    pid_t backend = freeze_idle_backend(&f);
    struct err err;

    (void)state;
    if (backend == 0) {
        fprintf(stderr, "SKIPPED: may not stop the server's processes\n");
        store_close(f.store);
        skip();
    }
    assert_int_equal(store_commit_batch(f.store, &batch, &err),
                     COMMIT_UNCERTAIN);
    assert_int_equal(store_commit_settle(f.store, &batch, &err),
                     COMMIT_ROLLED_BACK);
    assert_int_equal(store_commit_batch(f.store, &batch, &err), COMMIT_DONE);
    kill(backend, SIGCONT);
    wait_for_end_of(backend);
    assert_total("1.50");
    assert_int_equal(
        ask_number("select events_processed from perigee.checkpoints"), 10);
    store_close(f.store);
}

/* The same without a retry: it wakes, and commits what nobody waits for. */
static void a_server_that_wakes_before_the_retry_has_committed(void **state)
{
    char url[600];
    struct fixture f = impatient(url);
    struct batch_commit batch = batch_of(&f, &add_change);
    pid_t backend = freeze_idle_backend(&f);
    struct err err;

    (void)state;
    if (backend == 0) {
        store_close(f.store);
        skip();
    }
    assert_int_equal(store_commit_batch(f.store, &batch, &err),
                     COMMIT_UNCERTAIN);
    kill(backend, SIGCONT);
    wait_for_end_of(backend);
    assert_int_equal(store_commit_settle(f.store, &batch, &err), COMMIT_DONE);
    assert_int_equal(store_commit_batch(f.store, &batch, &err), COMMIT_FENCED);
    assert_total("1.50");
    store_close(f.store);
}

/* ---- locked rows ---- */

static void *end_admin_soon(void *arg)
{
    usleep(400 * 1000);
    PQclear(PQexec(arg, "commit"));
    return NULL;
}

static void settling_waits_for_the_row(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct batch_commit batch = batch_of(&f, &add_change);
    PGconn *holder = connect_to(db_url);
    uint64_t began = clock_ms();
    pthread_t thread;
    struct err err;

    (void)state;
    PQclear(run_on(holder, "begin"));
    PQclear(run_on(holder, "update perigee.checkpoints set position = 10"));
    pthread_create(&thread, NULL, end_admin_soon, holder);
    assert_int_equal(store_commit_settle(f.store, &batch, &err), COMMIT_DONE);
    assert_true(clock_ms() - began >= 300);
    pthread_join(thread, NULL);
    PQfinish(holder);
    store_close(f.store);
}

static void a_beat_does_not_wait_for_a_running_commit(void **state)
{
    struct fixture f = fixture_at(db_url);
    PGconn *holder = connect_to(db_url);
    struct arena arena = {0};
    struct store_keeper *keeper;
    struct checkpoint seen;
    uint64_t began;
    struct beat beat;
    struct err err;

    (void)state;
    keeper = store_keeper_open(f.store, &err);
    PQclear(run_on(holder, "begin"));
    PQclear(run_on(holder, "select 1 from perigee.checkpoints for update"));
    began = clock_ms();
    assert_true(store_keeper_beat(keeper, f.owner, 10000, &arena, &beat, &err));
    assert_int_equal(beat.held_count, 1);
    assert_int_equal(beat.held[0].epoch, f.epoch);
    assert_int_equal(
        store_lease_take(f.store, &slice, uuid_new(), 10000, &seen, &err),
        LEASE_REFUSED);
    assert_true(clock_ms() - began < 1000);
    PQfinish(holder);
    arena_done(&arena);
    store_keeper_close(keeper);
    store_close(f.store);
}

/* ---- ends ---- */

static void a_dropped_table_stops_the_projection(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct batch_commit batch = batch_of(&f, &add_change);
    struct err err;

    (void)state;
    run_sql("drop table sums__1 cascade");
    assert_int_equal(store_commit_batch(f.store, &batch, &err), COMMIT_BROKEN);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_text(&err, "sums__1");
    store_close(f.store);
}

static void a_trigger_of_the_user_may_refuse(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct batch_commit batch = batch_of(&f, &add_change);
    struct err err;

    (void)state;
    run_sql("create function no() returns trigger language plpgsql as"
            " $$ begin raise 'not today'; end $$;"
            "create trigger no before insert on sums__1"
            " for each row execute function no()");
    assert_int_equal(store_commit_batch(f.store, &batch, &err), COMMIT_REFUSED);
    assert_int_equal(err.code, ERR_DATA);
    assert_text(&err, "not today");
    assert_int_equal(ask_number("select position from perigee.checkpoints"), 0);
    store_close(f.store);
}

/* Random, so that it is not compressed into a size that fits. */
static struct str long_text(char text[6000])
{
    for (size_t i = 0; i < 6000; i++)
        text[i] = (char)('a' + random() % 26);
    return str_n(text, 6000);
}

static void what_is_too_long_for_an_index_is_refused_as_data(void **state)
{
    struct fixture f = fixture_at(db_url);
    char text[6000];
    const struct value values[] = {
        {.kind = VALUE_BIGINT, .i64 = 7},
        {.kind = VALUE_NULL},
        {.kind = VALUE_TEXT, .text = long_text(text)},
        {.kind = VALUE_NUMERIC, .text = STR("1")},
    };
    const struct row_change put = {ROW_PUT, 15, values};
    const struct table_change change = {&sums, &put, 1};
    struct batch_commit batch = batch_of(&f, &change);
    struct err err;

    (void)state;
    run_sql("create index on sums__1 (note)");
    assert_int_equal(store_commit_batch(f.store, &batch, &err), COMMIT_REFUSED);
    assert_int_equal(err.code, ERR_DATA);
    store_close(f.store);
}

/* ---- statements ---- */

static void each_kind_of_change_is_one_statement(void **state)
{
    struct fixture f = fixture_at(db_url);
    struct value put[] = {number(1),
                          {.kind = VALUE_INTEGER, .i64 = 5},
                          {.kind = VALUE_TEXT, .text = STR("a \"b\" \\")},
                          numeric("12345678901234567890.10")};
    struct value insert[] = {number(2),
                             {.kind = VALUE_NULL},
                             {.kind = VALUE_NULL},
                             numeric("-0.001")};
    struct value patch[] = {number(1),
                            {.kind = VALUE_NULL},
                            {.kind = VALUE_NULL},
                            {.kind = VALUE_NULL}};
    struct value more[] = {number(2),
                           {.kind = VALUE_INTEGER, .i64 = 3},
                           {.kind = VALUE_NULL},
                           numeric("1")};
    struct value gone[] = {number(1)};
    struct row_change first[] = {{ROW_PUT, 15, put}, {ROW_INSERT, 15, insert}};
    /* Null counts as zero, and a patch may write null. */
    struct row_change second[] = {{ROW_PATCH, 5, patch}, {ROW_ADD, 11, more}};
    struct row_change third[] = {{ROW_DELETE, 1, gone}, add};
    struct table_change changes[] = {
        {&sums, first, 2}, {&sums, second, 2}, {&sums, third, 2}};
    struct batch_commit batch;
    struct err err;

    (void)state;
    for (size_t i = 0; i < COUNT(changes); i++) {
        run_sql("update perigee.checkpoints set position = 0");
        batch = batch_of(&f, &changes[i]);
        if (store_commit_batch(f.store, &batch, &err) != COMMIT_DONE)
            fail_msg("%s", err.text);
        if (i == 1)
            assert_int_equal(ask_number("select count(*) from sums where id = 1"
                                        " and note is null and count = 5 and"
                                        " total::text ="
                                        " '12345678901234567890.10'"),
                             1);
    }
    assert_int_equal(ask_number("select count(*) from sums where id = 2 and"
                                " count = 3 and total::text = '0.999'"),
                     1);
    assert_int_equal(ask_number("select count(*) from sums"), 2);
    assert_total("1.50");
    store_close(f.store);
}

#define MANY 3000

static void commit_many(struct fixture *f, enum row_op op)
{
    struct value *values = NEW_ARRAY(struct value, MANY * 4);
    struct row_change *rows = NEW_ARRAY(struct row_change, MANY);
    struct table_change change = {&sums, rows, MANY};
    struct batch_commit batch = batch_of(f, &change);
    struct err err;

    for (int64_t i = 0; i < MANY; i++) {
        values[i * 4 + ID] = number(i);
        values[i * 4 + TOTAL] = numeric("1");
        rows[i] =
            (struct row_change){op, op == ROW_PATCH ? 9 : 15, &values[i * 4]};
    }
    run_sql("update perigee.checkpoints set position = 0");
    if (store_commit_batch(f->store, &batch, &err) != COMMIT_DONE)
        fail_msg("%s", err.text);
    mem_free(values);
    mem_free(rows);
}

/* A patch planned while the table was empty must find its rows by key. */
static void plans_made_on_an_empty_table_are_by_index(void **state)
{
    struct fixture f = fixture_at(db_url);
    int64_t before;

    (void)state;
    wait_for_sessions_to_end();
    before = ask_number("select seq_scan from pg_stat_user_tables"
                        " where relname = 'sums__1'");
    commit_many(&f, ROW_PATCH);
    commit_many(&f, ROW_PUT);
    commit_many(&f, ROW_PATCH);
    commit_many(&f, ROW_DELETE);
    store_close(f.store);
    wait_for_sessions_to_end();
    assert_int_equal(ask_number("select seq_scan from pg_stat_user_tables"
                                " where relname = 'sums__1'"),
                     before);
    assert_int_equal(ask_number("select count(*) from sums"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_batch_commits_once, fresh),
        cmocka_unit_test_setup(a_batch_that_never_arrived_is_settled_as_undone,
                               fresh),
        cmocka_unit_test_setup(a_batch_whose_answer_was_lost_is_settled_as_done,
                               fresh),
        cmocka_unit_test_setup(
            a_server_that_wakes_after_the_retry_is_fenced_off, fresh),
        cmocka_unit_test_setup(
            a_server_that_wakes_before_the_retry_has_committed, fresh),
        cmocka_unit_test_setup(settling_waits_for_the_row, fresh),
        cmocka_unit_test_setup(a_beat_does_not_wait_for_a_running_commit,
                               fresh),
        cmocka_unit_test_setup(a_dropped_table_stops_the_projection, fresh),
        cmocka_unit_test_setup(a_trigger_of_the_user_may_refuse, fresh),
        cmocka_unit_test_setup(what_is_too_long_for_an_index_is_refused_as_data,
                               fresh),
        cmocka_unit_test_setup(each_kind_of_change_is_one_statement, fresh),
        cmocka_unit_test_setup(plans_made_on_an_empty_table_are_by_index,
                               fresh),
    };
    int failed;

    need_server();
    make_database();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_database();
    return failed;
}
