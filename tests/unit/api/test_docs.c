#include "api/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Tests run from the top of the repository. */
static void read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "r");
    char bytes[4096];
    size_t n;

    if (file == NULL)
        fail_msg("cannot read %s", path);
    while ((n = fread(bytes, 1, sizeof(bytes), file)) > 0)
        buf_add(out, bytes, n);
    fclose(file);
}

static bool has_route(struct str heading)
{
    size_t count;
    const struct api_route *routes = api_routes(&count);

    for (size_t i = 0; i < count; i++) {
        char text[128];

        snprintf(text, sizeof(text), "%s %s", routes[i].method, routes[i].path);
        if (str_eq(heading, str_of(text)))
            return true;
    }
    return false;
}

static void every_route_has_its_heading_and_role_in_the_manual(void **state)
{
    size_t count;
    const struct api_route *routes = api_routes(&count);
    struct buf manual = {0};

    (void)state;
    read_file("docs/http.md", &manual);
    for (size_t i = 0; i < count; i++) {
        char heading[160];

        snprintf(heading, sizeof(heading), "\n### %s %s\n\nRole: `%s`.\n",
                 routes[i].method, routes[i].path,
                 api_role_name(routes[i].role));
        if (strstr(manual.ptr, heading) == NULL)
            fail_msg("docs/http.md has no heading with its role%s", heading);
    }
    buf_done(&manual);
}

static void every_heading_in_the_manual_is_a_route(void **state)
{
    struct buf manual = {0};
    struct str rest;
    size_t found = 0;

    (void)state;
    read_file("docs/http.md", &manual);
    for (rest = buf_as_str(&manual); !str_is_none(rest);) {
        struct str line = str_cut(&rest, '\n');

        if (!str_starts(line, STR("### ")))
            continue;
        found++;
        if (!has_route(str_n(line.ptr + 4, line.len - 4)))
            fail_msg("docs/http.md: '%.*s' is no route", STR_ARG(line));
    }
    assert_true(found > 10);
    buf_done(&manual);
}

static void every_code_has_its_row_in_the_manual(void **state)
{
    struct buf manual = {0};

    (void)state;
    read_file("docs/errors.md", &manual);
    for (int code = ERR_NONE + 1; code < ERR_CODES; code++) {
        enum err_code c = (enum err_code)code;
        char row[160];

        snprintf(row, sizeof(row), "\n| `%s` | %d | %s | %s | ", err_name(c),
                 err_status(c), err_title(c), err_may_retry(c) ? "yes" : "no");
        if (strstr(manual.ptr, row) == NULL)
            fail_msg("docs/errors.md has no row%s", row);
    }
    buf_done(&manual);
}

static void every_row_in_the_manual_is_a_code(void **state)
{
    struct buf manual = {0};
    struct str rest;
    int found = 0;

    (void)state;
    read_file("docs/errors.md", &manual);
    for (rest = buf_as_str(&manual); !str_is_none(rest);) {
        struct str line = str_cut(&rest, '\n');
        struct str name;

        if (!str_starts(line, STR("| `")))
            continue;
        found++;
        name = str_n(line.ptr + 3, line.len - 3);
        name = str_cut(&name, '`');
        if (err_code_of(name) == ERR_INTERNAL && !str_eq(name, STR("internal")))
            fail_msg("docs/errors.md: '%.*s' is no code", STR_ARG(name));
    }
    assert_int_equal(found, ERR_CODES - 1);
    buf_done(&manual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_has_its_heading_and_role_in_the_manual),
        cmocka_unit_test(every_heading_in_the_manual_is_a_route),
        cmocka_unit_test(every_code_has_its_row_in_the_manual),
        cmocka_unit_test(every_row_in_the_manual_is_a_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
