#include "unit/vm/vm_support.h"

/* clang-format off */
static const char *const results[][2] = {
    {"decimal('1.50')",                         "1.50"},
    {"decimal(1.5)",                            "1.5"},
    {"decimal(0.1) + decimal(0.2)",             "0.3"},
    {"decimal(3)",                              "3"},
    {"decimal(decimal('2.00'))",                "2.00"},
    {"decimal('-0')",                           "0"},
    {"decimal('1e3')",                          "1000"},
    {"decimal('1.10') + '2.205'",               "3.305"},
    {"'2' + decimal(1)",                        "3"},
    {"2 * decimal('1.25')",                     "2.50"},
    {"decimal('1.5') - 2",                      "-0.5"},
    {"10 - decimal('0.01')",                    "9.99"},
    {"decimal(1) / 3",                          "0.3333333333333333333333333333"},
    {"decimal('10') / decimal('4')",            "2.5"},
    {"-decimal('1.50')",                        "-1.50"},
    {"decimal('2.345'):round(2)",               "2.34"},
    {"decimal('2.355'):round(2)",               "2.36"},
    {"decimal('2'):round(2)",                   "2.00"},
    {"decimal('99999999999999999999') * 10",    "999999999999999999990"},
    {"'total: ' .. decimal('1.50') .. ' EUR'",  "total: 1.50 EUR"},
    {"decimal('1.5') == decimal('1.50')",       "true"},
    {"decimal('1.5') == decimal('1.51')",       "false"},
    {"decimal('-1') < decimal('0.5')",          "true"},
    {"decimal('2') <= decimal('2.0')",          "true"},
    {"decimal('2') > decimal('3')",             "false"},
    {"type(decimal(1))",                        "userdata"},
    {"tonumber(decimal('1.25'))",               "1.25"},
    {"#tostring(decimal(('9'):rep(1000)))",     "1000"},
    {"decimal(('9'):rep(400)) * decimal(('9'):rep(400)) > decimal(1)", "true"},
};

static const char *const refused[][2] = {
    {"decimal('abc')",                          "scripts/test.lua:2"},
    {"decimal('')",                             "scripts/test.lua:2"},
    {"decimal('.5')",                           "scripts/test.lua:2"},
    {"decimal(0/0)",                            "scripts/test.lua:2"},
    {"decimal(1/0)",                            "scripts/test.lua:2"},
    {"decimal({})",                             "not of a table"},
    {"decimal(nil)",                            "not of a nil"},
    {"decimal()",                               "bad argument"},
    {"decimal(true)",                           "not of a boolean"},
    {"local x = decimal(1) + {}",                  "not of a table"},
    {"local x = decimal(1) + nil",                 "not of a nil"},
    {"return nil * decimal(1)",                 "not of a nil"},
    {"local x = decimal(1) .. nil",                "attempt to concatenate a nil"},
    {"local x = decimal(1) / 0",                   "scripts/test.lua:2"},
    {"local x = decimal(1) < 2",                   "attempt to compare"},
    {"local x = decimal(('9'):rep(1001))",         "scripts/test.lua:2"},
    {"local x = decimal('1e1000000000')",          "scripts/test.lua:2"},
    {"local x = decimal('1e-1000000000')",         "scripts/test.lua:2"},
    {"local d = decimal(('9'):rep(600)) d = d * d", "scripts/test.lua:2"},
    {"local x = decimal(1):round(-1)",             "from 0 to 1000"},
    {"local x = decimal(1):round(1.5)",            "from 0 to 1000"},
    {"local x = decimal(1):round(1e9)",            "from 0 to 1000"},
    {"local x = decimal(1):round()",               "bad argument"},
    {"local x = decimal(1).round(5, 2)",           "usage: d:round(places)"},
    {"local x = decimal(1).x.y",                   "attempt to index"},
    {"decimal(1).x = 2",                        "attempt to index"},
};
/* clang-format on */

static void operations_are_exact(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(results); i++) {
        struct buf code = {0};

        buf_printf(&code, "return tostring(%s)", results[i][0]);
        expect_text(code.ptr, results[i][1]);
        buf_done(&code);
    }
}

static void wrong_uses_are_errors_with_a_line(void **state UNUSED)
{
    for (size_t i = 0; i < COUNT(refused); i++)
        expect_error(refused[i][0], refused[i][1]);
}

static void a_long_sum_keeps_every_digit(void **state UNUSED)
{
    expect_text("local sum = decimal('0.00') "
                "for i = 1, 20000 do sum = sum + '0.01' end "
                "return tostring(sum)",
                "200.00");
}

static void memory_of_decimals_counts(void **state UNUSED)
{
    expect_error("local t, d = {}, decimal(('9'):rep(900)) "
                 "while true do t[#t + 1] = d + 1 end",
                 "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_are_exact),
        cmocka_unit_test(wrong_uses_are_errors_with_a_line),
        cmocka_unit_test(a_long_sum_keeps_every_digit),
        cmocka_unit_test(memory_of_decimals_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
