#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int number;
    struct list link;
};

/* The numbers in the order of the list, as the digits of one number. */
static int digits_of(const struct list *head)
{
    int digits = 0;

    list_each (head, link) {
        digits = digits * 10 + LIST_ITEM(link, struct item, link)->number;
    }
    return digits;
}

static void items_stand_in_the_order_they_were_put(void **state UNUSED)
{
    struct item items[] = {{.number = 1}, {.number = 2}, {.number = 3}};
    struct list head;

    list_init(&head);
    assert_true(list_is_empty(&head));
    list_append(&head, &items[1].link);
    list_append(&head, &items[2].link);
    list_prepend(&head, &items[0].link);
    assert_false(list_is_empty(&head));
    assert_int_equal(digits_of(&head), 123);
}

static void removing_twice_is_harmless(void **state UNUSED)
{
    struct item items[] = {{.number = 1}, {.number = 2}, {.number = 3}};
    struct list head;

    list_init(&head);
    for (size_t i = 0; i < COUNT(items); i++)
        list_append(&head, &items[i].link);
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    assert_int_equal(digits_of(&head), 13);
    list_append(&head, &items[1].link);
    assert_int_equal(digits_of(&head), 132);
}

static void a_safe_walk_may_remove_what_it_meets(void **state UNUSED)
{
    struct item items[] = {{.number = 1}, {.number = 2}, {.number = 3}};
    struct list head;

    list_init(&head);
    for (size_t i = 0; i < COUNT(items); i++)
        list_append(&head, &items[i].link);
    list_each_safe (&head, link, after) {
        if (LIST_ITEM(link, struct item, link)->number != 2)
            list_remove(link);
    }
    assert_int_equal(digits_of(&head), 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_stand_in_the_order_they_were_put),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(a_safe_walk_may_remove_what_it_meets),
    };

    return cmocka_run_group_tests_name("base/list", tests, NULL, NULL);
}
