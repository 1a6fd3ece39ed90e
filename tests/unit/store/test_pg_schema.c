#include "pg_support.h"

#include <poll.h>
#include <pthread.h>

/* Migrations and installs on PostgreSQL: who may, who waits, what is refused.
 */

static const struct table_def notes = {
    .name = STR("notes"),
    .column_count = 3,
    .columns = {{STR("id"), VALUE_TEXT, false},
                {STR("rank"), VALUE_INTEGER, true},
                {STR("text"), VALUE_TEXT, true}},
    .index_count = 1,
    .indexes = {{1, {1}}},
};

static struct projection_def definition(const char *name)
{
    return (struct projection_def){
        .name = str_of(name),
        .generation = 1,
        .partitions = 1,
        .version = 1,
        .script_hash = STR("hash"),
        .definition = STR("[]"),
        .tables = &notes,
        .table_count = 1,
    };
}

static int fresh(void **state)
{
    (void)state;
    make_schema();
    return 0;
}

/* ---- migrations ---- */

struct migrator {
    pthread_t thread;
    struct store *store;
    uint32_t steps;
    bool ok;
    struct err err;
};

static void *migrate(void *arg)
{
    struct migrator *migrator = arg;

    migrator->ok =
        store_migrate(migrator->store, &migrator->steps, &migrator->err);
    store_close(migrator->store);
    return NULL;
}

static void four_processes_at_once_make_each_step_once(void **state)
{
    struct migrator migrators[4] = {0};
    uint32_t steps = 0;

    (void)state;
    run_sql("drop schema perigee cascade");
    for (size_t i = 0; i < COUNT(migrators); i++) {
        migrators[i].store = open_at(db_url);
        pthread_create(&migrators[i].thread, NULL, migrate, &migrators[i]);
    }
    for (size_t i = 0; i < COUNT(migrators); i++) {
        pthread_join(migrators[i].thread, NULL);
        if (!migrators[i].ok)
            fail_msg("%s", migrators[i].err.text);
        steps += migrators[i].steps;
    }
    assert_int_equal(steps, ask_number("select version from perigee.meta"));
}

/* The server waits for a minute, so the client must, too. */
static void a_migration_elsewhere_is_waited_for(void **state)
{
    struct store_options options = options_for(db_url);
    PGconn *elsewhere = connect_to(db_url);
    struct migrator migrator = {0};

    (void)state;
    run_sql("drop schema perigee cascade");
    PQclear(PQexec(elsewhere, "begin; select pg_advisory_xact_lock("
                              "x'7065726967656502'::bigint)"));
    options.statement_timeout_ms = 100;
    migrator.store = open_with(&options);
    pthread_create(&migrator.thread, NULL, migrate, &migrator);
    poll(NULL, 0, 3000);
    PQfinish(elsewhere);
    pthread_join(migrator.thread, NULL);
    if (!migrator.ok)
        fail_msg("%s", migrator.err.text);
}

/* "$user" stands first in its search_path, and is the engine's schema. */
static void a_role_named_as_the_schema_misleads_nobody(void **state)
{
    struct projection_def def = definition("notes");
    struct store *store;
    struct err err;
    uint32_t steps;
    char url[512];

    (void)state;
    run_sql("drop schema perigee cascade;"
            "drop role if exists perigee; create role perigee login;"
            "create schema perigee authorization perigee;"
            "grant all on schema public to perigee");
    snprintf(url, sizeof(url), "postgresql://perigee@%s",
             strchr(db_url, '@') + 1);
    store = open_at(url);
    assert_true(store_migrate(store, &steps, &err));
    if (!store_projection_install(store, &def, 0, &err))
        fail_msg("%s", err.text);
    store_close(store);
    assert_int_equal(ask_number("select count(*) from pg_class"
                                " where relname in ('notes', 'notes__1')"
                                "   and relnamespace = 'public'::regnamespace"),
                     2);
    run_sql("drop owned by perigee cascade; drop role perigee");
    make_schema();
}

/* Whoever is given the schema need not have the right to make any. */
static void a_schema_that_was_given_is_taken(void **state)
{
    struct migrator migrator = {0};
    char url[512];

    (void)state;
    run_sql("drop schema perigee cascade;"
            "drop role if exists guest; create role guest login;"
            "create schema perigee authorization guest;"
            "grant create on schema public to guest");
    snprintf(url, sizeof(url), "postgresql://guest@%s",
             strchr(db_url, '@') + 1);
    migrator.store = open_at(url);
    pthread_create(&migrator.thread, NULL, migrate, &migrator);
    pthread_join(migrator.thread, NULL);
    run_sql("drop owned by guest cascade; drop role guest");
    make_schema();
    if (!migrator.ok)
        fail_msg("%s", migrator.err.text);
}

static void a_newer_schema_is_judged_by_what_it_needs(void **state)
{
    struct store *store = open_at(db_url);
    uint32_t steps;
    struct err err;

    (void)state;
    run_sql("update perigee.meta set version = 99");
    assert_true(store_check_schema(store, &err));
    assert_true(store_migrate(store, &steps, &err));
    assert_int_equal(steps, 0);
    run_sql("update perigee.meta set oldest_binary = 99");
    assert_false(store_check_schema(store, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_text(&err, "newer perigee");
    assert_false(store_migrate(store, &steps, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    store_close(store);
}

static void a_missing_schema_is_said(void **state)
{
    struct store *store = open_at(db_url);
    struct uuid id;
    struct err err;

    (void)state;
    run_sql("drop schema perigee cascade");
    assert_false(store_check_schema(store, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_text(&err, "perigee migrate");
    assert_false(store_log_id(store, &id, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    store_close(store);
}

static void another_encoding_is_refused(void **state)
{
    char name[80];
    char url[512];
    struct store *store;
    uint32_t steps;
    struct err err;

    (void)state;
    snprintf(name, sizeof(name), "%s_latin", db_name);
    run_sql("create database %s encoding 'LATIN1' template template0"
            " locale 'C'",
            name);
    url_of_database(url, name);
    store = open_at(url);
    assert_false(store_migrate(store, &steps, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_text(&err, "UTF8");
    store_close(store);
    run_sql("drop database %s with (force)", name);
}

/* ---- installs ---- */

static void must_install(struct store *store, const char *name)
{
    struct projection_def def = definition(name);
    struct err err;

    if (!store_projection_install(store, &def, 0, &err))
        fail_msg("%s", err.text);
}

static void a_relation_that_is_not_ours_is_left_alone(void **state)
{
    struct projection_def def = definition("notes");
    struct store *store = open_at(db_url);
    struct err err;

    (void)state;
    run_sql("create table notes (mine int)");
    assert_false(store_projection_install(store, &def, 0, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_text(&err, "notes");
    assert_int_equal(ask_number("select count(*) from perigee.projections"), 0);
    run_sql("drop table notes");
    must_install(store, "notes");
    store_close(store);
}

static void indexes_serve_lists_in_both_directions(void **state)
{
    struct store *store = open_at(db_url);

    (void)state;
    must_install(store, "notes");
    assert_int_equal(
        ask_number("select count(*) from pg_indexes where indexname ="
                   " 'notes__1_1' and indexdef like"
                   " '%%(rank NULLS FIRST, id)'"),
        1);
    assert_int_equal(ask_number("select count(*) from pg_class where relname ="
                                " 'notes__1' and 'fillfactor=70' ="
                                " any (reloptions)"),
                     1);
    store_close(store);
}

static void grants_on_the_view_show_the_rows(void **state)
{
    struct store *store = open_at(db_url);

    (void)state;
    must_install(store, "notes");
    run_sql("insert into notes__1 values ('a', 1, null)");
    run_sql("create role reader_%d; grant usage on schema public to reader_%d;"
            " grant select on notes to reader_%d; set role reader_%d",
            (int)getpid(), (int)getpid(), (int)getpid(), (int)getpid());
    assert_int_equal(ask_number("select count(*) from notes"), 1);
    run_sql("reset role; drop owned by reader_%d; drop role reader_%d",
            (int)getpid(), (int)getpid());
    store_close(store);
}

static void *let_go_soon(void *arg)
{
    usleep(800 * 1000);
    PQclear(PQexec(arg, "commit"));
    return NULL;
}

/* The registry is locked by somebody for a while: we step aside each time, so
 * readers that come meanwhile never queue behind us. */
static void an_install_waits_without_being_in_the_way(void **state)
{
    struct projection_def def = definition("notes");
    struct store *store = open_at(db_url);
    PGconn *holder = connect_to(db_url);
    pthread_t thread;
    struct err err;

    (void)state;
    PQclear(run_on(holder, "begin"));
    PQclear(run_on(holder, "lock table perigee.read_tables in share mode"));
    pthread_create(&thread, NULL, let_go_soon, holder);
    if (!store_projection_install(store, &def, 0, &err))
        fail_msg("%s", err.text);
    pthread_join(thread, NULL);
    PQfinish(holder);
    store_close(store);
}

struct installer {
    pthread_t thread;
    bool ok;
    struct err err;
};

static void *install(void *arg)
{
    struct installer *installer = arg;
    struct projection_def def = definition("notes");
    struct store *store = open_at(db_url);

    installer->ok = store_projection_install(store, &def, 0, &installer->err);
    store_close(store);
    return NULL;
}

static void two_engines_install_the_same_once(void **state)
{
    struct installer installers[2] = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(installers); i++)
        pthread_create(&installers[i].thread, NULL, install, &installers[i]);
    for (size_t i = 0; i < COUNT(installers); i++) {
        pthread_join(installers[i].thread, NULL);
        if (!installers[i].ok)
            fail_msg("%s", installers[i].err.text);
    }
    assert_int_equal(ask_number("select count(*) from perigee.checkpoints"), 1);
}

/* A schema of its own, with a name that must be quoted. */
static void read_models_may_live_elsewhere(void **state)
{
    struct store_options options = options_for(db_url);
    struct store *store;

    (void)state;
    options.read_schema = "read \"models\"";
    store = open_with(&options);
    must_install(store, "notes");
    assert_int_equal(
        ask_number("select count(*) from \"read \"\"models\"\"\".notes"), 0);
    run_sql("drop schema \"read \"\"models\"\"\" cascade");
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(four_processes_at_once_make_each_step_once,
                               fresh),
        cmocka_unit_test_setup(a_migration_elsewhere_is_waited_for, fresh),
        cmocka_unit_test_setup(a_schema_that_was_given_is_taken, fresh),
        cmocka_unit_test_setup(a_role_named_as_the_schema_misleads_nobody,
                               fresh),
        cmocka_unit_test_setup(a_newer_schema_is_judged_by_what_it_needs,
                               fresh),
        cmocka_unit_test_setup(a_missing_schema_is_said, fresh),
        cmocka_unit_test_setup(another_encoding_is_refused, fresh),
        cmocka_unit_test_setup(a_relation_that_is_not_ours_is_left_alone,
                               fresh),
        cmocka_unit_test_setup(indexes_serve_lists_in_both_directions, fresh),
        cmocka_unit_test_setup(grants_on_the_view_show_the_rows, fresh),
        cmocka_unit_test_setup(an_install_waits_without_being_in_the_way,
                               fresh),
        cmocka_unit_test_setup(two_engines_install_the_same_once, fresh),
        cmocka_unit_test_setup(read_models_may_live_elsewhere, fresh),
    };
    int failed;

    need_server();
    make_database();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_database();
    return failed;
}
