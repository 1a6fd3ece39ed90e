#include "unit/store/lite_support.h"

static struct lite_options options;
static struct lite_pool pool;

static void open_pool(enum lite_use use, uint32_t max)
{
    options = (struct lite_options){
        .path = in_folder("x.db"),
        .busy_ms = 1000,
        .statement_ms = 1000,
        .held_ms = 1000,
    };
    lite_pool_init(&pool, &options, use, max);
}

static struct lite_conn *acquire(uint32_t wait_ms)
{
    struct err err = {0};
    struct lite_conn *conn = lite_pool_acquire(&pool, __func__, wait_ms, &err);

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
    assert_null(lite_pool_acquire(&pool, __func__, 100, &err));
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
        assert_null(lite_pool_acquire(&pool, __func__, 0, &err));
        assert_string_equal(err_name(err.code), err_name(ERR_STORE));
    }
    assert_int_equal(lite_pool_open(&pool), 0);
    lite_pool_done(&pool);
}

/* ---- loans that last too long ---- */

static char logged[2000];

/* What `act` writes to the log. */
static const char *log_of(void (*act)(struct lite_conn *), struct lite_conn *to)
{
    int pipes[2];
    ssize_t len;

    assert_int_equal(pipe(pipes), 0);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, pipes[1]);
    act(to);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, 1);
    close(pipes[1]);
    len = read(pipes[0], logged, sizeof(logged) - 1);
    close(pipes[0]);
    logged[MAX(len, 0)] = '\0';
    return logged;
}

static void watch(struct lite_conn *conn UNUSED)
{
    lite_pool_watch(&pool);
}

static void give_back(struct lite_conn *conn)
{
    lite_pool_release(&pool, conn);
}

static void wait_in_vain(struct lite_conn *conn UNUSED)
{
    struct err err = {0};

    assert_null(lite_pool_acquire(&pool, "waiter", 0, &err));
}

static struct lite_conn *hold(const char *who, bool late)
{
    struct err err = {0};
    struct lite_conn *conn = lite_pool_acquire(&pool, who, 0, &err);

    assert_non_null(conn);
    if (late)
        conn->lent.since_ms -= 1001;
    return conn;
}

static void a_loan_that_lasts_too_long_is_told_once(void **state UNUSED)
{
    struct lite_conn *late;
    struct lite_conn *other;

    open_pool(LITE_WRITES, 2);
    late = hold("the_culprit", true);
    other = hold("another", false);
    assert_non_null(strstr(log_of(watch, NULL), "holder=the_culprit"));
    assert_non_null(strstr(logged, "turn to write held too long"));
    assert_null(strstr(logged, "another"));
    assert_string_equal(log_of(watch, NULL), "");
    assert_string_equal(log_of(give_back, late), "");
    assert_string_equal(log_of(give_back, other), "");
    lite_pool_done(&pool);
}

static void a_late_loan_is_told_when_it_comes_back(void **state UNUSED)
{
    struct lite_conn *late;

    open_pool(LITE_WRITES, 1);
    late = hold("the_culprit", true);
    assert_non_null(strstr(log_of(give_back, late), "holder=the_culprit"));
    late = hold("the_next", false);
    assert_string_equal(log_of(give_back, late), "");
    lite_pool_done(&pool);
}

static void who_waits_in_vain_tells_who_holds(void **state UNUSED)
{
    struct lite_conn *late;

    open_pool(LITE_WRITES, 1);
    late = hold("the_culprit", true);
    assert_non_null(strstr(log_of(wait_in_vain, NULL), "holder=the_culprit"));
    lite_pool_release(&pool, late);
    lite_pool_done(&pool);
}

static void a_pool_that_is_shut_closes_what_comes_back(void **state UNUSED)
{
    struct err err = {0};
    struct lite_conn *lent;

    open_pool(LITE_WRITES, 2);
    lent = acquire(0);
    lite_pool_release(&pool, acquire(0));
    assert_int_equal(lite_pool_open(&pool), 2);
    assert_false(lite_pool_shut(&pool));
    assert_int_equal(lite_pool_open(&pool), 1);
    assert_null(lite_pool_acquire(&pool, "early", 0, &err));
    assert_string_equal(err_name(err.code), err_name(ERR_STORE));
    lite_pool_release(&pool, lent);
    assert_true(lite_pool_shut(&pool));
    lite_pool_reopen(&pool);
    lite_pool_release(&pool, acquire(0));
    assert_int_equal(lite_pool_open(&pool), 1);
    lite_pool_done(&pool);
}

/* ---- the order of waiting ---- */

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
    struct lite_conn *conn =
        lite_pool_acquire(&pool, __func__, 10000, &me->err);

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
        lite_test(a_loan_that_lasts_too_long_is_told_once),
        lite_test(a_late_loan_is_told_when_it_comes_back),
        lite_test(who_waits_in_vain_tells_who_holds),
        lite_test(a_pool_that_is_shut_closes_what_comes_back),
        lite_test(who_came_first_is_served_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
