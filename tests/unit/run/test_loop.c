#include "run/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

struct seen {
    struct loop *loop;
    int ticks;
    int posted;
    int order[3];
    int signal;
};

static int make_loop(void **state)
{
    static struct seen seen;
    struct err err = {0};

    seen = (struct seen){.loop = loop_new(&err)};
    assert_non_null(seen.loop);
    *state = &seen;
    return 0;
}

static int drop_loop(void **state)
{
    struct seen *seen = *state;

    loop_free(seen->loop);
    return 0;
}

static void stop(void *arg)
{
    struct seen *seen = arg;

    on_loop_thread();
    loop_stop(seen->loop);
}

static void tick(void *arg)
{
    struct seen *seen = arg;

    if (++seen->ticks == 3)
        stop(seen);
}

static void a_timer_ticks_until_the_loop_stops(void **state)
{
    struct seen *seen = *state;
    struct err err = {0};

    assert_true(loop_every(seen->loop, 2, tick, seen, &err));
    loop_run(seen->loop);
    assert_int_equal(seen->ticks, 3);
}

static void first(void *arg)
{
    struct seen *seen = arg;

    seen->order[seen->posted++] = 1;
}

static void second(void *arg)
{
    struct seen *seen = arg;

    seen->order[seen->posted++] = 2;
}

static void post_three(void *arg)
{
    struct seen *seen = arg;

    loop_post(seen->loop, first, seen);
    loop_post(seen->loop, second, seen);
    loop_post(seen->loop, stop, seen);
}

static void calls_of_other_threads_run_in_order(void **state)
{
    struct seen *seen = *state;
    struct err err = {0};
    struct thread *thread = thread_start("poster", post_three, seen, &err);

    assert_non_null(thread);
    loop_run(seen->loop);
    thread_join(thread);
    assert_int_equal(seen->posted, 2);
    assert_int_equal(seen->order[0], 1);
    assert_int_equal(seen->order[1], 2);
}

static void calls_that_never_ran_are_freed_with_the_loop(void **state)
{
    post_three(*state);
}

static void note_signal(void *arg, int number)
{
    struct seen *seen = arg;

    seen->signal = number;
    stop(seen);
}

static void terminate_ourselves(void *arg UNUSED)
{
    kill(getpid(), SIGTERM);
}

static void a_signal_arrives_on_the_loop(void **state)
{
    struct seen *seen = *state;
    struct err err = {0};

    assert_true(loop_watch_signals(seen->loop, note_signal, seen, &err));
    loop_post(seen->loop, terminate_ourselves, NULL);
    loop_run(seen->loop);
    assert_int_equal(seen->signal, SIGTERM);
}

static void a_broken_pipe_is_no_signal_any_more(void **state)
{
    struct seen *seen = *state;
    struct err err = {0};
    int ends[2];

    assert_true(loop_watch_signals(seen->loop, note_signal, seen, &err));
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    close(ends[1]);
}

#define WITH_LOOP(test)                                                        \
    cmocka_unit_test_setup_teardown(test, make_loop, drop_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(a_timer_ticks_until_the_loop_stops),
        WITH_LOOP(calls_of_other_threads_run_in_order),
        WITH_LOOP(calls_that_never_ran_are_freed_with_the_loop),
        WITH_LOOP(a_signal_arrives_on_the_loop),
        WITH_LOOP(a_broken_pipe_is_no_signal_any_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
