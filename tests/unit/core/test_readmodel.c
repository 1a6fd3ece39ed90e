#include "core/readmodel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char orders[] =
    "[{\"name\":\"orders\",\"key\":\"id\",\"columns\":{\"id\":\"uuid\","
    "\"total\":\"numeric\"},\"indexes\":[[\"total\"]]}]";

static void assert_difference(const char *installed, const char *script,
                              const char *expected)
{
    struct buf text = {0};
    bool found = readmodel_difference(str_of(installed), str_of(script), &text);

    assert_int_equal(found, expected != NULL);
    if (expected != NULL)
        assert_string_equal(text.ptr, expected);
    buf_done(&text);
}

static void the_same_tables_have_no_difference(void **state UNUSED)
{
    assert_difference(orders, orders, NULL);
    assert_difference("[]", "[]", NULL);
}

static void the_first_difference_is_named(void **state UNUSED)
{
    assert_difference(
        orders,
        "[{\"name\":\"orders\",\"key\":\"id\",\"columns\":{\"id\":\"uuid\","
        "\"total\":\"double\"},\"indexes\":[[\"total\"]]}]",
        "orders.columns.total: installed \"numeric\", script \"double\"");
    assert_difference(
        orders,
        "[{\"name\":\"orders\",\"key\":\"id\",\"columns\":{\"id\":\"uuid\","
        "\"note\":\"text?\",\"total\":\"numeric\"},"
        "\"indexes\":[[\"total\"]]}]",
        "orders.columns.note: installed nothing, script \"text?\"");
    assert_difference(
        orders,
        "[{\"name\":\"orders\",\"key\":\"id\",\"columns\":{\"id\":\"uuid\","
        "\"total\":\"numeric\"},\"indexes\":[]}]",
        "orders.indexes.1: installed [\"total\"], script nothing");
}

static void tables_are_compared_by_name(void **state UNUSED)
{
    assert_difference(
        "[{\"name\":\"b\",\"key\":\"x\"}]",
        "[{\"name\":\"a\",\"key\":\"y\"},{\"name\":\"b\",\"key\":\"x\"}]",
        "a: installed nothing, script {\"name\":\"a\",\"key\":\"y\"}");
    assert_difference(
        "[{\"name\":\"a\",\"key\":\"y\"},{\"name\":\"b\",\"key\":\"x\"}]",
        "[{\"name\":\"b\",\"key\":\"x\"}]",
        "a: installed {\"name\":\"a\",\"key\":\"y\"}, script nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_tables_have_no_difference),
        cmocka_unit_test(the_first_difference_is_named),
        cmocka_unit_test(tables_are_compared_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
