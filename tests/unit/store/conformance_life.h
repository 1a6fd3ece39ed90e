#pragma once
/* The suite's chapter about opening, schemas, and who serves a database. */
#include "unit/store/conformance.h"

static void a_url_that_no_store_understands_is_refused(void **state UNUSED)
{
    static const char *const urls[] = {"", "mysql://x", "sqlite",
                                       "sqlite:", "x.db"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        struct store_options options = {.url = urls[i], .pool_size = 4};
        struct err err = {0};

        assert_null(store_open(&options, &err));
        assert_code(&err, ERR_CONFIG);
    }
}

static void a_database_without_a_schema_is_no_good(void **state)
{
    struct fixture *fx = *state;

    assert_false(store_check_schema(fx->store, &fx->err));
    assert_code(&fx->err, ERR_CONFIG);
}

static void migrating_again_does_nothing(void **state)
{
    struct fixture *fx = *state;
    uint32_t steps = 99;

    assert_ok(store_migrate(fx->store, &steps, &fx->err), &fx->err);
    assert_int_equal(steps, SCHEMA_VERSION);
    assert_ok(store_check_schema(fx->store, &fx->err), &fx->err);
    assert_ok(store_migrate(fx->store, &steps, &fx->err), &fx->err);
    assert_int_equal(steps, 0);
    assert_ok(store_check_schema(fx->store, &fx->err), &fx->err);
}

#define MIGRATORS 8

struct migrator {
    struct thread *thread;
    bool good;
    uint32_t steps;
    struct err err;
};

/* A store of its own, as a process of its own would have. */
static void migrate_alone(void *arg)
{
    struct migrator *me = arg;
    struct store *store = open_store(&me->err);

    me->good = store != NULL && store_migrate(store, &me->steps, &me->err) &&
               store_check_schema(store, &me->err);
    store_close(store);
}

static void eight_that_migrate_at_once_make_each_step_once(void **state)
{
    struct fixture *fx = *state;
    struct migrator all[MIGRATORS] = {0};
    uint32_t steps = 0;

    for (size_t i = 0; i < MIGRATORS; i++) {
        all[i].thread =
            thread_start("migrator", migrate_alone, &all[i], &fx->err);
        assert_non_null(all[i].thread);
    }
    for (size_t i = 0; i < MIGRATORS; i++)
        thread_join(all[i].thread);
    for (size_t i = 0; i < MIGRATORS; i++) {
        assert_ok(all[i].good, &all[i].err);
        steps += all[i].steps;
    }
    assert_int_equal(steps, SCHEMA_VERSION);
}

static void set_meta(uint32_t version, uint32_t oldest_binary)
{
    char sql[200];

    snprintf(sql, sizeof(sql),
             "update %smeta set version = %u, oldest_binary = %u",
             target->prefix, version, oldest_binary);
    target->sql(sql);
}

static void a_newer_schema_is_good_while_it_lets_old_binaries_in(void **state)
{
    struct fixture *fx = *state;
    uint32_t steps = 99;

    set_meta(SCHEMA_VERSION + 1, SCHEMA_VERSION);
    assert_ok(store_check_schema(fx->store, &fx->err), &fx->err);
    assert_ok(store_migrate(fx->store, &steps, &fx->err), &fx->err);
    assert_int_equal(steps, 0);

    set_meta(SCHEMA_VERSION + 1, SCHEMA_VERSION + 1);
    assert_false(store_check_schema(fx->store, &fx->err));
    assert_code(&fx->err, ERR_CONFIG);
    assert_non_null(strstr(fx->err.text, "new"));
    assert_false(store_migrate(fx->store, &steps, &fx->err));
    assert_code(&fx->err, ERR_CONFIG);
    assert_non_null(strstr(fx->err.text, "new"));
}

static void an_older_schema_asks_to_be_migrated(void **state)
{
    struct fixture *fx = *state;

    set_meta(0, 0);
    assert_false(store_check_schema(fx->store, &fx->err));
    assert_code(&fx->err, ERR_CONFIG);
    assert_non_null(strstr(fx->err.text, "migrate"));
}

static void the_log_keeps_its_id(void **state)
{
    struct fixture *fx = *state;
    struct store *again;
    struct uuid first;
    struct uuid second;

    assert_ok(store_log_id(fx->store, &first, &fx->err), &fx->err);
    assert_false(uuid_is_nil(first));
    again = open_store(&fx->err);
    assert_ok(again != NULL, &fx->err);
    assert_ok(store_log_id(again, &second, &fx->err), &fx->err);
    assert_true(uuid_eq(first, second));
    store_close(again);
}

static struct uuid log_id_of(struct fixture *fx)
{
    struct uuid id;

    assert_ok(store_log_id(fx->store, &id, &fx->err), &fx->err);
    return id;
}

static void a_log_that_is_renewed_has_another_id(void **state)
{
    struct fixture *fx = *state;
    struct uuid before = log_id_of(fx);
    struct uuid after;

    assert_ok(store_log_renew(fx->store, &fx->err), &fx->err);
    after = log_id_of(fx);
    assert_false(uuid_is_nil(after));
    assert_false(uuid_eq(before, after));
    close_stores(fx);
    open_again(fx);
    assert_ok(store_check_schema(fx->store, &fx->err), &fx->err);
    assert_true(uuid_eq(after, log_id_of(fx)));
}

/* Each time, and the events are still there. */
static void a_log_that_was_restored_has_another_id(void **state)
{
    struct fixture *fx = *state;
    struct uuid before = log_id_of(fx);
    struct uuid after;
    uint32_t steps = 99;

    write_ticks(fx, "a", 3);
    close_stores(fx);
    target->restore();
    open_again(fx);
    assert_ok(store_migrate(fx->store, &steps, &fx->err), &fx->err);
    assert_int_equal(steps, 0);
    after = log_id_of(fx);
    assert_false(uuid_is_nil(after));
    assert_false(uuid_eq(before, after));
    assert_int_equal(head_of(fx), 3);
    write_ticks(fx, "a", 1);
    assert_int_equal(head_of(fx), 4);

    /* It stays that one, until the next restore; where nothing migrates, the
     * check of the schema finds it. */
    before = after;
    close_stores(fx);
    open_again(fx);
    assert_ok(store_check_schema(fx->store, &fx->err), &fx->err);
    assert_true(uuid_eq(before, log_id_of(fx)));
    close_stores(fx);
    target->restore();
    open_again(fx);
    assert_ok(store_check_schema(fx->store, &fx->err), &fx->err);
    assert_false(uuid_eq(before, log_id_of(fx)));
}

static void a_beat_tells_the_same_id_of_the_log(void **state)
{
    struct fixture *fx = *state;
    struct store_keeper *keeper = store_keeper_open(fx->store, &fx->err);
    struct beat beat = {0};

    assert_ok(keeper != NULL, &fx->err);
    assert_ok(store_log_renew(fx->store, &fx->err), &fx->err);
    assert_ok(store_keeper_beat(keeper, uuid_new(), 1000, &fx->arena, &beat,
                                &fx->err),
              &fx->err);
    assert_true(uuid_eq(beat.log_id, log_id_of(fx)));
    store_keeper_close(keeper);
}

static void event_types_are_declared_again_and_again(void **state)
{
    static const struct declared_type types[] = {
        {STR("Order"), STR("Placed"), 0},
        {STR("Order"), STR("Paid"), 0},
        {STR("Note"), {NULL, 0}, 0},
    };
    struct fixture *fx = *state;

    assert_ok(store_declare_types(fx->store, types, COUNT(types), &fx->err),
              &fx->err);
    assert_ok(store_declare_types(fx->store, types, 2, &fx->err), &fx->err);
    if (store_kind(fx->store) == STORE_POSTGRES)
        assert_int_equal(count_rows("event_types"), 2);
    assert_ok(store_declare_types(fx->store, NULL, 0, &fx->err), &fx->err);
    if (store_kind(fx->store) == STORE_POSTGRES)
        assert_int_equal(count_rows("event_types"), 0);
}

static void a_server_says_its_limits(void **state)
{
    struct fixture *fx = *state;
    struct server_limits limits;

    assert_ok(store_server_limits(fx->store, &limits, &fx->err), &fx->err);
    assert_false(limits.pooled);
    if (store_kind(fx->store) == STORE_POSTGRES)
        assert_true(limits.max_connections > limits.reserved);
    else
        assert_int_equal(limits.max_connections, 0);
}

static void connections_are_counted(void **state)
{
    struct fixture *fx = *state;
    struct pool_status pool;

    head_of(fx);
    store_pool_status(fx->store, &pool);
    assert_in_range(pool.idle, 1, pool.most);
    assert_int_equal(pool.lent, 0);
    assert_int_equal(pool.connecting, 0);
    assert_int_equal(pool.waiting, 0);
    assert_int_equal(pool.timeouts, 0);
    assert_string_equal(store_kind_name(fx->store), target->name);
}

static void one_engine_serves_a_sqlite_file(void **state)
{
    struct fixture *fx = *state;
    struct store *other = open_store(&fx->err);
    char address[100];

    assert_ok(other != NULL, &fx->err);
    assert_false(store_find_server(target->url, address, sizeof(address)));
    assert_ok(store_claim(fx->store, "http://127.0.0.1:8000", &fx->err),
              &fx->err);
    if (store_kind(fx->store) == STORE_SQLITE) {
        assert_true(store_find_server(target->url, address, sizeof(address)));
        assert_string_equal(address, "http://127.0.0.1:8000");
        assert_false(store_claim(other, "http://127.0.0.1:9", &fx->err));
        assert_code(&fx->err, ERR_CONFLICT);
        assert_non_null(strstr(fx->err.text, "http://127.0.0.1:8000"));
    } else {
        assert_false(store_find_server(target->url, address, sizeof(address)));
        assert_ok(store_claim(other, "http://127.0.0.1:9", &fx->err), &fx->err);
    }
    store_close(other);
}

#define LIFE_TESTS(empty, migrated)                                            \
    empty(a_url_that_no_store_understands_is_refused),                         \
        empty(a_database_without_a_schema_is_no_good),                         \
        empty(migrating_again_does_nothing),                                   \
        empty(eight_that_migrate_at_once_make_each_step_once),                 \
        migrated(a_newer_schema_is_good_while_it_lets_old_binaries_in),        \
        migrated(an_older_schema_asks_to_be_migrated),                         \
        migrated(the_log_keeps_its_id),                                        \
        migrated(a_log_that_is_renewed_has_another_id),                        \
        migrated(a_log_that_was_restored_has_another_id),                      \
        migrated(a_beat_tells_the_same_id_of_the_log),                         \
        migrated(event_types_are_declared_again_and_again),                    \
        migrated(a_server_says_its_limits), migrated(connections_are_counted), \
        migrated(one_engine_serves_a_sqlite_file)
