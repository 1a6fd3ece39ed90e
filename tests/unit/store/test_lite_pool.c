#include "unit/store/lite_support.h"

static struct lite_options options;
static struct lite_pool pool;

static void open_pool(enum lite_use use, uint32_t max)
{
    options = (struct lite_options){
        .path = in_folder("x.db"), .busy_ms = 1000, .statement_ms = 1000};
    lite_pool_init(&pool, &options, use, max);
}

static struct lite_conn *acquire(uint32_t wait_ms)
{
    struct err err = {0};
    struct lite_conn *conn = lite_pool_acquire(&pool, wait_ms, &err);

    if (conn == NULL)
        fail_msg("%s", err.text);
    return conn;
}

static void a_connection_is_opened_once_and_lent_again(void **state UNUSED)
{
    struct lite_conn *first;

    open_pool(LITE_WRITES, 3);
    assert_int_equal(lite_pool_open(&pool), 0);
    first = acquire(0);
    lite_pool_release(&pool, first);
    assert_ptr_equal(acquire(0), first);
    assert_int_equal(lite_pool_open(&pool), 1);
    lite_pool_release(&pool, first);
    lite_pool_done(&pool);
}

static void who_waits_too_long_is_told(void **state UNUSED)
{
    uint64_t began_ms = clock_ms();
    struct lite_conn *conn;
    struct err err = {0};

    open_pool(LITE_WRITES, 1);
    conn = acquire(0);
    assert_null(lite_pool_acquire(&pool, 100, &err));
    assert_string_equal(err_name(err.code), err_name(ERR_POOL_TIMEOUT));
    assert_true(clock_ms() - began_ms >= 95);
    lite_pool_release(&pool, conn);
    lite_pool_release(&pool, acquire(0));
    lite_pool_done(&pool);
}

static void a_connection_stuck_in_a_transaction_is_replaced(void **state UNUSED)
{
    struct lite_conn *conn;
    struct err err = {0};

    open_pool(LITE_WRITES, 1);
    conn = acquire(0);
    assert_true(lite_begin_write(conn, &err));
    lite_pool_release(&pool, conn);
    assert_int_equal(lite_pool_open(&pool), 0);
    conn = acquire(0);
    assert_true(lite_begin_write(conn, &err));
    lite_rollback(conn);
    lite_pool_release(&pool, conn);
    lite_pool_done(&pool);
}

static void what_cannot_be_opened_gives_its_place_back(void **state UNUSED)
{
    struct err err = {0};

    open_pool(LITE_READS, 1); /* readers create no file */
    for (int i = 0; i < 3; i++) {
        assert_null(lite_pool_acquire(&pool, 0, &err));
        assert_string_equal(err_name(err.code), err_name(ERR_STORE));
    }
    assert_int_equal(lite_pool_open(&pool), 0);
    lite_pool_done(&pool);
}

#define CUSTOMERS 5

struct customer {
    struct thread *thread;
    size_t number;
    size_t *served; /* atomic, shared */
    size_t place;   /* in which it was served */
    struct err err;
};

static void be_served(void *arg)
{
    struct customer *me = arg;
    struct lite_conn *conn = lite_pool_acquire(&pool, 10000, &me->err);

    if (conn == NULL)
        return;
    me->place = __atomic_add_fetch(me->served, 1, __ATOMIC_SEQ_CST);
    lite_pool_release(&pool, conn);
}

static size_t waiting(void)
{
    size_t count = 0;

    lock_take(&pool.lock);
    list_each (&pool.waiters, item)
        count++;
    lock_give(&pool.lock);
    return count;
}

static void who_came_first_is_served_first(void **state UNUSED)
{
    struct customer all[CUSTOMERS] = {0};
    struct err err = {0};
    struct lite_conn *conn;
    size_t served = 0;

    open_pool(LITE_WRITES, 1);
    conn = acquire(0);
    for (size_t i = 0; i < CUSTOMERS; i++) {
        all[i] = (struct customer){.number = i, .served = &served};
        all[i].thread = thread_start("customer", be_served, &all[i], &err);
        assert_non_null(all[i].thread);
        while (waiting() != i + 1)
            continue;
    }
    lite_pool_release(&pool, conn);
    for (size_t i = 0; i < CUSTOMERS; i++)
        thread_join(all[i].thread);
    for (size_t i = 0; i < CUSTOMERS; i++)
        assert_int_equal(all[i].place, i + 1);
    lite_pool_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lite_test(a_connection_is_opened_once_and_lent_again),
        lite_test(who_waits_too_long_is_told),
        lite_test(a_connection_stuck_in_a_transaction_is_replaced),
        lite_test(what_cannot_be_opened_gives_its_place_back),
        lite_test(who_came_first_is_served_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
