#include "pg_support.h"

#include <pthread.h>

/* Where the log lives, which keys it forgets and which types it is told of:
 * what engines do to it from the side, also several at once. */

static int fresh(void **state)
{
    (void)state;
    make_schema();
    return 0;
}

static struct uuid log_id_at(const char *url)
{
    struct store *store = open_at(url);
    struct uuid id = {0};
    struct err err;

    if (!store_check_schema(store, &err) || !store_log_id(store, &id, &err))
        fail_msg("%s", err.text);
    store_close(store);
    return id;
}

/* ---- home ---- */

/* The program's database in a new one, as a dump of today. */
static void restore_into(const char *name, char url[512])
{
    char command[1400];

    run_sql("create database %s", name);
    url_of_database(url, name);
    snprintf(command, sizeof(command),
             "pg_dump -Fc -d '%s' -f '/tmp/%s.dump' && pg_restore -d '%s'"
             " --exit-on-error '/tmp/%s.dump'; status=$?;"
             " rm -f '/tmp/%s.dump'; exit $status",
             db_url, name, url, name, name);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void a_restored_log_has_another_id(void **state)
{
    struct store *store = open_at(db_url);
    struct uuid before;
    struct uuid after;
    char name[80];
    char url[512];

    (void)state;
    append_some(store, 3);
    store_close(store);
    before = log_id_at(db_url);
    snprintf(name, sizeof(name), "%s_restored", db_name);
    restore_into(name, url);
    after = log_id_at(url);
    assert_false(uuid_eq(before, after));
    /* It lives there from now on, and goes on. */
    store = open_at(url);
    assert_int_equal(append_some(store, 1).position, 4);
    store_close(store);
    assert_true(uuid_eq(log_id_at(url), after));
    assert_true(uuid_eq(log_id_at(db_url), before));
    run_sql("drop database %s with (force)", name);
}

static void where_it_lives_is_noted_first_and_keeps_the_id(void **state)
{
    struct uuid before = log_id_at(db_url);

    (void)state;
    run_sql("update perigee.meta set home = null");
    assert_true(uuid_eq(log_id_at(db_url), before));
    assert_int_equal(ask_number("select count(*) from perigee.meta"
                                " where home like '%%/%%/%%'"),
                     1);
}

static void each_part_of_the_place_counts(void **state)
{
    static const char *const changes[] = {
        "regexp_replace(home, '^[^/]*', '1')",
        "regexp_replace(home, '/.*/', '/1/')",
        "regexp_replace(home, '[^/]*$', '1')",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct uuid before = log_id_at(db_url);

        run_sql("update perigee.meta set home = %s", changes[i]);
        assert_false(uuid_eq(log_id_at(db_url), before));
    }
}

/* A right given or taken later is no move. */
static void a_server_that_is_not_told_is_no_other(void **state)
{
    struct uuid before = log_id_at(db_url);
    char url[600];

    (void)state;
    run_sql("revoke execute on function pg_catalog.pg_control_system()"
            "  from public;"
            "drop role if exists guest; create role guest login;"
            "grant usage on schema perigee to guest;"
            "grant select, update on perigee.meta to guest");
    snprintf(url, sizeof(url), "postgresql://guest@%s",
             strchr(db_url, '@') + 1);
    assert_true(uuid_eq(log_id_at(url), before));
    run_sql("update perigee.meta set home = null");
    assert_true(uuid_eq(log_id_at(url), before));
    assert_int_equal(
        ask_number(
            "select count(*) from perigee.meta where home like '?/%%/%%'"),
        1);
    assert_true(uuid_eq(log_id_at(db_url), before));
    assert_int_equal(
        ask_number("select count(*) from perigee.meta where home like '?%%'"),
        0);
    run_sql("grant execute on function pg_catalog.pg_control_system()"
            "  to public;"
            "drop owned by guest; drop role guest");
}

struct engine {
    pthread_t thread;
    struct uuid id;
};

static void *start(void *arg)
{
    struct engine *engine = arg;

    engine->id = log_id_at(db_url);
    return NULL;
}

static void engines_that_start_at_once_agree(void **state)
{
    struct uuid before = log_id_at(db_url);
    struct engine engines[6];

    (void)state;
    run_sql("update perigee.meta set home = 'elsewhere/1/1'");
    for (size_t i = 0; i < COUNT(engines); i++)
        pthread_create(&engines[i].thread, NULL, start, &engines[i]);
    for (size_t i = 0; i < COUNT(engines); i++)
        pthread_join(engines[i].thread, NULL);
    for (size_t i = 0; i < COUNT(engines); i++) {
        assert_false(uuid_eq(engines[i].id, before));
        assert_true(uuid_eq(engines[i].id, engines[0].id));
    }
}

/* ---- forgetting keys ---- */

static void must_forget(struct store *store)
{
    struct err err;

    if (!store_request_forget(store, &err))
        fail_msg("%s", err.text);
}

static void fill_old_parts(void)
{
    run_sql("insert into perigee.requests select part, 't', '', 'k', "
            " sha256(''), 1, 1, 1, now() - interval '30 hours'"
            " from generate_series(0, 25) part");
}

/* Whoever reads a part makes it wait for the next turn, and waits for nothing
 * himself. */
static void a_part_in_use_is_passed_by(void **state)
{
    struct store *store = open_at(db_url);
    PGconn *reader = connect_to(db_url);

    (void)state;
    fill_old_parts();
    PQclear(run_on(reader, "begin; select * from perigee.requests_0;"
                           " select * from perigee.requests_7"));
    for (int i = 0; i < 30; i++)
        must_forget(store);
    assert_int_equal(ask_number("select count(*) from perigee.requests"), 2);
    PQclear(run_on(reader, "commit"));
    must_forget(store);
    must_forget(store);
    assert_int_equal(ask_number("select count(*) from perigee.requests"), 0);
    PQfinish(reader);
    store_close(store);
}

/* ---- types ---- */

static void must_declare(struct store *store, const struct declared_type *types,
                         size_t count)
{
    struct err err;

    if (!store_declare_types(store, types, count, &err))
        fail_msg("%s", err.text);
}

static void types_are_replaced_and_the_same_list_writes_nothing(void **state)
{
    const struct declared_type first[] = {{STR("Order"), STR("Placed"), 1},
                                          {STR("Order"), STR("Paid"), 2},
                                          {STR("Note"), STR_NONE, 0}};
    const struct declared_type second[] = {{STR("Order"), STR("Paid"), 2},
                                           {STR("Note"), STR_NONE, 0},
                                           {STR("Note"), STR_NONE, 0}};
    struct store *store = open_at(db_url);
    int64_t before;

    (void)state;
    must_declare(store, first, COUNT(first));
    assert_int_equal(ask_number("select count(*) from perigee.event_types"), 3);
    must_declare(store, second, COUNT(second));
    assert_int_equal(ask_number("select count(*) from perigee.event_types"), 2);
    assert_int_equal(ask_number("select count(*) from perigee.event_types"
                                " where event_type is null"),
                     1);
    before = ask_number("select sum(xmin::text::bigint)"
                        " from perigee.event_types");
    must_declare(store, second, COUNT(second));
    assert_int_equal(ask_number("select sum(xmin::text::bigint)"
                                " from perigee.event_types"),
                     before);
    must_declare(store, &(struct declared_type){STR("Order"), STR("Paid"), 3},
                 1);
    assert_int_equal(ask_number("select newest from perigee.event_types"), 3);
    must_declare(store, NULL, 0);
    assert_int_equal(ask_number("select count(*) from perigee.event_types"), 0);
    store_close(store);
}

static void *declare(void *arg)
{
    const struct declared_type types[] = {{STR("Order"), STR("Placed"), 1},
                                          {STR("Note"), STR_NONE, 0}};
    struct store *store = open_at(db_url);

    (void)arg;
    for (size_t i = 0; i < 20; i++) {
        must_declare(store, types, COUNT(types));
        must_declare(store, types, i % 2);
    }
    must_declare(store, types, COUNT(types));
    store_close(store);
    return NULL;
}

static void engines_that_declare_at_once_leave_one_list(void **state)
{
    pthread_t threads[4];

    (void)state;
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_create(&threads[i], NULL, declare, NULL);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(ask_number("select count(*) from perigee.event_types"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_restored_log_has_another_id, fresh),
        cmocka_unit_test_setup(where_it_lives_is_noted_first_and_keeps_the_id,
                               fresh),
        cmocka_unit_test_setup(each_part_of_the_place_counts, fresh),
        cmocka_unit_test_setup(a_server_that_is_not_told_is_no_other, fresh),
        cmocka_unit_test_setup(engines_that_start_at_once_agree, fresh),
        cmocka_unit_test_setup(a_part_in_use_is_passed_by, fresh),
        cmocka_unit_test_setup(
            types_are_replaced_and_the_same_list_writes_nothing, fresh),
        cmocka_unit_test_setup(engines_that_declare_at_once_leave_one_list,
                               fresh),
    };
    int failed;

    need_server();
    make_database();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_database();
    return failed;
}
