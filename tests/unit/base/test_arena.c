#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ALIGNMENT _Alignof(max_align_t)

static void every_allocation_is_aligned_and_apart(void **state UNUSED)
{
    struct arena arena = {0};
    char *last = NULL;

    for (size_t size = 0; size < 200; size++) {
        char *ptr = arena_alloc(&arena, size);

        assert_int_equal((uintptr_t)ptr % ALIGNMENT, 0);
        assert_ptr_not_equal(ptr, last);
        memset(ptr, (int)size, size);
        last = ptr;
    }
    arena_done(&arena);
}

static void earlier_allocations_stay_while_it_grows(void **state UNUSED)
{
    struct arena arena = {0};
    uint32_t **numbers = ARENA_ARRAY(&arena, uint32_t *, 10000);

    for (uint32_t i = 0; i < 10000; i++) {
        numbers[i] = ARENA_NEW(&arena, uint32_t);
        assert_int_equal(*numbers[i], 0);
        *numbers[i] = i;
    }
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(*numbers[i], i);
    arena_done(&arena);
}

static void memory_asked_for_zeroed_is_so_after_a_reset(void **state UNUSED)
{
    struct arena arena = {0};
    const char *again;

    memset(arena_alloc(&arena, 1000), 'x', 1000);
    arena_reset(&arena);
    again = arena_zalloc(&arena, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_true(again[i] == '\0');
    arena_done(&arena);
}

static void
a_large_piece_leaves_the_room_of_the_first_block(void **state UNUSED)
{
    struct arena arena = {0};
    const char *before = arena_alloc(&arena, 16);
    char *large = arena_alloc(&arena, 3 * 1024 * 1024);
    const char *behind = arena_alloc(&arena, 16);

    memset(large, 'x', 3 * 1024 * 1024);
    assert_true(behind == before + 16);
    arena_done(&arena);
}

static void a_reset_forgets_all_and_keeps_one_block(void **state UNUSED)
{
    struct arena arena = {0};
    const struct arena_block *kept;

    for (int i = 0; i < 1000; i++)
        arena_alloc(&arena, 100);
    assert_true(arena.used >= 100000);
    kept = arena.blocks;
    arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    assert_ptr_equal(arena.blocks, kept);
    arena_alloc(&arena, 100);
    assert_ptr_equal(arena.blocks, kept);
    arena_done(&arena);
}

static void a_reset_gives_back_a_huge_block(void **state UNUSED)
{
    struct arena arena = {0};

    arena_alloc(&arena, 8 * 1024 * 1024);
    arena_reset(&arena);
    assert_null(arena.blocks);
    arena_done(&arena);
}

static void done_leaves_an_empty_arena(void **state UNUSED)
{
    struct arena arena = {0};

    arena_alloc(&arena, 1);
    arena_done(&arena);
    assert_null(arena.blocks);
    assert_int_equal(arena.used, 0);
    arena_done(&arena);
    arena_reset(&arena);
}

static void texts_are_copied_with_a_nul(void **state UNUSED)
{
    struct arena arena = {0};
    char original[] = "orders";
    struct str copy = arena_str(&arena, str_n(original, 5));
    struct str empty = arena_str(&arena, STR(""));

    original[0] = 'x';
    assert_string_equal(copy.ptr, "order");
    assert_int_equal(copy.len, 5);
    assert_string_equal(empty.ptr, "");
    assert_true(str_is_none(arena_str(&arena, STR_NONE)));
    arena_done(&arena);
}

static void texts_are_formatted_at_any_length(void **state UNUSED)
{
    struct arena arena = {0};
    const char *text = arena_printf(&arena, "%s-%05000d", "cart", 42);

    assert_int_equal(strlen(text), 5005);
    assert_string_equal(text + 5003, "42");
    arena_done(&arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_is_aligned_and_apart),
        cmocka_unit_test(earlier_allocations_stay_while_it_grows),
        cmocka_unit_test(memory_asked_for_zeroed_is_so_after_a_reset),
        cmocka_unit_test(a_large_piece_leaves_the_room_of_the_first_block),
        cmocka_unit_test(a_reset_forgets_all_and_keeps_one_block),
        cmocka_unit_test(a_reset_gives_back_a_huge_block),
        cmocka_unit_test(done_leaves_an_empty_arena),
        cmocka_unit_test(texts_are_copied_with_a_nul),
        cmocka_unit_test(texts_are_formatted_at_any_length),
    };

    return cmocka_run_group_tests_name("base/arena", tests, NULL, NULL);
}
