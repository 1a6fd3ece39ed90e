#include "base/clock.h"
#include "core/head.h"
#include "run/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void it_only_rises(void **state UNUSED)
{
    struct head *head = head_new();

    assert_int_equal(head_position(head), 0);
    head_move(head, 5);
    assert_int_equal(head_position(head), 5);
    head_move(head, 3);
    assert_int_equal(head_position(head), 5);
    head_move(head, UINT64_MAX);
    assert_true(head_position(head) == UINT64_MAX);
    head_free(head);
    head_free(NULL);
}

struct seen {
    uint64_t last;
    int calls;
};

static void note(void *arg, uint64_t position)
{
    struct seen *seen = arg;

    seen->last = position;
    seen->calls++;
}

static void watchers_hear_of_rises_and_of_nothing_else(void **state UNUSED)
{
    struct head *head = head_new();
    struct seen seen[2] = {{0}};

    head_watch(head, note, &seen[0]);
    head_watch(head, note, &seen[1]);
    head_move(head, 2);
    head_move(head, 2);
    head_move(head, 1);
    head_move(head, 7);
    for (size_t i = 0; i < COUNT(seen); i++) {
        assert_int_equal(seen[i].calls, 2);
        assert_int_equal(seen[i].last, 7);
    }
    head_free(head);
}

static void waiting_ends_at_once_when_the_head_is_above(void **state UNUSED)
{
    struct head *head = head_new();
    uint64_t begun_ms = clock_ms();

    head_move(head, 9);
    assert_int_equal(head_wait(head, 8, 60000), 9);
    assert_true(clock_ms() - begun_ms < 5000);
    head_free(head);
}

static void waiting_ends_with_its_time(void **state UNUSED)
{
    struct head *head = head_new();
    uint64_t begun_ms = clock_ms();

    head_move(head, 9);
    assert_int_equal(head_wait(head, 9, 30), 9);
    assert_true(clock_ms() - begun_ms >= 29);
    assert_int_equal(head_wait(head, 9, 0), 9);
    head_free(head);
}

#define MOVES 20000

static void move_many(void *arg)
{
    for (uint64_t i = 1; i <= MOVES; i++)
        head_move(arg, i);
}

/* A wake-up that is lost would cost the whole time-out. */
static void no_wake_up_is_lost_between_look_and_sleep(void **state UNUSED)
{
    struct head *head = head_new();
    uint64_t begun_ms = clock_ms();
    struct thread *movers[2];
    struct err err;
    uint64_t at = 0;

    for (size_t i = 0; i < COUNT(movers); i++) {
        movers[i] = thread_start("mover", move_many, head, &err);
        assert_non_null(movers[i]);
    }
    while (at < MOVES) {
        uint64_t next = head_wait(head, at, 60000);

        assert_true(next > at);
        at = next;
    }
    for (size_t i = 0; i < COUNT(movers); i++)
        thread_join(movers[i]);
    assert_true(clock_ms() - begun_ms < 55000);
    head_free(head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_only_rises),
        cmocka_unit_test(watchers_hear_of_rises_and_of_nothing_else),
        cmocka_unit_test(waiting_ends_at_once_when_the_head_is_above),
        cmocka_unit_test(waiting_ends_with_its_time),
        cmocka_unit_test(no_wake_up_is_lost_between_look_and_sleep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
