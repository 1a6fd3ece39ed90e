#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static void zeroed_memory_is_an_empty_buffer(void **state UNUSED)
{
    struct buf buf = {0};

    assert_string_equal(buf_as_str(&buf).ptr, "");
    assert_int_equal(buf_as_str(&buf).len, 0);
    buf_clear(&buf);
    buf_done(&buf);
    buf_done(&buf);
}

static void what_is_added_stands_in_order_before_a_nul(void **state UNUSED)
{
    struct buf buf = {0};

    buf_text(&buf, "one");
    buf_char(&buf, ' ');
    buf_str(&buf, str_n("twofold", 3));
    buf_str(&buf, STR_NONE);
    buf_printf(&buf, " %d%s", 3, "!");
    buf_add(&buf, "\0x", 2);
    assert_int_equal(buf.len, 12);
    assert_memory_equal(buf.ptr, "one two 3!\0x", 12);
    buf_done(&buf);
}

static void growing_keeps_every_byte(void **state UNUSED)
{
    struct buf buf = {0};

    for (int i = 0; i < 100000; i++) {
        buf_char(&buf, (char)('a' + i % 26));
        assert_true(buf.ptr[buf.len] == '\0');
    }
    assert_int_equal(buf.len, 100000);
    for (int i = 0; i < 100000; i++)
        assert_true(buf.ptr[i] == (char)('a' + i % 26));
    buf_done(&buf);
}

/* Each length once, so that every fit around the capacity is met. */
static void formatted_text_is_whole_at_any_length(void **state UNUSED)
{
    for (int width = 1; width < 300; width++) {
        struct buf buf = {0};

        buf_text(&buf, "<");
        buf_printf(&buf, "%*d|", width, 7);
        assert_int_equal(buf.len, width + 2);
        assert_int_equal(strlen(buf.ptr), width + 2);
        assert_memory_equal(buf.ptr + buf.len - 2, "7|", 2);
        buf_done(&buf);
    }
}

static void room_is_zeroed_and_not_counted(void **state UNUSED)
{
    struct buf buf = {0};
    char *room;

    buf_text(&buf, "a text that was longer");
    buf_clear(&buf);
    buf_text(&buf, "ab");
    room = buf_room(&buf, 1000);
    assert_ptr_equal(room, buf.ptr + 2);
    assert_int_equal(buf.len, 2);
    memcpy(room, "cd", 2);
    buf.len += 2;
    assert_string_equal(buf.ptr, "abcd");
    buf_done(&buf);
}

static void clearing_keeps_the_memory(void **state UNUSED)
{
    struct buf buf = {0};
    const char *before;

    buf_text(&buf, "something");
    before = buf.ptr;
    buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf.ptr, "");
    buf_text(&buf, "else");
    assert_ptr_equal(buf.ptr, before);
    buf_done(&buf);
}

static void taking_leaves_the_buffer_empty(void **state UNUSED)
{
    struct buf buf = {0};
    char *nothing = buf_take(&buf);
    char *text;

    buf_text(&buf, "mine");
    text = buf_take(&buf);
    assert_string_equal(nothing, "");
    assert_string_equal(text, "mine");
    assert_null(buf.ptr);
    assert_int_equal(buf.len + buf.capacity, 0);
    mem_free(nothing);
    mem_free(text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_memory_is_an_empty_buffer),
        cmocka_unit_test(what_is_added_stands_in_order_before_a_nul),
        cmocka_unit_test(growing_keeps_every_byte),
        cmocka_unit_test(formatted_text_is_whole_at_any_length),
        cmocka_unit_test(room_is_zeroed_and_not_counted),
        cmocka_unit_test(clearing_keeps_the_memory),
        cmocka_unit_test(taking_leaves_the_buffer_empty),
    };

    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
