#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "store/pool_size.h"

#include <stdio.h>

/* Each as "size+overflow", with an exclamation mark when it is short. */
static void assert_plan(uint32_t instances, uint32_t max, const char *expected)
{
    struct pool_plan plan = pool_plan_of(instances, max);
    char text[64];

    snprintf(text, sizeof(text), "%u+%u%s", plan.size, plan.overflow,
             plan.is_short ? "!" : "");
    assert_string_equal(text, expected);
    assert_int_equal(plan.instances, instances);
    assert_int_equal(plan.max_connections, max);
    assert_string_equal(pool_source_name(plan.source), "formula");
}

/* C-DB-02 */
static void c_db_02_connections_are_shared_out(void **state)
{
    (void)state;
    assert_plan(1, 100, "30+60");
    assert_plan(4, 100, "7+15");
    assert_plan(8, 100, "3+8");
    assert_plan(30, 100, "2+1");
    assert_plan(45, 100, "2+0");
    assert_plan(60, 100, "2+0!");
}

static void c_db_02_a_share_ends_where_the_settings_do(void **state)
{
    (void)state;
    assert_plan(1, 100000, "256+512");
    assert_plan(1, UINT32_MAX, "256+512");
    assert_plan(UINT32_MAX, 1, "2+0!");
}

/* Never negative, never above: all instances together stay within nine tenths,
 * or the plan says that they do not. */
static void assert_sane(uint32_t instances, uint32_t max)
{
    struct pool_plan plan = pool_plan_of(instances, max);
    uint64_t usable = (uint64_t)max * 9 / 10;

    assert_in_range(plan.size, 2, POOL_SIZE_MAX);
    assert_in_range(plan.overflow, 0, POOL_OVERFLOW_MAX);
    assert_true(plan.is_short == (pool_plan_sum(&plan) > usable));
    if (plan.is_short)
        assert_int_equal(plan.overflow, 0);
}

static void c_db_02_no_share_is_negative_or_too_large(void **state)
{
    uint32_t random = 12345;

    (void)state;
    for (uint32_t instances = 1; instances <= 120; instances++)
        for (uint32_t max = 1; max <= 400; max++)
            assert_sane(instances, max);
    for (int i = 0; i < 100000; i++) {
        uint32_t instances, max;

        random = random * 1664525 + 1013904223;
        instances = (random >> 8) % 10000 + 1;
        random = random * 1664525 + 1013904223;
        max = (random >> 8) % 100000 + 1;
        assert_sane(instances, max);
    }
}

static void what_would_fit_is_said(void **state)
{
    struct pool_plan plan = {.size = 10, .overflow = 20, .instances = 4};

    (void)state;
    assert_int_equal(pool_plan_sum(&plan), 120);
    assert_int_equal(pool_plan_share(&plan, 97), 24);
    assert_int_equal(pool_plan_share(&plan, 8), 2);
    assert_int_equal(pool_plan_share(&plan, 7), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c_db_02_connections_are_shared_out),
        cmocka_unit_test(c_db_02_a_share_ends_where_the_settings_do),
        cmocka_unit_test(c_db_02_no_share_is_negative_or_too_large),
        cmocka_unit_test(what_would_fit_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
