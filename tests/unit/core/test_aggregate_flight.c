#include "core/aggregate_flight.h"

#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/core/append_rig.h"

/* Appends on their way together, over a store that stops when told to. */

static void post_next(struct flight *flight, uint64_t version)
{
    struct ask ask = {.id = "a", .expect = EXPECT_VERSION, .version = version};
    struct event event;
    struct append_key key;
    struct append_request request = request_of(&ask, &event, &key);

    flight_post(flight, &request);
}

static struct flight *post_three(struct rig *rig, uint64_t second)
{
    struct flight *flight = flight_new(rig->queue, 3);

    post_next(flight, 0);
    post_next(flight, second);
    post_next(flight, 2);
    return flight;
}

static void all_are_stored_in_order(void **state UNUSED)
{
    struct rig *rig = rig_new(true);
    struct flight *flight = post_three(rig, 1);
    struct append_result result;
    struct err err;

    flight_wait(flight, 20000);
    for (size_t i = 0; i < 3; i++) {
        assert_true(flight_result(flight, i, &result, &err));
        assert_int_equal(result.version, i + 1);
        assert_int_equal(result.first_position, i + 1);
    }
    flight_free(flight);
    rig_free(rig);
}

static void none_is_stored_behind_one_that_fails(void **state UNUSED)
{
    struct rig *rig = rig_new(true);
    struct flight *flight = post_three(rig, 7);
    struct append_result result;
    struct err err;

    flight_wait(flight, 20000);
    assert_true(flight_result(flight, 0, &result, &err));
    assert_false(flight_result(flight, 1, &result, &err));
    assert_int_equal(err.code, ERR_VERSION_CONFLICT);
    assert_false(flight_result(flight, 2, &result, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    flight_free(flight);
    rig_free(rig);
}

/* Nobody is told of it any more. */
static void none_is_begun_when_its_time_is_over(void **state UNUSED)
{
    struct rig *rig = rig_new(true);
    struct append_result result;
    struct flight *flight;
    struct answer *later;
    struct err err;

    open_batch(rig);
    flight = post_three(rig, 1);
    fake_await_begin(rig->fake);
    flight_wait(flight, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_false(flight_result(flight, i, &result, &err));
        assert_int_equal(err.code, ERR_STORE);
    }
    flight_free(flight);
    later = post_to(rig, "b");
    fake_let_go(rig->fake);
    await_all(rig);
    assert_stored(later, 1, 1, 1);
    rig_free(rig);
}

static void what_the_queue_does_not_take_is_a_failure(void **state UNUSED)
{
    struct rig *rig = rig_new(true);
    struct append_result result;
    struct flight *flight;
    struct err err;

    stop_within(rig, 10000);
    start(rig, 1);
    open_batch(rig);
    flight = post_three(rig, 1);
    fake_await_begin(rig->fake);
    fake_let_go(rig->fake);
    flight_wait(flight, 20000);
    assert_false(flight_result(flight, 1, &result, &err));
    assert_int_equal(err.code, ERR_OVERLOADED);
    assert_false(flight_result(flight, 2, &result, &err));
    flight_free(flight);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_stored_in_order),
        cmocka_unit_test(none_is_stored_behind_one_that_fails),
        cmocka_unit_test(none_is_begun_when_its_time_is_over),
        cmocka_unit_test(what_the_queue_does_not_take_is_a_failure),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, STDOUT_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
