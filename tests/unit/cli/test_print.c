#include "cli/print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* What `print` writes to stdout, as text. */
static const char *printed(void (*print)(void *arg), void *arg)
{
    static char text[4096];
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    size_t len;

    assert_non_null(file);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    print(arg);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static void print_it(void *table)
{
    print_table(table);
}

static void columns_are_as_wide_as_their_widest_cell(void **state UNUSED)
{
    struct arena arena = {0};
    struct print_table table = {.arena = &arena, .columns = 3};
    static const char *const cells[] = {"id",  "total", "name", "a", "10.50",
                                        "Zoë", "order", "7",    ""};

    for (size_t i = 0; i < COUNT(cells); i++)
        print_cell(&table, str_of(cells[i]));
    assert_string_equal(printed(print_it, &table), "id     total  name\n"
                                                   "a      10.50  Zoë\n"
                                                   "order      7  \n");
    arena_done(&arena);
}

static void dates_and_ids_are_no_numbers(void **state UNUSED)
{
    struct arena arena = {0};
    struct print_table table = {.arena = &arena, .columns = 3};
    static const char *const cells[] = {"a day or so", "an id", "lag",
                                        "2026-11-23",  "1-2",   "-1.5"};

    for (size_t i = 0; i < COUNT(cells); i++)
        print_cell(&table, str_of(cells[i]));
    assert_string_equal(printed(print_it, &table),
                        "a day or so  an id   lag\n"
                        "2026-11-23   1-2    -1.5\n");
    arena_done(&arena);
}

static void a_table_grows_with_its_rows(void **state UNUSED)
{
    struct arena arena = {0};
    struct print_table table = {.arena = &arena, .columns = 1};

    for (int i = 0; i < 1000; i++)
        print_cell(&table, STR("x"));
    assert_int_equal(table.cell_count, 1000);
    assert_true(str_eq(table.cells[0], STR("x")));
    assert_true(str_eq(table.cells[999], STR("x")));
    arena_done(&arena);
}

static void assert_value(const char *json, const char *text)
{
    struct buf out = {0};

    print_value(json_value(str_of(json)), &out);
    assert_true(str_eq(buf_as_str(&out), str_of(text)));
    buf_done(&out);
}

static void values_are_shown_as_people_read_them(void **state UNUSED)
{
    assert_value("\"a \\\"b\\\"\"", "a \"b\"");
    assert_value("12.50", "12.50");
    assert_value("true", "true");
    assert_value("null", "");
    assert_value("{\"a\":1}", "{\"a\":1}");
}

static void no_stored_text_can_drive_a_terminal(void **state UNUSED)
{
    assert_value("\"\\u001b[2J\\u0007\\r\\n\\t\"", "?[2J????");
    assert_value("\"\\u009b2J \\u00a0\"", "?2J \u00a0");
    assert_value("\"\\u007f\"", "?");
}

static void print_object(void *json)
{
    print_members(json_value(str_of(json)));
}

static void members_stand_below_each_other(void **state UNUSED)
{
    char json[] = "{\"id\":\"42\",\"total\":10,\"note\":null}";

    assert_string_equal(printed(print_object, json), "id     42\n"
                                                     "total  10\n"
                                                     "note   \n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(dates_and_ids_are_no_numbers),
        cmocka_unit_test(a_table_grows_with_its_rows),
        cmocka_unit_test(values_are_shown_as_people_read_them),
        cmocka_unit_test(no_stored_text_can_drive_a_terminal),
        cmocka_unit_test(members_stand_below_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
