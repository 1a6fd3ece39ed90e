#include "pg_support.h"

#include <fcntl.h>
#include <pthread.h>

/* The keeper's connection: notices, wake-ups, and being cut off. */

static uint32_t open_connections(struct store *store)
{
    struct pool_status pool;

    store_pool_status(store, &pool);
    return pool.idle + pool.lent + pool.connecting;
}

static const struct uuid nobody = {{1}};

static int fresh(void **state)
{
    (void)state;
    make_schema();
    return 0;
}

struct fixture {
    struct store *store;
    struct store_keeper *keeper;
    struct arena arena;
};

static struct fixture fixture_with(const struct store_options *options)
{
    struct fixture f = {0};
    struct err err;

    f.store = open_with(options);
    f.keeper = store_keeper_open(f.store, &err);
    assert_non_null(f.keeper);
    return f;
}

static struct fixture fixture_of(uint32_t pool_size)
{
    struct store_options options = options_for(db_url);

    options.pool_size = pool_size;
    return fixture_with(&options);
}

static void fixture_done(struct fixture *f)
{
    store_keeper_close(f->keeper);
    store_close(f->store);
    arena_done(&f->arena);
}

static bool beat(struct fixture *f, struct beat *out, struct err *err)
{
    return store_keeper_beat(f->keeper, nobody, 1000, &f->arena, out, err);
}

static void *append_soon(void *arg)
{
    usleep(150 * 1000);
    append_some(arg, 3);
    return NULL;
}

static void an_append_ends_the_sleep(void **state)
{
    struct fixture f = fixture_of(6);
    struct store *other = open_at(db_url);
    uint64_t began = clock_ms();
    uint64_t head = 0;
    pthread_t thread;
    struct beat out;
    struct err err;

    (void)state;
    assert_true(beat(&f, &out, &err));
    assert_int_equal(out.head, 0);
    assert_int_equal(out.held_count, 0);
    pthread_create(&thread, NULL, append_soon, other);
    assert_true(store_keeper_wait(f.keeper, -1, 5000, &head));
    assert_int_equal(head, 3);
    assert_true(clock_ms() - began < 2000);
    pthread_join(thread, NULL);
    store_close(other);
    fixture_done(&f);
}

/* It came while the keeper was busy, or along with the beat's answer. */
static void a_notice_before_the_sleep_is_not_lost(void **state)
{
    struct fixture f = fixture_of(6);
    uint64_t head = 0;
    struct beat out;
    struct err err;

    (void)state;
    assert_true(beat(&f, &out, &err));
    append_some(f.store, 2);
    assert_true(beat(&f, &out, &err));
    assert_int_equal(out.head, 2);
    assert_true(store_keeper_wait(f.keeper, -1, 5000, &head));
    assert_int_equal(head, 2);
    assert_false(store_keeper_wait(f.keeper, -1, 50, &head));
    fixture_done(&f);
}

static void the_wake_fd_ends_the_sleep(void **state)
{
    struct fixture f = fixture_of(6);
    uint64_t began = clock_ms();
    uint64_t head = 0;
    struct beat out;
    struct err err;
    int fds[2];

    (void)state;
    assert_true(beat(&f, &out, &err));
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_false(store_keeper_wait(f.keeper, fds[0], 5000, &head));
    assert_true(clock_ms() - began < 1000);
    close(fds[0]);
    close(fds[1]);
    fixture_done(&f);
}

static void a_cut_ends_one_sleep_and_the_next_beat_connects(void **state)
{
    struct fixture f = fixture_of(6);
    uint64_t began;
    uint64_t head = 0;
    struct beat out;
    struct err err;

    (void)state;
    assert_true(beat(&f, &out, &err));
    run_sql("select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = '%s' and pid <> pg_backend_pid()",
            db_name);
    began = clock_ms();
    assert_false(store_keeper_wait(f.keeper, -1, 3000, &head));
    assert_true(clock_ms() - began < 1000);
    began = clock_ms();
    assert_false(store_keeper_wait(f.keeper, -1, 300, &head));
    assert_true(clock_ms() - began >= 300);

    assert_true(beat(&f, &out, &err));
    append_some(f.store, 1);
    assert_true(store_keeper_wait(f.keeper, -1, 3000, &head));
    assert_int_equal(head, 1);
    fixture_done(&f);
}

/* Fewer than 4 connections: nothing is pinned, and nothing listens. */
static void a_small_pool_has_no_seats(void **state)
{
    struct fixture f = fixture_of(2);
    uint64_t began;
    uint64_t head = 0;
    struct beat out;
    struct err err;

    (void)state;
    append_some(f.store, 1);
    assert_true(beat(&f, &out, &err));
    assert_int_equal(out.head, 1);
    append_some(f.store, 1);
    began = clock_ms();
    assert_false(store_keeper_wait(f.keeper, -1, 200, &head));
    assert_true(clock_ms() - began >= 200);
    assert_true(open_connections(f.store) <= 2);
    fixture_done(&f);
}

/* The next connection listens, too, wherever it lies in memory. */
static void a_connection_that_grew_old_listens_again(void **state)
{
    struct store_options options = options_for(db_url);
    struct fixture f;
    uint64_t head = 0;
    struct beat out;
    struct err err;

    (void)state;
    options.pool_recycle_ms = 1;
    f = fixture_with(&options);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_true(beat(&f, &out, &err));
        append_some(f.store, 1);
        assert_true(store_keeper_wait(f.keeper, -1, 10000, &head));
        assert_int_equal(head, i);
    }
    fixture_done(&f);
}

/* Three stay, and one more may come: enough for all. */
static void overflow_counts_among_those_that_seats_need(void **state)
{
    struct store_options options = options_for(db_url);
    struct fixture f;
    uint64_t head = 0;
    struct beat out;
    struct err err;

    (void)state;
    options.pool_size = 3;
    options.max_overflow = 1;
    f = fixture_with(&options);
    assert_true(beat(&f, &out, &err));
    append_some(f.store, 1);
    assert_true(store_keeper_wait(f.keeper, -1, 10000, &head));
    fixture_done(&f);
}

static void seats_count_as_connections(void **state)
{
    struct fixture f = fixture_of(4);
    struct store_writer *writer;
    struct append_delta delta;
    uint64_t head;
    struct beat out;
    struct err err;

    (void)state;
    writer = store_writer_open(f.store, &err);
    assert_int_equal(open_connections(f.store), 0);
    assert_true(beat(&f, &out, &err));
    assert_int_equal(open_connections(f.store), 1);
    assert_true(store_append_begin(writer, (struct log_place){0}, &f.arena,
                                   &delta, &err));
    assert_int_equal(open_connections(f.store), 2);
    store_append_abort(writer);
    assert_true(store_head(f.store, &head, &err));
    assert_int_equal(open_connections(f.store), 3);
    store_writer_close(writer);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_append_ends_the_sleep, fresh),
        cmocka_unit_test_setup(a_notice_before_the_sleep_is_not_lost, fresh),
        cmocka_unit_test_setup(the_wake_fd_ends_the_sleep, fresh),
        cmocka_unit_test_setup(a_cut_ends_one_sleep_and_the_next_beat_connects,
                               fresh),
        cmocka_unit_test_setup(a_small_pool_has_no_seats, fresh),
        cmocka_unit_test_setup(a_connection_that_grew_old_listens_again, fresh),
        cmocka_unit_test_setup(overflow_counts_among_those_that_seats_need,
                               fresh),
        cmocka_unit_test_setup(seats_count_as_connections, fresh),
    };
    int failed;

    need_server();
    make_database();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_database();
    return failed;
}
