#include "api/append_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define ID_A "018f4e6a-0000-7000-8000-00000000000a"
#define ID_B "018F4E6A-0000-7000-8000-00000000000B"

struct fixture {
    struct arena arena;
    struct append_request append;
    struct err err;
};

static int setup(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){0};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    arena_done(&((struct fixture *)*state)->arena);
    return 0;
}

/* Without scripts every event type is taken. */
static bool read(struct fixture *f, const char *body)
{
    struct err err;

    if (!json_check(str_of(body), NULL, &err))
        fail_msg("the test's body is no JSON: %s", err.text);
    f->append = (struct append_request){.aggregate_type = STR("Order"),
                                        .aggregate_id = STR("o-1")};
    return append_body_read(json_value(str_of(body)), NULL, &f->arena,
                            &f->append, &f->err);
}

static void refuse(struct fixture *f, const char *body, const char *field)
{
    if (read(f, body))
        fail_msg("taken: %s", body);
    assert_int_equal(f->err.code, ERR_INVALID_INPUT);
    if (strstr(f->err.extra, field) == NULL)
        fail_msg("'%s' is not in %s of %s", field, f->err.extra, body);
}

static void assert_str(struct str got, const char *expected)
{
    if (!str_eq(got, str_of(expected)))
        fail_msg("got '%.*s', expected '%s'", STR_ARG(got), expected);
}

static void the_smallest_event_gets_every_default(void **state)
{
    struct fixture *f = *state;
    const struct event *event;

    assert_true(
        read(f, "{\"events\":[{\"event_type\":\"Made\",\"data\":{}}]}"));
    event = &f->append.events[0];
    assert_int_equal(f->append.count, 1);
    assert_int_equal(f->append.expect, EXPECT_ANY);
    assert_false(f->append.ids_given);
    assert_false(uuid_is_nil(event->event_id));
    assert_int_equal(event->event_version, 1);
    assert_str(event->metadata, "{}");
    assert_true(str_is_none(event->tenant_id));
    assert_true(event->occurred_at_us > 1600000000000000);
}

static void every_field_comes_through_byte_for_byte(void **state)
{
    struct fixture *f = *state;
    const struct event *event;

    assert_true(read(
        f, "{\"expected_version\":7,\"events\":[{\"event_id\":\"" ID_B
           "\",\"event_type\":\"Made\",\"event_version\":3,\"data\":{\"n\":"
           "18446744073709551616,\"x\":1.50},\"metadata\":{\"k\":[1]},"
           "\"tenant_id\":\"t\",\"actor_id\":\"a\\u00e9\",\"correlation_id\":"
           "\"c\",\"causation_id\":\"d\",\"occurred_at\":"
           "\"2010-12-01T09:26:00+01:00\",\"aggregate_type\":\"Order\","
           "\"aggregate_id\":\"o-1\"}]}"));
    event = &f->append.events[0];
    assert_int_equal(f->append.expect, EXPECT_VERSION);
    assert_int_equal(f->append.expected_version, 7);
    assert_true(f->append.ids_given);
    assert_str(event->data, "{\"n\":18446744073709551616,\"x\":1.50}");
    assert_str(event->metadata, "{\"k\":[1]}");
    assert_str(event->actor_id, "a\xc3\xa9");
    assert_int_equal(event->event_version, 3);
    assert_int_equal(event->occurred_at_us, 1291191960000000);
}

static void null_is_as_good_as_absent_where_a_field_is_optional(void **state)
{
    struct fixture *f = *state;

    assert_true(read(f, "{\"expected_version\":\"any\",\"events\":[{"
                        "\"event_type\":\"Made\",\"data\":{},\"event_id\":null,"
                        "\"metadata\":null,\"tenant_id\":null}]}"));
    assert_false(f->append.ids_given);
    assert_true(str_is_none(f->append.events[0].tenant_id));
    refuse(f, "{\"events\":[{\"event_type\":\"Made\",\"data\":null}]}",
           "events[0].data");
}

static void expected_versions_are_numbers_from_0_or_three_words(void **state)
{
    static const struct {
        const char *text;
        enum expect expect;
    } good[] = {{"\"any\"", EXPECT_ANY},
                {"\"no_stream\"", EXPECT_NO_STREAM},
                {"\"stream_exists\"", EXPECT_STREAM_EXISTS},
                {"0", EXPECT_VERSION}};
    static const char *const bad[] = {"-1",    "1.5",  "\"ANY\"",
                                      "\"3\"", "true", "[]",
                                      "\"\"",  "{}",   "99999999999999999999"};
    struct fixture *f = *state;
    char body[256];

    for (size_t i = 0; i < COUNT(good); i++) {
        snprintf(body, sizeof(body),
                 "{\"expected_version\":%s,\"events\":[{\"event_type\":\"A\","
                 "\"data\":{}}]}",
                 good[i].text);
        assert_true(read(f, body));
        assert_int_equal(f->append.expect, good[i].expect);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(body, sizeof(body),
                 "{\"expected_version\":%s,\"events\":[{\"event_type\":\"A\","
                 "\"data\":{}}]}",
                 bad[i]);
        refuse(f, body, "\"expected_version\"");
    }
}

static void each_wrong_field_is_named_with_its_place(void **state)
{
    static const struct {
        const char *member;
        const char *field;
    } bad[] = {
        {"\"event_type\":1", "event_type"},
        {"\"event_type\":\"\"", "event_type"},
        {"\"event_type\":\"9a\"", "event_type"},
        {"\"event_type\":\"a b\"", "event_type"},
        {"\"event_type\":\"A\",\"data\":[]", "data"},
        {"\"event_type\":\"A\",\"data\":\"x\"", "data"},
        {"\"event_type\":\"A\",\"metadata\":[]", "metadata"},
        {"\"event_type\":\"A\",\"event_id\":\"x\"", "event_id"},
        {"\"event_type\":\"A\",\"event_id\":5", "event_id"},
        {"\"event_type\":\"A\",\"event_id\":"
         "\"00000000-0000-0000-0000-000000000000\"",
         "event_id"},
        {"\"event_type\":\"A\",\"event_version\":0", "event_version"},
        {"\"event_type\":\"A\",\"event_version\":1.5", "event_version"},
        {"\"event_type\":\"A\",\"event_version\":4294967297", "event_version"},
        {"\"event_type\":\"A\",\"occurred_at\":\"yesterday\"", "occurred_at"},
        {"\"event_type\":\"A\",\"occurred_at\":5", "occurred_at"},
        {"\"event_type\":\"A\",\"tenant_id\":\"\"", "tenant_id"},
        {"\"event_type\":\"A\",\"actor_id\":\"a\\u0001\"", "actor_id"},
        {"\"event_type\":\"A\",\"correlation_id\":[]", "correlation_id"},
        {"\"event_type\":\"A\",\"aggregate_type\":\"Cart\"", "aggregate_type"},
        {"\"event_type\":\"A\",\"aggregate_id\":\"o-2\"", "aggregate_id"},
        {"\"event_type\":\"A\",\"position\":5", "position"},
        {"\"event_type\":\"A\",\"eventType\":\"A\"", "eventType"},
        {"\"event_typ\\u0065\":1", "event_type"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        char body[512], field[64];

        snprintf(field, sizeof(field), "\"events[1].%s\"", bad[i].field);
        snprintf(body, sizeof(body),
                 "{\"events\":[{\"event_type\":\"A\",\"data\":{}},{%s%s}]}",
                 bad[i].member,
                 strstr(bad[i].member, "\"data\"") ? "" : ",\"data\":{}");
        refuse(f, body, field);
    }
}

static void all_faults_of_a_body_are_told_at_once(void **state)
{
    struct fixture *f = *state;

    refuse(f,
           "{\"expect\":1,\"events\":[{\"data\":{}},{\"event_type\":\"A\"},3]}",
           "\"expect\"");
    assert_non_null(strstr(f->err.extra, "events[0].event_type"));
    assert_non_null(strstr(f->err.extra, "events[1].data"));
    assert_non_null(strstr(f->err.extra, "events[2]"));
}

static void a_request_has_1_to_1000_events(void **state)
{
    struct fixture *f = *state;
    struct buf body = {0};

    refuse(f, "{}", "\"events\"");
    refuse(f, "{\"events\":[]}", "\"events\"");
    refuse(f, "{\"events\":{}}", "\"events\"");
    refuse(f, "{\"events\":null}", "\"events\"");
    for (int count = 1000; count <= 1001; count++) {
        buf_clear(&body);
        buf_text(&body, "{\"events\":[");
        for (int i = 0; i < count; i++)
            buf_printf(&body, "%s{\"event_type\":\"A\",\"data\":{}}",
                       i > 0 ? "," : "");
        buf_text(&body, "]}");
        if (count == 1000)
            assert_true(read(f, body.ptr));
        else
            refuse(f, body.ptr, "\"events\"");
    }
    buf_done(&body);
}

static void an_id_given_twice_is_a_duplicate_event(void **state)
{
    struct fixture *f = *state;

    assert_false(read(
        f, "{\"events\":["
           "{\"event_type\":\"A\",\"data\":{},\"event_id\":\"" ID_A "\"},"
           "{\"event_type\":\"A\",\"data\":{}},"
           "{\"event_type\":\"B\",\"data\":{},\"event_id\":\"" ID_A "\"}]}"));
    assert_int_equal(f->err.code, ERR_DUPLICATE_EVENT);
    assert_true(read(
        f, "{\"events\":["
           "{\"event_type\":\"A\",\"data\":{},\"event_id\":\"" ID_A "\"},"
           "{\"event_type\":\"B\",\"data\":{},\"event_id\":\"" ID_B "\"}]}"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_smallest_event_gets_every_default),
        TEST(every_field_comes_through_byte_for_byte),
        TEST(null_is_as_good_as_absent_where_a_field_is_optional),
        TEST(expected_versions_are_numbers_from_0_or_three_words),
        TEST(each_wrong_field_is_named_with_its_place),
        TEST(all_faults_of_a_body_are_told_at_once),
        TEST(a_request_has_1_to_1000_events),
        TEST(an_id_given_twice_is_a_duplicate_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
