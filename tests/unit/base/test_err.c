#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"

/* Every state of `extra` must be the inside of a good object. */
static void assert_well_formed(const struct err *err)
{
    struct buf document = {0};
    struct err why;

    buf_printf(&document, "{%s}", err->extra);
    if (!json_check(buf_as_str(&document), NULL, &why))
        fail_msg("%s in %s", why.text, document.ptr);
    buf_done(&document);
}

static void every_code_has_its_row(void **state UNUSED)
{
    for (int i = 0; i < ERR_CODES; i++) {
        enum err_code code = (enum err_code)i;

        assert_true(strlen(err_name(code)) > 0);
        assert_true(strlen(err_title(code)) > 0);
        assert_in_range(err_status(code), 200, 599);
        if (code != ERR_NONE)
            assert_int_equal(err_code_of(str_of(err_name(code))), code);
    }
    assert_string_equal(err_name(ERR_VERSION_CONFLICT), "version_conflict");
    assert_int_equal(err_status(ERR_VERSION_CONFLICT), 409);
    assert_string_equal(err_title(ERR_SCRIPT_TIMEOUT), "Script timeout");
    assert_true(err_may_retry(ERR_STORE));
    assert_false(err_may_retry(ERR_REJECTED));
}

static void a_name_that_is_no_problem_means_internal(void **state UNUSED)
{
    assert_int_equal(err_code_of(STR("no_such_code")), ERR_INTERNAL);
    assert_int_equal(err_code_of(STR("none")), ERR_INTERNAL);
    assert_int_equal(err_code_of(STR_NONE), ERR_INTERNAL);
}

static void setting_tells_code_and_values_and_is_false(void **state UNUSED)
{
    struct err err = {.extra = "\"old\":1"};

    assert_false(err_set(&err, ERR_VERSION_CONFLICT,
                         "expected version %d, found %d", 3, 5));
    assert_int_equal(err.code, ERR_VERSION_CONFLICT);
    assert_string_equal(err.text, "expected version 3, found 5");
    assert_string_equal(err.extra, "");
}

static void an_error_may_be_set_from_its_own_text(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_STORE, "lost");
    err_set(&err, ERR_INTERNAL, "%s and %s", err.text, err.text);
    assert_string_equal(err.text, "lost and lost");
}

static void
wrapping_puts_the_context_before_and_keeps_the_rest(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_VERSION_CONFLICT, "expected 3, found 5");
    err_extra(&err, "\"expected_version\":%d", 3);
    assert_false(err_wrap(&err, "append to '%s'", "cart-42"));
    assert_string_equal(err.text, "append to 'cart-42': expected 3, found 5");
    assert_int_equal(err.code, ERR_VERSION_CONFLICT);
    assert_string_equal(err.extra, "\"expected_version\":3");
}

static void text_is_one_line(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_STORE, "ERROR: no\nDETAIL:\tnone\x1b[0m\r");
    assert_string_equal(err.text, "ERROR: no DETAIL: none [0m ");
}

/* One byte more each time, so that the cut meets every byte of a character. */
static void long_text_is_cut_between_characters(void **state UNUSED)
{
    for (int shift = 0; shift < 4; shift++) {
        struct buf text = {0};
        struct err err;

        buf_printf(&text, "%.*s", shift, "abcd");
        for (int i = 0; i < 200; i++)
            buf_text(&text, "\xf0\x9f\x98\x80");
        err_set(&err, ERR_SCRIPT, "%s", text.ptr);
        assert_true(str_is_utf8(str_of(err.text)));
        assert_in_range(strlen(err.text), sizeof(err.text) - 4,
                        sizeof(err.text) - 1);
        err_wrap(&err, "context");
        assert_true(str_is_utf8(str_of(err.text)));
        assert_true(str_starts(str_of(err.text), STR("context: ")));
        buf_done(&text);
    }
}

static void text_that_just_fits_is_whole(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_SCRIPT, "%0*d", (int)sizeof(err.text) - 1, 7);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_string_equal(err.text + sizeof(err.text) - 3, "07");
}

static void further_members_are_put_together(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_VERSION_CONFLICT, "stale");
    err_extra(&err, "\"expected_version\":%d", 3);
    err_extra(&err, "\"actual_version\":%d", 5);
    assert_string_equal(err.extra,
                        "\"expected_version\":3,\"actual_version\":5");
    assert_well_formed(&err);
}

static void a_member_that_does_not_fit_is_left_out_whole(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_CONFLICT, "many");
    err_extra(&err, "\"a\":1");
    err_extra(&err, "\"long\":\"%0*d\"", (int)sizeof(err.extra), 1);
    err_extra(&err, "\"b\":2");
    assert_string_equal(err.extra, "\"a\":1,\"b\":2");
    for (int i = 0; i < 500; i++) {
        err_extra(&err, "\"n%d\":%d", i, i);
        assert_well_formed(&err);
    }
    assert_in_range(strlen(err.extra), sizeof(err.extra) - 16,
                    sizeof(err.extra) - 1);
}

static void a_member_may_fill_the_room_to_the_last_byte(void **state UNUSED)
{
    struct err err;
    int room = (int)sizeof(err.extra) - 1;

    err_set(&err, ERR_CONFLICT, "full");
    err_extra(&err, "\"a\":%0*d", room - 3, 1);
    assert_string_equal(err.extra, "");
    err_extra(&err, "\"a\":%0*d", room - 4, 1);
    assert_int_equal(strlen(err.extra), room);
}

static void bad_fields_are_listed_in_order(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_INVALID_INPUT, "2 fields are wrong");
    err_field(&err, STR("total"), "expected %s", "decimal");
    err_field(&err, STR("a\"b"), "unknown\nfield");
    assert_string_equal(
        err.extra, "\"errors\":[{\"field\":\"total\",\"message\":\"expected "
                   "decimal\"},{\"field\":\"a\\\"b\",\"message\":"
                   "\"unknown\\nfield\"}]");
    assert_well_formed(&err);
}

static void fields_follow_members_that_were_there(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_INVALID_INPUT, "wrong");
    err_extra(&err, "\"line\":7,\"seen\":\"\\\"errors\\\":[\"");
    err_field(&err, STR("x"), "bad");
    err_field(&err, STR("y"), "bad");
    assert_well_formed(&err);
    assert_non_null(strstr(err.extra,
                           ",\"errors\":[{\"field\":\"x\",\"message\":\"bad\"},"
                           "{\"field\":\"y\",\"message\":\"bad\"}]"));
}

static void fields_that_do_not_fit_are_left_out_whole(void **state UNUSED)
{
    struct err err;

    err_set(&err, ERR_INVALID_INPUT, "all of them");
    for (int i = 0; i < 100; i++) {
        err_field(&err, STR("field"), "message %d", i);
        assert_well_formed(&err);
    }
    assert_non_null(strstr(err.extra, "message 0"));
    assert_null(strstr(err.extra, "message 99"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_row),
        cmocka_unit_test(a_name_that_is_no_problem_means_internal),
        cmocka_unit_test(setting_tells_code_and_values_and_is_false),
        cmocka_unit_test(an_error_may_be_set_from_its_own_text),
        cmocka_unit_test(wrapping_puts_the_context_before_and_keeps_the_rest),
        cmocka_unit_test(text_is_one_line),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(text_that_just_fits_is_whole),
        cmocka_unit_test(further_members_are_put_together),
        cmocka_unit_test(a_member_that_does_not_fit_is_left_out_whole),
        cmocka_unit_test(a_member_may_fill_the_room_to_the_last_byte),
        cmocka_unit_test(bad_fields_are_listed_in_order),
        cmocka_unit_test(fields_follow_members_that_were_there),
        cmocka_unit_test(fields_that_do_not_fit_are_left_out_whole),
    };

    return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
