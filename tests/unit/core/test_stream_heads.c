#include "core/stream_heads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct str name(char text[32], size_t number)
{
    return str_n(text, (size_t)snprintf(text, 32, "stream-%zu", number));
}

static void what_was_put_is_found_and_nothing_else(void **state UNUSED)
{
    struct stream_heads *heads = stream_heads_new();
    struct stream_head *entry;

    assert_null(stream_heads_find(heads, STR("Order"), STR("1")));
    stream_heads_put(heads, STR("Order"), STR("1"), 7, 3);
    entry = stream_heads_find(heads, STR("Order"), STR("1"));
    assert_non_null(entry);
    assert_int_equal(entry->stream_id, 7);
    assert_int_equal(entry->version, 3);
    assert_null(stream_heads_find(heads, STR("Cart"), STR("1")));
    assert_null(stream_heads_find(heads, STR("Order"), STR("2")));
    /* Type and id are two texts, not one. */
    assert_null(stream_heads_find(heads, STR("Orde"), STR("r1")));
    assert_null(stream_heads_find(heads, STR("1"), STR("Order")));
    stream_heads_free(heads);
    stream_heads_free(NULL);
}

static void putting_again_changes_the_entry_in_its_place(void **state UNUSED)
{
    struct stream_heads *heads = stream_heads_new();
    char id[] = "42";
    struct stream_head *first =
        stream_heads_put(heads, STR("Order"), str_n(id, 2), 0, 0);
    struct stream_head *second;

    id[0] = 'x'; /* the names are copies */
    second = stream_heads_put(heads, STR("Order"), STR("42"), 9, 1);
    assert_ptr_equal(first, second);
    assert_int_equal(first->stream_id, 9);
    assert_int_equal(first->version, 1);
    stream_heads_free(heads);
}

static void entries_stay_where_they_are_while_others_come(void **state UNUSED)
{
    struct stream_heads *heads = stream_heads_new();
    struct stream_head *first =
        stream_heads_put(heads, STR("Order"), STR("first"), 1, 1);
    char text[32];

    for (size_t i = 0; i < 50000; i++)
        stream_heads_put(heads, STR("Order"), name(text, i), i + 1, i);
    assert_ptr_equal(first,
                     stream_heads_find(heads, STR("Order"), STR("first")));
    for (size_t i = 0; i < 50000; i++)
        assert_int_equal(
            stream_heads_find(heads, STR("Order"), name(text, i))->version, i);
    stream_heads_free(heads);
}

static void forgetting_leaves_nothing(void **state UNUSED)
{
    struct stream_heads *heads = stream_heads_new();
    char text[32];

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 1000; i++)
            stream_heads_put(heads, STR("Order"), name(text, i), i + 1, 1);
        stream_heads_forget(heads);
        for (size_t i = 0; i < 1000; i++)
            assert_null(stream_heads_find(heads, STR("Order"), name(text, i)));
    }
    stream_heads_free(heads);
}

static void trimming_forgets_only_when_there_are_too_many(void **state UNUSED)
{
    struct stream_heads *heads = stream_heads_new();
    char text[32];

    for (size_t i = 0; i < HEADS_MAX; i++)
        stream_heads_put(heads, STR("Order"), name(text, i), i + 1, 1);
    stream_heads_trim(heads);
    assert_non_null(stream_heads_find(heads, STR("Order"), STR("stream-0")));
    stream_heads_put(heads, STR("Order"), STR("one too many"), 1, 1);
    stream_heads_trim(heads);
    assert_null(stream_heads_find(heads, STR("Order"), STR("stream-0")));
    stream_heads_free(heads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found_and_nothing_else),
        cmocka_unit_test(putting_again_changes_the_entry_in_its_place),
        cmocka_unit_test(entries_stay_where_they_are_while_others_come),
        cmocka_unit_test(forgetting_leaves_nothing),
        cmocka_unit_test(trimming_forgets_only_when_there_are_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
