#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define US_PER_SECOND INT64_C(1000000)

static void assert_reads(const char *text, int64_t expected)
{
    int64_t wall_us = -1;

    assert_true(clock_parse(str_of(text), &wall_us));
    assert_true(wall_us == expected);
}

static void assert_writes(int64_t wall_us, const char *expected)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(wall_us, text);
    assert_string_equal(text, expected);
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Counts every day from the first to the last as a child would. */
static void every_day_of_9999_years_has_its_number(void **state UNUSED)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30,
                                  31, 31, 30, 31, 30, 31};
    int32_t days = -719162;

    for (int year = 1; year <= 9999; year++) {
        for (int month = 1; month <= 12; month++) {
            int length = lengths[month - 1] + (month == 2 && is_leap(year));

            for (int day = 1; day <= length; day++, days++) {
                char expected[40];
                char text[CLOCK_DATE_SIZE];
                int32_t back = 0;

                /* The inside of a month is looked at in one century. */
                if (day > 1 && day < 28 && (year < 1950 || year > 2050))
                    continue;
                snprintf(expected, sizeof(expected), "%04d-%02d-%02d", year,
                         month, day);
                clock_date_format(days, text);
                assert_string_equal(text, expected);
                assert_true(clock_date_parse(str_of(expected), &back));
                assert_int_equal(back, days);
            }
        }
    }
    assert_int_equal(days, 2932897);
}

static void known_moments_are_written_and_read(void **state UNUSED)
{
    assert_writes(0, "1970-01-01T00:00:00.000000Z");
    assert_writes(-1, "1969-12-31T23:59:59.999999Z");
    assert_writes(INT64_C(1291191960) * US_PER_SECOND,
                  "2010-12-01T08:26:00.000000Z");
    assert_writes(INT64_C(951782400) * US_PER_SECOND + 7,
                  "2000-02-29T00:00:00.000007Z");
    assert_reads("2010-12-01T08:26:00Z", INT64_C(1291191960000000));
    assert_reads("1969-12-31T23:59:59.999999Z", -1);
}

static void the_ends_of_time_are_clamped_when_written(void **state UNUSED)
{
    char text[CLOCK_DATE_SIZE];

    assert_writes(INT64_MIN, "0001-01-01T00:00:00.000000Z");
    assert_writes(INT64_MAX, "9999-12-31T23:59:59.999999Z");
    clock_date_format(INT32_MIN, text);
    assert_string_equal(text, "0001-01-01");
    clock_date_format(INT32_MAX, text);
    assert_string_equal(text, "9999-12-31");
}

static void the_first_and_the_last_moment_are_read(void **state UNUSED)
{
    int64_t wall_us;
    char text[CLOCK_TEXT_SIZE];

    assert_true(clock_parse(STR("0001-01-01T00:00:00Z"), &wall_us));
    clock_format(wall_us, text);
    assert_string_equal(text, "0001-01-01T00:00:00.000000Z");
    assert_true(clock_parse(STR("9999-12-31T23:59:59.999999Z"), &wall_us));
    clock_format(wall_us + 1, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
}

static void separators_and_the_zone_come_in_both_cases(void **state UNUSED)
{
    assert_reads("1970-01-01t00:00:01z", US_PER_SECOND);
    assert_reads("1970-01-01 00:00:01Z", US_PER_SECOND);
}

static void offsets_are_taken_off(void **state UNUSED)
{
    assert_reads("1970-01-01T05:30:00+05:30", 0);
    assert_reads("1969-12-31T19:00:00-05:00", 0);
    assert_reads("1970-01-01T00:00:00-00:00", 0);
    assert_reads("1970-01-01T23:59:00+23:59", 0);
}

static void fractions_past_the_microsecond_are_cut(void **state UNUSED)
{
    assert_reads("1970-01-01T00:00:00.5Z", 500000);
    assert_reads("1970-01-01T00:00:00.000001Z", 1);
    assert_reads("1970-01-01T00:00:00.0000019999999Z", 1);
    assert_reads("1970-01-01T00:00:00.123456+00:00", 123456);
}

static void a_leap_second_is_the_last_moment_before_it(void **state UNUSED)
{
    assert_reads("2016-12-31T23:59:60Z", INT64_C(1483228799999999));
    assert_reads("2016-12-31T23:59:60.25Z", INT64_C(1483228799999999));
    assert_reads("2016-12-31T15:59:60-08:00", INT64_C(1483228799999999));
}

static void what_is_no_time_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "2010-12-01",
        "2010-12-01T08:26:00",
        "2010-12-01T08:26Z",
        "2010-12-01T08:26:00 Z",
        " 2010-12-01T08:26:00Z",
        "2010-12-01T08:26:00Z ",
        "2010-12-01T08:26:00.Z",
        "2010-12-01T08:26:00,5Z",
        "2010-12-01X08:26:00Z",
        "2010-12-01T24:00:00Z",
        "2010-12-01T23:60:00Z",
        "2010-12-01T23:59:61Z",
        "2010-13-01T00:00:00Z",
        "2010-00-01T00:00:00Z",
        "2010-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2010-04-31T00:00:00Z",
        "2010-12-00T00:00:00Z",
        "0000-12-01T00:00:00Z",
        "10000-12-01T00:00:00Z",
        "-2010-12-01T00:00:00Z",
        "2010-12-1T00:00:00Z",
        "+010-12-01T00:00:00Z",
        "2010-12-01T08:26:00+01",
        "2010-12-01T08:26:00+0100",
        "2010-12-01T08:26:00+24:00",
        "2010-12-01T08:26:00+01:60",
        "2010-12-01T08:26:00*01:00",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    };
    int64_t wall_us = 42;

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(clock_parse(str_of(bad[i]), &wall_us));
    assert_false(clock_parse(STR("2010-12-01\0"
                                 "08:26:00Z"),
                             &wall_us));
    assert_false(clock_parse(STR("2010-12-01T08:26:00\0"), &wall_us));
    assert_int_equal(wall_us, 42);
}

static void what_is_no_date_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "",           "2010-12",    "2010-12-01T", "2010-12-32", "2011-02-29",
        "0000-01-01", "2010/12/01", "12010-12-01", "2010-1-01",
    };
    int32_t days = 42;

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(clock_date_parse(str_of(bad[i]), &days));
    assert_int_equal(days, 42);
}

/* Each text is cut at every length, which ASan watches for reads behind it. */
static void no_beginning_of_a_time_is_a_time(void **state UNUSED)
{
    static const char whole[] = "2010-12-01T08:26:00.123456+01:30";
    int64_t wall_us;

    for (size_t len = 0; len < sizeof(whole) - 1; len++)
        assert_false(clock_parse(str_n(whole, len), &wall_us));
}

static void the_clocks_run_forward(void **state UNUSED)
{
    uint64_t us = clock_us();
    uint64_t ms = clock_ms();

    for (int i = 0; i < 1000; i++) {
        uint64_t later = clock_us();

        assert_true(later >= us);
        us = later;
    }
    assert_true(us / 1000 >= ms);
    /* After this line was written, before the text runs out. */
    assert_true(clock_wall_us() > INT64_C(1577836800) * US_PER_SECOND);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_of_9999_years_has_its_number),
        cmocka_unit_test(known_moments_are_written_and_read),
        cmocka_unit_test(the_ends_of_time_are_clamped_when_written),
        cmocka_unit_test(the_first_and_the_last_moment_are_read),
        cmocka_unit_test(separators_and_the_zone_come_in_both_cases),
        cmocka_unit_test(offsets_are_taken_off),
        cmocka_unit_test(fractions_past_the_microsecond_are_cut),
        cmocka_unit_test(a_leap_second_is_the_last_moment_before_it),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(no_beginning_of_a_time_is_a_time),
        cmocka_unit_test(the_clocks_run_forward),
    };

    return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
