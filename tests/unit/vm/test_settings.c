#include "unit/vm/vm_support.h"
#include "vm/vm_settings.h"

#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/perigee-settings-XXXXXX";

static int open_file(void **state UNUSED)
{
    int fd = mkstemp(path);

    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state UNUSED)
{
    return unlink(path);
}

static void note(void *context, const struct setting_value *value)
{
    struct buf *out = context;

    switch (value->kind) {
    case SETTING_IS_TEXT:
        buf_printf(out, "%s='%.*s'\n", value->key, STR_ARG(value->text));
        break;
    case SETTING_IS_NUMBER:
        buf_printf(out, "%s=%.*s(%g)\n", value->key, STR_ARG(value->text),
                   value->number);
        break;
    case SETTING_IS_BOOL:
        buf_printf(out, "%s=%d\n", value->key, value->flag);
        break;
    case SETTING_IS_EMPTY:
        buf_printf(out, "%s={}\n", value->key);
    }
}

static bool read_text(const char *text, struct buf *out, struct err *err)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return vm_read_settings(path, note, out, err);
}

static void expect_settings(const char *text, const char *expected)
{
    struct err err = {0};
    struct buf out = {0};

    if (!read_text(text, &out, &err))
        fail_msg("%s", err.text);
    assert_string_equal(buf_as_str(&out).ptr, expected);
    buf_done(&out);
}

static void expect_refusal(const char *text, const char *part)
{
    struct err err = {0};
    struct buf out = {0};

    assert_false(read_text(text, &out, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    if (strstr(err.text, part) == NULL)
        fail_msg("'%s' expected in '%s'", part, err.text);
    buf_done(&out);
}

static void settings_are_flat_sorted_scalars(void **state UNUSED)
{
    expect_settings("return {}", "");
    expect_settings("return { log = { level = 'INFO' }, database = { url = "
                    "'sqlite:x', pool_size = 10, wait = 0.5, migrate = true }, "
                    "http = { tokens = { 'a', 'b', 3 } } }",
                    "database.migrate=1\ndatabase.pool_size=10(10)\n"
                    "database.url='sqlite:x'\ndatabase.wait=0.5(0.5)\n"
                    "http.tokens='a,b,3'\nlog.level='INFO'\n");
}

static void tables_that_say_nothing_are_told(void **state UNUSED)
{
    expect_settings("return { http = { tokens = { a = {} } }, log = {} }",
                    "http.tokens.a={}\nlog={}\n");
}

static void the_environment_can_be_asked(void **state UNUSED)
{
    setenv("PERIGEE_TEST_NAME", "from outside", 1);
    unsetenv("PERIGEE_TEST_ABSENT");
    expect_settings("return { a = env 'PERIGEE_TEST_NAME', b = "
                    "env('PERIGEE_TEST_ABSENT', 'default'), c = "
                    "env('PERIGEE_TEST_ABSENT', 7), d = "
                    "env('PERIGEE_TEST_ABSENT', nil) }",
                    "a='from outside'\nb='default'\nc=7(7)\n");
    expect_refusal("return {\n a = env 'PERIGEE_TEST_ABSENT' }",
                   ":2: the environment has no PERIGEE_TEST_ABSENT");
}

static void secrets_come_from_files(void **state UNUSED)
{
    char secret[] = "/tmp/perigee-secret-XXXXXX";
    int fd = mkstemp(secret);
    char text[128];

    assert_int_equal(write(fd, "s3cret\r\n", 8), 8);
    close(fd);
    snprintf(text, sizeof(text), "return { a = secret_file('%s') }", secret);
    expect_settings(text, "a='s3cret'\n");
    unlink(secret);
    expect_refusal(text, "No such file");
}

static void nothing_else_can_be_called(void **state UNUSED)
{
    expect_refusal("return { a = tostring(1) }",
                   "global 'tostring' is not defined");
    expect_refusal("return { a = string.rep('x', 3) }",
                   "global 'string' is not defined");
    expect_refusal("return { a = ('x'):rep(3) }", "attempt to index");
    expect_refusal("x = 1", "assignment to the global 'x'");
    expect_refusal("while true do end", "stopped");
}

static void what_is_no_setting_is_named(void **state UNUSED)
{
    expect_refusal("return { database = { url = env } }",
                   "'database.url' is function");
    expect_refusal("return { a = { b = { { 1 } } } }", "'a.b' is table");
    expect_refusal("return { a = { [true] = 1 } }",
                   "'a' is a table with a key that is no name");
    expect_refusal("return { a = 0 / 0 }", "'a' is not a finite number");
    expect_refusal("return 5", "'return' is number");
    expect_refusal("return", "'return' is nil");
    expect_refusal("local t = {} t.t = t return t", "nested too deep");
    expect_refusal("return {\n", ":2: unexpected symbol");
}

static void a_file_that_is_not_there_is_named(void **state UNUSED)
{
    struct err err = {0};

    assert_false(vm_read_settings("/nowhere/x.lua", note, NULL, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_string_equal(err.text, "/nowhere/x.lua: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_flat_sorted_scalars),
        cmocka_unit_test(tables_that_say_nothing_are_told),
        cmocka_unit_test(the_environment_can_be_asked),
        cmocka_unit_test(secrets_come_from_files),
        cmocka_unit_test(nothing_else_can_be_called),
        cmocka_unit_test(what_is_no_setting_is_named),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };

    return cmocka_run_group_tests(tests, open_file, remove_file);
}
