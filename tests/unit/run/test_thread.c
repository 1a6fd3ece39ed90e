#include "base/clock.h"
#include "run/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/prctl.h>

/* What two threads share in these tests. */
struct shared {
    struct lock lock;
    struct signal changed;
    int number;
    char name[16];
    bool signals_blocked;
};

static int make_shared(void **state)
{
    static struct shared shared;

    shared = (struct shared){0};
    lock_init(&shared.lock);
    signal_init(&shared.changed);
    *state = &shared;
    return 0;
}

static int drop_shared(void **state)
{
    struct shared *shared = *state;

    signal_done(&shared->changed);
    lock_done(&shared->lock);
    return 0;
}

static struct thread *start(const char *name, void (*run)(void *), void *arg)
{
    struct err err = {0};
    struct thread *thread = thread_start(name, run, arg, &err);

    assert_non_null(thread);
    return thread;
}

static void look_around(void *arg)
{
    struct shared *shared = arg;
    sigset_t mask;

    prctl(PR_GET_NAME, shared->name);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    shared->signals_blocked =
        sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1;
}

static void a_thread_has_its_name_and_takes_no_signals(void **state)
{
    struct shared *shared = *state;

    thread_join(start("a-name-that-is-too-long", look_around, shared));
    assert_string_equal(shared->name, "a-name-that-is-");
    assert_true(shared->signals_blocked);
}

static void the_starter_keeps_its_own_signals(void **state)
{
    sigset_t mask;

    thread_join(start("any", look_around, *state));
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

static void joining_nothing_is_fine(void **state UNUSED)
{
    thread_join(NULL);
}

static void count_up(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < 10000; i++) {
        lock_take(&shared->lock);
        shared->number++;
        lock_give(&shared->lock);
    }
}

static void a_lock_lets_one_in_at_a_time(void **state)
{
    struct shared *shared = *state;
    struct thread *one = start("one", count_up, shared);
    struct thread *two = start("two", count_up, shared);

    thread_join(one);
    thread_join(two);
    assert_int_equal(shared->number, 20000);
}

static void set_number(void *arg)
{
    struct shared *shared = arg;

    lock_take(&shared->lock);
    shared->number = 1;
    signal_one(&shared->changed);
    lock_give(&shared->lock);
}

static void a_waiter_is_woken_by_the_signal(void **state)
{
    struct shared *shared = *state;
    struct thread *thread = start("setter", set_number, shared);
    uint64_t deadline_us = clock_us() + 10000000;

    lock_take(&shared->lock);
    while (shared->number == 0)
        assert_true(
            signal_wait_until(&shared->changed, &shared->lock, deadline_us));
    lock_give(&shared->lock);
    thread_join(thread);
}

static void a_wait_without_a_signal_ends_at_its_deadline(void **state)
{
    struct shared *shared = *state;
    uint64_t deadline_us = clock_us() + 30000;
    bool signalled = true;

    lock_take(&shared->lock);
    while (signalled)
        signalled =
            signal_wait_until(&shared->changed, &shared->lock, deadline_us);
    lock_give(&shared->lock);
    assert_true(clock_us() >= deadline_us);
}

static void a_deadline_in_the_past_does_not_wait(void **state)
{
    struct shared *shared = *state;

    lock_take(&shared->lock);
    assert_false(signal_wait_until(&shared->changed, &shared->lock, 1));
    lock_give(&shared->lock);
}

static void a_heartbeat_that_stands_is_stalled(void **state UNUSED)
{
    struct heartbeat beat = {0};

    heartbeat_moved(&beat);
    assert_false(heartbeat_is_stalled(&beat, 1000));
    beat.moved_ms -= 1001;
    assert_true(heartbeat_is_stalled(&beat, 1000));
    heartbeat_moved(&beat);
    assert_false(heartbeat_is_stalled(&beat, 1000));
}

static void
a_declared_wait_is_no_stall_and_its_end_is_a_beat(void **state UNUSED)
{
    struct heartbeat beat = {0};

    heartbeat_wait(&beat);
    beat.moved_ms -= 5000;
    assert_false(heartbeat_is_stalled(&beat, 1000));
    heartbeat_resume(&beat);
    assert_false(heartbeat_is_stalled(&beat, 1000));
    beat.moved_ms -= 5000;
    assert_true(heartbeat_is_stalled(&beat, 1000));
}

#define WITH_SHARED(test)                                                      \
    cmocka_unit_test_setup_teardown(test, make_shared, drop_shared)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SHARED(a_thread_has_its_name_and_takes_no_signals),
        WITH_SHARED(the_starter_keeps_its_own_signals),
        cmocka_unit_test(joining_nothing_is_fine),
        WITH_SHARED(a_lock_lets_one_in_at_a_time),
        WITH_SHARED(a_waiter_is_woken_by_the_signal),
        WITH_SHARED(a_wait_without_a_signal_ends_at_its_deadline),
        WITH_SHARED(a_deadline_in_the_past_does_not_wait),
        cmocka_unit_test(a_heartbeat_that_stands_is_stalled),
        cmocka_unit_test(a_declared_wait_is_no_stall_and_its_end_is_a_beat),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
