#include "base/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Every test works in this arena; it is emptied after each. */
static struct arena arena;

static int empty_arena(void **state UNUSED)
{
    arena_done(&arena);
    return 0;
}

static struct value of(enum value_kind kind, const char *text)
{
    struct value value = {VALUE_NULL, {STR_NONE}};
    struct err err;

    if (!value_from_text(kind, str_of(text), &arena, &value, &err))
        fail_msg("'%s': %s", text, err.text);
    return value;
}

static void assert_text(const struct value *value, const char *want)
{
    struct buf text = {0};

    value_to_text(value, &text);
    assert_string_equal(buf_as_str(&text).ptr, want);
    buf_done(&text);
}

static bool refuses(enum value_kind kind, struct str text)
{
    struct value value = {VALUE_NULL, {STR_NONE}};
    struct err err = {ERR_NONE, "", ""};

    return !value_from_text(kind, text, &arena, &value, &err) &&
           err.code == ERR_INVALID_INPUT && value.kind == VALUE_NULL;
}

static const struct value null_value = {VALUE_NULL, {STR_NONE}};

/* ---- words and names ---- */

static void every_kind_has_its_words(void **state UNUSED)
{
    for (enum value_kind kind = VALUE_NULL + 1; kind < VALUE_KIND_COUNT;
         kind++) {
        enum value_kind found = VALUE_NULL;
        bool nullable = true;
        struct err err;

        assert_true(value_parse_word(str_of(value_word(kind)), &found,
                                     &nullable, &err));
        assert_int_equal(found, kind);
        assert_false(nullable);
        assert_true(strlen(value_pg_type(kind)) > 0);
        assert_true(strlen(value_lite_type(kind)) > 0);
    }
    assert_string_equal(value_pg_type(VALUE_TIMESTAMP), "timestamptz");
    assert_string_equal(value_lite_type(VALUE_NUMERIC), "text collate decimal");
    assert_true(value_is_numeric(VALUE_NUMERIC));
    assert_false(value_is_numeric(VALUE_DATE));
    assert_false(value_is_numeric(VALUE_NULL));
}

static void a_question_mark_means_nullable(void **state UNUSED)
{
    enum value_kind kind = VALUE_NULL;
    bool nullable = false;
    struct err err;

    assert_true(value_parse_word(STR("date?"), &kind, &nullable, &err));
    assert_int_equal(kind, VALUE_DATE);
    assert_true(nullable);
}

static void other_words_are_refused_with_the_list(void **state UNUSED)
{
    static const char *bad[] = {"",       "?",     "Text",
                                "string", "null",  "text??",
                                "int",    "text ", "numeric(10,2)"};
    enum value_kind kind = VALUE_UUID;
    bool nullable = false;
    struct err err;

    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(value_parse_word(str_of(bad[i]), &kind, &nullable, &err));
        assert_int_equal(err.code, ERR_INVALID_INPUT);
        assert_non_null(strstr(err.text, "text uuid bigint integer numeric "
                                         "double boolean date timestamp json"));
    }
    assert_int_equal(kind, VALUE_UUID);
    assert_false(nullable);
}

static void
names_are_plain_and_never_look_like_a_generation(void **state UNUSED)
{
    static const char *good[] = {
        "a",
        "orders",
        "order_id",
        "a1",
        "a_",
        "x_1_y",
        "a23456789012345678901234567890123456789012345678",
    };
    static const char *bad[] = {
        "",         "_a",
        "1a",       "Orders",
        "order-id", "a b",
        "a__b",     "orders__1",
        "a__",      "\xc3\xa9",
        "a\"",      "a23456789012345678901234567890123456789012345678x",
    };
    struct err err;

    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(value_check_name(str_of(good[i]), "column", &err));
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(value_check_name(str_of(bad[i]), "column", &err));
        assert_int_equal(err.code, ERR_INVALID_INPUT);
        assert_memory_equal(err.text, "column: ", 8);
    }
}

static void columns_are_found_by_name(void **state UNUSED)
{
    struct table_def table = {
        .column_count = 2,
        .columns = {{STR("id"), VALUE_UUID, false},
                    {STR("total"), VALUE_NUMERIC, false}},
    };

    assert_int_equal(table_column(&table, STR("id")), 0);
    assert_int_equal(table_column(&table, STR("total")), 1);
    assert_int_equal(table_column(&table, STR("tot")), -1);
    assert_int_equal(table_column(&table, STR("")), -1);
}

/* ---- text ---- */

static void canonical_text_reads_back_as_itself(void **state UNUSED)
{
    static const struct {
        enum value_kind kind;
        const char *text;
        const char *canonical;
    } rows[] = {
        {VALUE_TEXT, "", ""},
        {VALUE_TEXT, "J\xc3\xbcrgen\n", "J\xc3\xbcrgen\n"},
        {VALUE_UUID, "550E8400-E29B-41D4-A716-446655440000",
         "550e8400-e29b-41d4-a716-446655440000"},
        {VALUE_BIGINT, "-9223372036854775808", "-9223372036854775808"},
        {VALUE_BIGINT, "9223372036854775807", "9223372036854775807"},
        {VALUE_INTEGER, "-2147483648", "-2147483648"},
        {VALUE_INTEGER, "2147483647", "2147483647"},
        {VALUE_NUMERIC, "12.50", "12.50"},
        {VALUE_NUMERIC, "-0.00", "0.00"},
        {VALUE_NUMERIC, "1.5e2", "150"},
        {VALUE_DOUBLE, "0.1", "0.1"},
        {VALUE_DOUBLE, "100", "100"},
        {VALUE_DOUBLE, "1E21", "1e+21"},
        {VALUE_BOOLEAN, "true", "true"},
        {VALUE_BOOLEAN, "false", "false"},
        {VALUE_DATE, "2010-12-01", "2010-12-01"},
        {VALUE_DATE, "1969-12-31", "1969-12-31"},
        {VALUE_TIMESTAMP, "2010-12-01T09:26:00+01:00",
         "2010-12-01T08:26:00.000000Z"},
        {VALUE_JSON, " {\"b\" : 1.0, \"a\":[ ]} ", "{\"b\":1.0,\"a\":[]}"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct value value = of(rows[i].kind, rows[i].text);

        assert_int_equal(value.kind, rows[i].kind);
        assert_text(&value, rows[i].canonical);
        value = of(rows[i].kind, rows[i].canonical);
        assert_text(&value, rows[i].canonical);
    }
}

static void what_is_not_of_the_kind_is_refused(void **state UNUSED)
{
    static const struct {
        enum value_kind kind;
        const char *text;
    } rows[] = {
        {VALUE_TEXT, "\xff"},
        {VALUE_UUID, "550e8400e29b41d4a716446655440000"},
        {VALUE_UUID, ""},
        {VALUE_BIGINT, "9223372036854775808"},
        {VALUE_BIGINT, "1.5"},
        {VALUE_BIGINT, ""},
        {VALUE_INTEGER, "2147483648"},
        {VALUE_INTEGER, "-2147483649"},
        {VALUE_NUMERIC, "abc"},
        {VALUE_NUMERIC, "1e1000000000"},
        {VALUE_DOUBLE, "nan"},
        {VALUE_DOUBLE, "0x1p3"},
        {VALUE_DOUBLE, "1e400"},
        {VALUE_DOUBLE, "\"1\""},
        {VALUE_DOUBLE, ""},
        {VALUE_BOOLEAN, "yes"},
        {VALUE_BOOLEAN, "1"},
        {VALUE_BOOLEAN, "True"},
        {VALUE_DATE, "2010-13-01"},
        {VALUE_DATE, "2010-12-01T00:00:00Z"},
        {VALUE_TIMESTAMP, "2010-12-01"},
        {VALUE_JSON, "{"},
        {VALUE_JSON, ""},
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        if (!refuses(rows[i].kind, str_of(rows[i].text)))
            fail_msg("row %zu was taken: %s", i, rows[i].text);
    assert_true(refuses(VALUE_TEXT, STR("a\0b")));
}

static void slices_of_a_value_are_its_own(void **state UNUSED)
{
    char text[] = "12.50";
    struct value value = of(VALUE_NUMERIC, text);
    struct value copy;
    struct arena other = {0};

    text[0] = '9';
    assert_text(&value, "12.50");
    copy = value_copy(&other, &value);
    arena_done(&arena);
    assert_text(&copy, "12.50");
    arena_done(&other);
}

static void values_are_written_as_json_has_them(void **state UNUSED)
{
    struct value values[] = {
        null_value,
        of(VALUE_TEXT, "a\"b"),
        of(VALUE_UUID, "550e8400-e29b-41d4-a716-446655440000"),
        of(VALUE_BIGINT, "-5"),
        of(VALUE_INTEGER, "7"),
        of(VALUE_NUMERIC, "1.50"),
        of(VALUE_DOUBLE, "0.5"),
        of(VALUE_BOOLEAN, "true"),
        of(VALUE_DATE, "2010-12-01"),
        of(VALUE_TIMESTAMP, "2010-12-01T08:26:00Z"),
        of(VALUE_JSON, "{\"a\":1}"),
    };
    struct buf text = {0};
    struct json_out out;

    json_begin(&out, &text);
    json_array(&out, NULL);
    for (size_t i = 0; i < COUNT(values); i++)
        value_write(&out, NULL, &values[i]);
    json_end(&out, ']');
    assert_string_equal(text.ptr,
                        "[null,\"a\\\"b\","
                        "\"550e8400-e29b-41d4-a716-446655440000\",-5,7,"
                        "\"1.50\",0.5,true,\"2010-12-01\","
                        "\"2010-12-01T08:26:00.000000Z\",{\"a\":1}]");
    buf_done(&text);
}

/* ---- order ---- */

static void values_are_ordered_within_their_kind(void **state UNUSED)
{
    static const struct {
        enum value_kind kind;
        const char *less;
        const char *more;
    } rows[] = {
        {VALUE_TEXT, "Z", "a"},
        {VALUE_TEXT, "a", "ab"},
        {VALUE_TEXT, "", "a"},
        {VALUE_UUID, "0fffffff-ffff-ffff-ffff-ffffffffffff",
         "f0000000-0000-0000-0000-000000000000"},
        {VALUE_BIGINT, "-9223372036854775808", "9223372036854775807"},
        {VALUE_INTEGER, "-2", "1"},
        {VALUE_NUMERIC, "9.99", "10"},
        {VALUE_NUMERIC, "-10", "-9.99"},
        {VALUE_DOUBLE, "-1e300", "1e-300"},
        {VALUE_BOOLEAN, "false", "true"},
        {VALUE_DATE, "1969-12-31", "1970-01-01"},
        {VALUE_TIMESTAMP, "1969-12-31T23:59:59.999999Z",
         "1970-01-01T00:00:00Z"},
        {VALUE_JSON, "[1]", "[2]"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct value less = of(rows[i].kind, rows[i].less);
        struct value more = of(rows[i].kind, rows[i].more);
        struct value again = of(rows[i].kind, rows[i].less);

        assert_true(value_cmp(&less, &more) < 0);
        assert_true(value_cmp(&more, &less) > 0);
        assert_true(value_cmp(&null_value, &less) < 0);
        assert_true(value_cmp(&less, &null_value) > 0);
        assert_false(value_eq(&less, &more));
        assert_true(value_eq(&less, &again));
        assert_true(value_hash(&less) == value_hash(&again));
        assert_true(value_hash(&less) != value_hash(&more));
    }
    assert_int_equal(value_cmp(&null_value, &null_value), 0);
    assert_true(value_hash(&null_value) == value_hash(&null_value));
}

static void equal_values_have_equal_hashes_however_written(void **state UNUSED)
{
    static const struct {
        enum value_kind kind;
        const char *one;
        const char *other;
    } rows[] = {
        {VALUE_NUMERIC, "1.5", "1.500"}, {VALUE_NUMERIC, "2", "2.00"},
        {VALUE_NUMERIC, "0", "-0.00"},   {VALUE_NUMERIC, "100", "100.0"},
        {VALUE_DOUBLE, "0", "-0"},       {VALUE_DOUBLE, "1e2", "100"},
    };
    struct value ten = of(VALUE_NUMERIC, "10");
    struct value hundred = of(VALUE_NUMERIC, "100");

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct value a = of(rows[i].kind, rows[i].one);
        struct value b = of(rows[i].kind, rows[i].other);

        assert_true(value_eq(&a, &b));
        assert_true(value_hash(&a) == value_hash(&b));
    }
    assert_true(value_hash(&ten) != value_hash(&hundred));
}

/* ---- sums ---- */

static void assert_sum(enum value_kind kind, const char *sum,
                       const char *amount, const char *want)
{
    struct value total = sum != NULL ? of(kind, sum) : null_value;
    struct value more = of(kind, amount);
    struct err err;

    assert_true(value_add(&arena, kind, &total, &more, &err));
    assert_int_equal(total.kind, kind);
    assert_text(&total, want);
}

static void amounts_are_added_exactly(void **state UNUSED)
{
    assert_sum(VALUE_BIGINT, "9223372036854775806", "1", "9223372036854775807");
    assert_sum(VALUE_INTEGER, "-5", "3", "-2");
    assert_sum(VALUE_NUMERIC, "0.10", "0.2", "0.30");
    assert_sum(VALUE_NUMERIC, "99999999999999999999.99", "0.01",
               "100000000000000000000.00");
    assert_sum(VALUE_NUMERIC, "1.5", "-1.50", "0.00");
    assert_sum(VALUE_DOUBLE, "0.5", "0.25", "0.75");
}

static void adding_to_null_starts_from_zero(void **state UNUSED)
{
    assert_sum(VALUE_BIGINT, NULL, "7", "7");
    assert_sum(VALUE_INTEGER, NULL, "-7", "-7");
    assert_sum(VALUE_NUMERIC, NULL, "1.50", "1.50");
    assert_sum(VALUE_DOUBLE, NULL, "0.1", "0.1");
}

static void sums_that_do_not_fit_fail_and_change_nothing(void **state UNUSED)
{
    static const struct {
        enum value_kind kind;
        const char *sum;
        const char *amount;
    } rows[] = {
        {VALUE_BIGINT, "9223372036854775807", "1"},
        {VALUE_BIGINT, "-9223372036854775808", "-1"},
        {VALUE_INTEGER, "2147483647", "1"},
        {VALUE_INTEGER, "-2147483648", "-1"},
        {VALUE_NUMERIC, "9e999", "1e999"},
        {VALUE_NUMERIC, "1e999", "0.1"},
        {VALUE_DOUBLE, "1.7e308", "1.7e308"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct value sum = of(rows[i].kind, rows[i].sum);
        struct value before = sum;
        struct value amount = of(rows[i].kind, rows[i].amount);
        struct err err = {ERR_NONE, "", ""};

        assert_false(value_add(&arena, rows[i].kind, &sum, &amount, &err));
        assert_int_equal(err.code, ERR_INVALID_INPUT);
        assert_true(value_eq(&sum, &before));
    }
}

static void every_column_has_its_zero(void **state UNUSED)
{
    static const struct {
        enum value_kind kind;
        const char *text;
    } rows[] = {
        {VALUE_TEXT, ""},
        {VALUE_UUID, "00000000-0000-0000-0000-000000000000"},
        {VALUE_BIGINT, "0"},
        {VALUE_INTEGER, "0"},
        {VALUE_NUMERIC, "0"},
        {VALUE_DOUBLE, "0"},
        {VALUE_BOOLEAN, "false"},
        {VALUE_DATE, "1970-01-01"},
        {VALUE_TIMESTAMP, "1970-01-01T00:00:00.000000Z"},
        {VALUE_JSON, "{}"},
    };

    assert_int_equal(COUNT(rows), VALUE_KIND_COUNT - 1);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct column_def column = {STR("c"), rows[i].kind, false};
        struct value zero = value_zero(&column);

        assert_int_equal(zero.kind, rows[i].kind);
        assert_text(&zero, rows[i].text);
        column.nullable = true;
        zero = value_zero(&column);
        assert_int_equal(zero.kind, value_is_numeric(rows[i].kind)
                                        ? rows[i].kind
                                        : VALUE_NULL);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, empty_arena)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(every_kind_has_its_words),
        TEST(a_question_mark_means_nullable),
        TEST(other_words_are_refused_with_the_list),
        TEST(names_are_plain_and_never_look_like_a_generation),
        TEST(columns_are_found_by_name),
        TEST(canonical_text_reads_back_as_itself),
        TEST(what_is_not_of_the_kind_is_refused),
        TEST(slices_of_a_value_are_its_own),
        TEST(values_are_written_as_json_has_them),
        TEST(values_are_ordered_within_their_kind),
        TEST(equal_values_have_equal_hashes_however_written),
        TEST(amounts_are_added_exactly),
        TEST(adding_to_null_starts_from_zero),
        TEST(sums_that_do_not_fit_fail_and_change_nothing),
        TEST(every_column_has_its_zero),
    };

    return cmocka_run_group_tests_name("base/value", tests, NULL, NULL);
}
