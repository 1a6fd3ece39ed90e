#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define assert_str(s, text) assert_true(str_eq((s), STR(text)))

static void absent_is_not_empty_but_compares_as_empty(void **state UNUSED)
{
    assert_true(str_is_none(str_of(NULL)));
    assert_false(str_is_none(STR("")));
    assert_true(str_eq(STR_NONE, STR("")));
    assert_int_equal(str_cmp(STR_NONE, STR("")), 0);
}

static void order_is_by_bytes_then_by_length(void **state UNUSED)
{
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("ab"), STR("a")) > 0);
    assert_true(str_cmp(STR("Z"), STR("a")) < 0);
    assert_true(str_cmp(STR("\x7f"), STR("\xc3\xa9")) < 0);
    assert_true(str_cmp(STR("a\0b"), STR("a\0c")) < 0);
    assert_int_equal(str_cmp(STR("same"), STR("same")), 0);
}

static void beginnings_and_ends_are_recognised(void **state UNUSED)
{
    assert_true(str_starts(STR("orders"), STR("ord")));
    assert_true(str_starts(STR("orders"), STR("")));
    assert_false(str_starts(STR("or"), STR("ord")));
    assert_false(str_starts(STR("Orders"), STR("ord")));
    assert_true(str_ends(STR("orders"), STR("ers")));
    assert_true(str_ends(STR_NONE, STR("")));
    assert_false(str_ends(STR("rs"), STR("ers")));
    assert_false(str_ends(STR("orders"), STR("erx")));
}

static void cutting_takes_one_piece_after_the_other(void **state UNUSED)
{
    struct str rest = STR("a,,b");

    assert_str(str_cut(&rest, ','), "a");
    assert_str(str_cut(&rest, ','), "");
    assert_false(str_is_none(rest));
    assert_str(str_cut(&rest, ','), "b");
    assert_true(str_is_none(rest));
    assert_true(str_is_none(str_cut(&rest, ',')));
}

static void a_separator_at_the_end_leaves_an_empty_piece(void **state UNUSED)
{
    struct str rest = STR("a,");

    assert_str(str_cut(&rest, ','), "a");
    assert_false(str_is_none(rest));
    assert_str(rest, "");
}

static void whole_numbers_are_read_up_to_their_limits(void **state UNUSED)
{
    uint64_t u64 = 0;
    int64_t i64 = 0;

    assert_true(str_to_u64(STR("18446744073709551615"), &u64));
    assert_true(u64 == UINT64_MAX);
    assert_true(str_to_u64(STR("007"), &u64));
    assert_int_equal(u64, 7);
    assert_true(str_to_i64(STR("-9223372036854775808"), &i64));
    assert_true(i64 == INT64_MIN);
    assert_true(str_to_i64(STR("9223372036854775807"), &i64));
    assert_true(i64 == INT64_MAX);
    assert_true(str_to_i64(STR("-0"), &i64));
    assert_int_equal(i64, 0);
}

static void what_is_no_number_leaves_the_output_alone(void **state UNUSED)
{
    static const char *const unsigned_bad[] = {"",
                                               "-1",
                                               "+1",
                                               " 1",
                                               "1 ",
                                               "0x1",
                                               "1e3",
                                               "18446744073709551616",
                                               "99999999999999999999999"};
    static const char *const signed_bad[] = {"",
                                             "-",
                                             "--1",
                                             "+1",
                                             "- 1",
                                             "9223372036854775808",
                                             "-9223372036854775809"};
    uint64_t u64 = 42;
    int64_t i64 = 42;

    for (size_t i = 0; i < COUNT(unsigned_bad); i++)
        assert_false(str_to_u64(str_of(unsigned_bad[i]), &u64));
    for (size_t i = 0; i < COUNT(signed_bad); i++)
        assert_false(str_to_i64(str_of(signed_bad[i]), &i64));
    assert_false(str_to_u64(STR("1\0"), &u64));
    assert_false(str_to_i64(STR_NONE, &i64));
    assert_int_equal(u64, 42);
    assert_int_equal(i64, 42);
}

static void well_formed_utf8_is_accepted(void **state UNUSED)
{
    assert_true(str_is_utf8(STR_NONE));
    assert_true(str_is_utf8(STR("plain\0zero")));
    assert_true(str_is_utf8(STR("\xc2\x80 \xdf\xbf")));
    assert_true(str_is_utf8(STR("\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80")));
    assert_true(str_is_utf8(STR("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf")));
}

static void malformed_utf8_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "\x80", /* a continuation alone */
        "\xc0\x80",
        "\xc1\xbf",         /* overlong */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80",
        "\xf5", /* beyond U+10FFFF */
        "\xc3",
        "\xe2\x82",
        "\xf0\x9f\x98", /* cut short */
        "\xc3(",
        "\xe2\x82(",
        "\xf0\x9f\x98(",
        "good\xff",
    };

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(str_is_utf8(str_of(bad[i])));
    /* What goes on behind the slice is not the slice's. */
    assert_false(str_is_utf8(str_n("\xc3\xa9", 1)));
    assert_false(str_is_utf8(str_n("\xf0\x9f\x98\x80", 3)));
}

/* Reference values of the FNV authors. */
static void the_hash_is_fnv_1a(void **state UNUSED)
{
    assert_true(str_hash(STR("")) == UINT64_C(0xcbf29ce484222325));
    assert_true(str_hash(STR("a")) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(str_hash(STR("foobar")) == UINT64_C(0x85944171f73967e8));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_is_not_empty_but_compares_as_empty),
        cmocka_unit_test(order_is_by_bytes_then_by_length),
        cmocka_unit_test(beginnings_and_ends_are_recognised),
        cmocka_unit_test(cutting_takes_one_piece_after_the_other),
        cmocka_unit_test(a_separator_at_the_end_leaves_an_empty_piece),
        cmocka_unit_test(whole_numbers_are_read_up_to_their_limits),
        cmocka_unit_test(what_is_no_number_leaves_the_output_alone),
        cmocka_unit_test(well_formed_utf8_is_accepted),
        cmocka_unit_test(malformed_utf8_is_refused),
        cmocka_unit_test(the_hash_is_fnv_1a),
    };

    return cmocka_run_group_tests_name("base/str", tests, NULL, NULL);
}
