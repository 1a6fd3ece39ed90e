#include "core/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_rate(struct rate *rate, uint64_t now_ms, uint64_t seconds,
                        double expected)
{
    double seen = rate_per_second(rate, now_ms, seconds);

    assert_true(seen > expected - 0.001 && seen < expected + 0.001);
}

static void it_is_the_mean_of_the_last_seconds(void **state UNUSED)
{
    struct rate rate = {0};

    assert_rate(&rate, 1000000, 10, 0);
    rate_add(&rate, 1000000, 30);
    rate_add(&rate, 1000500, 20);
    assert_rate(&rate, 1000000, 10, 5);
    assert_rate(&rate, 1005000, 10, 5);
    assert_rate(&rate, 1010000, 10, 5);
    assert_rate(&rate, 1010999, 10, 50 / 10.999);
}

static void what_is_older_is_forgotten(void **state UNUSED)
{
    struct rate rate = {0};

    rate_add(&rate, 5000, 100);
    assert_rate(&rate, 16000, 10, 0);
    assert_rate(&rate, 64000, 60, 100.0 / 60);
    assert_rate(&rate, 66000, 60, 0);
    rate_add(&rate, 66000, 6);
    assert_rate(&rate, 66000, 60, 0.1);
    assert_rate(&rate, 100000000, 60, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_mean_of_the_last_seconds),
        cmocka_unit_test(what_is_older_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
