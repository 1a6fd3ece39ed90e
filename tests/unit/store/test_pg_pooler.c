#include "pg_support.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Through PgBouncer in transaction mode with one server connection for all, so
 * that whatever a session leaves behind is found by the next. */

static char pooler_dir[] = "/tmp/perigee-pooler.XXXXXX";
static char pooler_url[512];
static pid_t pooler;

static const char *option_of_server(const char *keyword, char value[128])
{
    PQconninfoOption *options = PQconninfoParse(server_url(), NULL);

    value[0] = '\0';
    for (PQconninfoOption *o = options; o->keyword != NULL; o++)
        if (strcmp(o->keyword, keyword) == 0 && o->val != NULL)
            snprintf(value, 128, "%s", o->val);
    PQconninfoFree(options);
    return value;
}

static void write_config(const char *path, int port)
{
    char host[128];
    char server_port[128];
    FILE *file = fopen(path, "w");

    fprintf(file,
            "[databases]\n* = host=%s port=%s user=%s\n"
            "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"
            "auth_type = any\npool_mode = transaction\n"
            "default_pool_size = 1\nserver_reset_query =\n"
            "unix_socket_dir =\nlogfile = /dev/null\n",
            option_of_server("host", host),
            option_of_server("port", server_port), PQuser(admin), port);
    fclose(file);
}

static void run_pooler(const char *config)
{
    const char *user = getenv("PERIGEE_TEST_PG_USER");

    if (freopen("/dev/null", "w", stderr) == NULL)
        _exit(1);
    if (geteuid() == 0 && user != NULL)
        execlp("pgbouncer", "pgbouncer", "-q", "-u", user, config, NULL);
    else
        execlp("pgbouncer", "pgbouncer", "-q", config, NULL);
    _exit(127);
}

/* False when there is no PgBouncer, or it does not come up in 5 seconds. */
static bool start_pooler(void)
{
    /* Below those that outgoing connections get, and pg.sh's. */
    int port = 10000 + (int)(getpid() % 10000);
    char config[128];

    if (mkdtemp(pooler_dir) == NULL || chmod(pooler_dir, 0755) != 0)
        return false;
    snprintf(config, sizeof(config), "%s/pgbouncer.ini", pooler_dir);
    write_config(config, port);
    snprintf(pooler_url, sizeof(pooler_url), "postgresql://%s@127.0.0.1:%d/%s",
             PQuser(admin), port, db_name);
    pooler = fork();
    if (pooler == 0)
        run_pooler(config);
    for (int i = 0; i < 100; i++) {
        PGPing ping = PQping(pooler_url);

        if (ping == PQPING_OK)
            return true;
        if (waitpid(pooler, NULL, WNOHANG) == pooler) {
            pooler = 0;
            return false;
        }
        usleep(50 * 1000);
    }
    return false;
}

static void stop_pooler(void)
{
    char config[128];

    if (pooler > 0) {
        kill(pooler, SIGTERM);
        waitpid(pooler, NULL, 0);
    }
    snprintf(config, sizeof(config), "%s/pgbouncer.ini", pooler_dir);
    unlink(config);
    rmdir(pooler_dir);
}

static struct store *open_pooled(void)
{
    struct store_options options = options_for(pooler_url);

    options.direct_url = db_url;
    return open_with(&options);
}

static int fresh(void **state)
{
    (void)state;
    make_schema();
    return 0;
}

static const struct table_def sums = {
    .name = STR("sums"),
    .column_count = 2,
    .columns = {{STR("id"), VALUE_BIGINT, false},
                {STR("total"), VALUE_NUMERIC, false}},
};

static void commit_one(struct store *store, struct log_place to)
{
    struct projection_def def = {.name = STR("sums"),
                                 .generation = 1,
                                 .partitions = 1,
                                 .version = 1,
                                 .script_hash = STR("hash"),
                                 .definition = STR("[]"),
                                 .tables = &sums,
                                 .table_count = 1};
    struct slice slice = {STR("sums"), 1, 0, 1};
    struct value values[] = {{.kind = VALUE_BIGINT, .i64 = 7},
                             {.kind = VALUE_NUMERIC, .text = STR("1.50")}};
    struct row_change row = {ROW_ADD, 3, values};
    struct table_change change = {&sums, &row, 1};
    struct checkpoint checkpoint;
    struct batch_commit batch = {.slice = slice,
                                 .to = to.position,
                                 .to_event_id = to.event_id,
                                 .ttl_ms = 1000,
                                 .tables = &change,
                                 .table_count = 1};
    struct err err;

    if (!store_projection_install(store, &def, 0, &err) ||
        store_lease_take(store, &slice, uuid_new(), 1000, &checkpoint, &err) !=
            LEASE_TAKEN)
        fail_msg("%s", err.text);
    batch.epoch = checkpoint.epoch;
    if (store_commit_batch(store, &batch, &err) != COMMIT_DONE)
        fail_msg("%s", err.text);
    assert_int_equal(store_commit_batch(store, &batch, &err), COMMIT_FENCED);
}

static void all_of_a_store_works_and_leaves_nothing_behind(void **state)
{
    struct store *store = open_pooled();
    struct event_page *page;
    struct log_place last;
    PGconn *stranger;
    PGresult *result;
    struct err err;

    (void)state;
    for (int i = 0; i < 5; i++)
        last = append_some(store, 4);
    if (!store_read_after(store, 0, 100, NULL, &page, &err))
        fail_msg("%s", err.text);
    assert_int_equal(page->count, 20);
    event_page_unref(page);
    commit_one(store, last);
    assert_int_equal(ask_number("select count(*) from sums"
                                " where total::text = '1.50'"),
                     1);

    stranger = connect_to(pooler_url);
    result = run_on(stranger, "select current_setting('enable_seqscan'),"
                              " current_setting('statement_timeout'),"
                              " (select count(*) from pg_prepared_statements)");
    assert_string_equal(PQgetvalue(result, 0, 0), "on");
    assert_string_equal(PQgetvalue(result, 0, 1), "0");
    assert_string_equal(PQgetvalue(result, 0, 2), "0");
    PQclear(result);
    PQfinish(stranger);
    store_close(store);
}

static void notices_come_over_the_direct_connection(void **state)
{
    struct store *store = open_pooled();
    struct arena arena = {0};
    struct store_keeper *keeper;
    uint64_t head = 0;
    struct beat beat;
    struct err err;

    (void)state;
    keeper = store_keeper_open(store, &err);
    assert_true(
        store_keeper_beat(keeper, uuid_new(), 1000, &arena, &beat, &err));
    append_some(store, 3);
    assert_true(store_keeper_wait(keeper, -1, 3000, &head));
    assert_int_equal(head, 3);
    store_keeper_close(keeper);
    arena_done(&arena);
    store_close(store);
}

/* The server's limits are not what the pool meets. */
static void a_pooler_is_seen(void **state)
{
    struct store *store = open_pooled();
    struct server_limits limits;
    struct err err;

    (void)state;
    assert_true(store_server_limits(store, &limits, &err));
    assert_true(limits.pooled);
    store_close(store);
}

/* The lock goes with the settings of the transaction. */
static void a_sleeping_writer_loses_the_lock_here_too(void **state)
{
    struct store *store = open_pooled();
    struct store *other = open_at(db_url);
    struct arena arena = {0};
    struct store_writer *writer;
    struct append_delta delta;
    uint64_t began;
    struct err err;

    (void)state;
    writer = store_writer_open(store, &err);
    assert_true(store_append_begin(writer, (struct log_place){0}, &arena,
                                   &delta, &err));
    began = clock_ms();
    append_some(other, 1);
    assert_in_range(clock_ms() - began, 1000, 3500);
    store_writer_close(writer);
    arena_done(&arena);
    store_close(other);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_of_a_store_works_and_leaves_nothing_behind,
                               fresh),
        cmocka_unit_test_setup(notices_come_over_the_direct_connection, fresh),
        cmocka_unit_test_setup(a_pooler_is_seen, fresh),
        cmocka_unit_test_setup(a_sleeping_writer_loses_the_lock_here_too,
                               fresh),
    };
    int failed = 0;

    need_server();
    make_database();
    if (start_pooler())
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    else
        fprintf(stderr, "SKIPPED: no pgbouncer could be started\n");
    stop_pooler();
    drop_database();
    return failed;
}
