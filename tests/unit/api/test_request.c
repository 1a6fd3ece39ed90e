#include "api/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct arena arena;
    struct api_request request;
    struct err err;
};

static bool split(struct fixture *f, struct str target)
{
    arena_reset(&f->arena);
    f->request = (struct api_request){.target = target, .arena = &f->arena};
    return request_split(&f->request, &f->err);
}

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

static void assert_str(struct str got, const char *expected)
{
    if (!str_eq(got, str_of(expected)))
        fail_msg("got '%.*s', expected '%s'", STR_ARG(got), expected);
}

static void a_path_is_split_before_it_is_decoded(void **state)
{
    struct fixture *f = *state;

    assert_true(split(f, STR("/api/streams/Order/a%2Fb%20c")));
    assert_int_equal(f->request.segment_count, 4);
    assert_str(f->request.segments[3], "a/b c");
}

static void a_question_mark_can_be_part_of_a_segment(void **state)
{
    struct fixture *f = *state;

    assert_true(split(f, STR("/x/%3Fa=1?b=%26%3D")));
    assert_str(f->request.segments[1], "?a=1");
    assert_int_equal(f->request.query_count, 1);
    assert_str(f->request.query[0].name, "b");
    assert_str(f->request.query[0].value, "&=");
}

static void dots_and_empty_segments_stay_what_they_are(void **state)
{
    struct fixture *f = *state;

    assert_true(split(f, STR("/a/../%2e%2E//b/")));
    assert_int_equal(f->request.segment_count, 6);
    assert_str(f->request.segments[1], "..");
    assert_str(f->request.segments[2], "..");
    assert_str(f->request.segments[3], "");
    assert_str(f->request.segments[5], "");
}

static void more_segments_than_any_route_has_are_counted(void **state)
{
    struct fixture *f = *state;

    assert_true(split(f, STR("/1/2/3/4/5/6/7/8/9/%zz")));
    assert_int_equal(f->request.segment_count, 10);
}

static void a_plus_is_a_space_in_a_query_and_itself_in_a_path(void **state)
{
    struct fixture *f = *state;

    assert_true(split(f, STR("/a+b?c+d=e+f%2B")));
    assert_str(f->request.segments[0], "a+b");
    assert_str(f->request.query[0].name, "c d");
    assert_str(f->request.query[0].value, "e f+");
}

static void a_parameter_without_equals_has_no_value(void **state)
{
    struct fixture *f = *state;

    assert_true(split(f, STR("/?a&b=&&c=1")));
    assert_int_equal(f->request.query_count, 3);
    assert_true(str_is_none(f->request.query[0].value));
    assert_false(str_is_none(f->request.query[1].value));
    assert_int_equal(f->request.query[1].value.len, 0);
}

/* What no path may contain, put at the beginning, the end and the middle of a
 * segment, raw and between others. */
static const struct str hostile[] = {
    STR("%"),
    STR("%%"),
    STR("%0"),
    STR("%g0"),
    STR("%0g"),
    STR("%4g"),
    STR("%zz"),
    STR("%u0041"),
    STR("%-1"),
    STR("%+1"),
    STR("% 1"),
    STR("%0x"),
    STR("%\0aa"),
    STR("%00"),
    STR("%01"),
    STR("%09"),
    STR("%0a"),
    STR("%0d%0a"),
    STR("%1f"),
    STR("%7f"),
    STR("\x01"),
    STR("\t"),
    STR("\r\n"),
    STR("\x7f"),
    STR("\0"),
    STR("%80"),
    STR("%bf"),
    STR("%c0%80"),
    STR("%c0%ae"),
    STR("%c1%bf"),
    STR("%c3"),
    STR("%c3%28"),
    STR("%e0%80%af"),
    STR("%e2%82"),
    STR("%ed%a0%80"),
    STR("%ed%bf%bf"),
    STR("%f0%80%80%af"),
    STR("%f4%90%80%80"),
    STR("%f5%80%80%80"),
    STR("%fe"),
    STR("%ff"),
    STR("\x80"),
    STR("\xc0\xaf"),
    STR("\xff\xfe"),
    STR("%c3\x28"),
};

static void bad_encoding_in_a_path_is_invalid_id(void **state)
{
    static const char *const places[][2] = {
        {"/", ""}, {"/a", ""}, {"/", "b"}, {"/api/x", "y/z"}};
    struct fixture *f = *state;
    size_t tried = 0;

    for (size_t i = 0; i < COUNT(hostile); i++) {
        for (size_t j = 0; j < COUNT(places); j++) {
            struct buf target = {0};

            buf_text(&target, places[j][0]);
            buf_str(&target, hostile[i]);
            buf_text(&target, places[j][1]);
            if (split(f, buf_as_str(&target)))
                fail_msg("taken: %s", target.ptr);
            assert_int_equal(f->err.code, ERR_INVALID_ID);
            buf_done(&target);
            tried++;
        }
    }
    assert_true(tried > 150);
}

static void bad_encoding_in_a_query_is_bad_request(void **state)
{
    static const char *const places[] = {"/?", "/?a=", "/?a=1&b=x"};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(hostile); i++) {
        for (size_t j = 0; j < COUNT(places); j++) {
            struct buf target = {0};

            buf_text(&target, places[j]);
            buf_str(&target, hostile[i]);
            if (split(f, buf_as_str(&target)))
                fail_msg("taken: %s", target.ptr);
            assert_int_equal(f->err.code, ERR_BAD_REQUEST);
            buf_done(&target);
        }
    }
}

/* Under AddressSanitizer this also proves that no byte behind the target is
 * read, wherever it is cut. */
static void every_beginning_of_a_target_is_read_within_its_bounds(void **state)
{
    static const char target[] = "/api/str%C3%A9ams/%4F/%7Ba%7D?x=%41&y=a+b&z";
    struct fixture *f = *state;

    for (size_t len = 0; len < sizeof(target); len++) {
        char *copy = test_malloc(len + 1);

        memcpy(copy, target, len);
        (void)split(f, str_n(copy, len));
        test_free(copy);
    }
}

static void a_target_that_is_no_path_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_false(split(f, STR("")));
    assert_false(split(f, STR("*")));
    assert_false(split(f, STR("?a=1")));
    assert_false(split(f, STR("api/events")));
    assert_int_equal(f->err.code, ERR_BAD_REQUEST);
}

static void a_parameter_given_twice_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_false(split(f, STR("/?limit=1&after=2&%6cimit=3")));
    assert_int_equal(f->err.code, ERR_BAD_REQUEST);
    assert_non_null(strstr(f->err.text, "limit"));
}

static void too_many_parameters_are_refused(void **state)
{
    struct fixture *f = *state;
    struct buf target = {0};

    buf_text(&target, "/?");
    for (int i = 0; i <= API_MAX_QUERY; i++)
        buf_printf(&target, "p%d=%d&", i, i);
    assert_false(split(f, buf_as_str(&target)));
    assert_int_equal(f->err.code, ERR_BAD_REQUEST);
    buf_done(&target);
}

static void an_unknown_parameter_is_named_beside_those_allowed(void **state)
{
    static const char *const params[] = {"after", "limit"};
    struct fixture *f = *state;

    assert_true(split(f, STR("/?after=1&limt=2")));
    assert_false(request_allow(&f->request, params, COUNT(params), &f->err));
    assert_int_equal(f->err.code, ERR_BAD_REQUEST);
    assert_non_null(strstr(f->err.text, "'limt'"));
    assert_non_null(strstr(f->err.text, "after, limit"));
    assert_non_null(strstr(f->err.extra, "\"field\":\"limt\""));
}

static void limits_are_from_1_to_1000(void **state)
{
    static const char *const bad[] = {
        "0",    "1001", "-1", "1.5", "abc", "", "99999999999999999999",
        "0x10", "+5"};
    struct fixture *f = *state;
    uint32_t limit;

    assert_true(split(f, STR("/")));
    assert_true(request_limit(&f->request, &limit, &f->err));
    assert_int_equal(limit, LIMIT_DEFAULT);
    assert_true(split(f, STR("/?limit=1000")));
    assert_true(request_limit(&f->request, &limit, &f->err));
    assert_int_equal(limit, 1000);
    for (size_t i = 0; i < COUNT(bad); i++) {
        char target[64];

        snprintf(target, sizeof(target), "/?limit=%s", bad[i]);
        assert_true(split(f, str_of(target)));
        assert_false(request_limit(&f->request, &limit, &f->err));
        assert_int_equal(f->err.code, ERR_BAD_REQUEST);
    }
}

static void flags_are_true_or_false(void **state)
{
    struct fixture *f = *state;
    bool flag;

    assert_true(split(f, STR("/?backward=true&b=1")));
    assert_true(request_flag(&f->request, "backward", &flag, &f->err));
    assert_true(flag);
    assert_true(request_flag(&f->request, "absent", &flag, &f->err));
    assert_false(flag);
    assert_false(request_flag(&f->request, "b", &flag, &f->err));
}

static void uuid_ids_are_lower_cased_and_others_kept(void **state)
{
    struct fixture *f = *state;
    struct str type, id;

    assert_true(
        split(f, STR("/a/s/Order/550E8400-E29B-41D4-A716-446655440000")));
    assert_true(request_stream(&f->request, &type, &id, &f->err));
    assert_str(id, "550e8400-e29b-41d4-a716-446655440000");
    assert_true(split(f, STR("/a/s/Order/Kunde-%C3%84")));
    assert_true(request_stream(&f->request, &type, &id, &f->err));
    assert_str(id, "Kunde-\xc3\x84");
    assert_true(split(f, STR("/a/s/9bad/x")));
    assert_false(request_stream(&f->request, &type, &id, &f->err));
    assert_int_equal(f->err.code, ERR_INVALID_ID);
    assert_true(split(f, STR("/a/s/Order/")));
    assert_false(request_stream(&f->request, &type, &id, &f->err));
    assert_int_equal(f->err.code, ERR_INVALID_ID);
}

static void if_match_is_a_version_in_quotes(void **state)
{
    static const char *const bad[] = {
        "3",   "\"\"", "\"a\"",  "W/\"3\"", "*",
        "\"3", "",     "\"-1\"", "\"3\" ",  "\"99999999999999999999\""};
    struct fixture *f = *state;
    uint64_t version = 0;
    bool given;

    f->request = (struct api_request){.if_match = STR("\"42\"")};
    assert_true(request_if_match(&f->request, &given, &version, &f->err));
    assert_true(given);
    assert_int_equal(version, 42);
    f->request.if_match = STR_NONE;
    assert_true(request_if_match(&f->request, &given, &version, &f->err));
    assert_false(given);
    for (size_t i = 0; i < COUNT(bad); i++) {
        f->request.if_match = str_of(bad[i]);
        assert_false(request_if_match(&f->request, &given, &version, &f->err));
    }
}

static void only_well_formed_traceparents_are_kept(void **state)
{
    (void)state;
    assert_true(request_is_traceparent(
        STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")));
    assert_false(request_is_traceparent(
        STR("00-00000000000000000000000000000000-00f067aa0ba902b7-01")));
    assert_false(request_is_traceparent(
        STR("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01")));
    assert_false(request_is_traceparent(
        STR("00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
    assert_false(request_is_traceparent(
        STR("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
    assert_false(request_is_traceparent(
        STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\"")));
    assert_false(request_is_traceparent(STR("")));
}

static bool object_of(struct fixture *f, struct str type, struct str body,
                      struct json *out)
{
    f->request = (struct api_request){
        .content_type = type, .body = body, .arena = &f->arena};
    return request_object(&f->request, out, &f->err);
}

static void a_body_is_one_compact_object_of_the_right_type(void **state)
{
    struct fixture *f = *state;
    struct json body;

    assert_true(object_of(f, STR("Application/JSON ; charset=utf-8"),
                          STR(" { \"a\" : 1.50e+00 ,\"b\":[ ] } \n"), &body));
    assert_str(body.raw, "{\"a\":1.50e+00,\"b\":[]}");
    assert_false(object_of(f, STR("text/plain"), STR("{}"), &body));
    assert_int_equal(f->err.code, ERR_MEDIA_TYPE);
    assert_false(object_of(f, STR_NONE, STR("{}"), &body));
    assert_int_equal(f->err.code, ERR_MEDIA_TYPE);
    assert_false(object_of(f, STR("application/json2"), STR("{}"), &body));
    assert_int_equal(f->err.code, ERR_MEDIA_TYPE);
    assert_false(object_of(f, STR("application/json"), STR("[]"), &body));
    assert_int_equal(f->err.code, ERR_INVALID_INPUT);
    assert_false(object_of(f, STR("application/json"), STR("{\"a\":1"), &body));
    assert_int_equal(f->err.code, ERR_INVALID_JSON);
    assert_false(object_of(f, STR_NONE, STR(""), &body));
    assert_int_equal(f->err.code, ERR_INVALID_JSON);
    assert_false(object_of(f, STR("application/json"),
                           STR("{\"a\":1,\"\\u0061\":2}"), &body));
    assert_int_equal(f->err.code, ERR_INVALID_JSON);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_path_is_split_before_it_is_decoded),
        TEST(a_question_mark_can_be_part_of_a_segment),
        TEST(dots_and_empty_segments_stay_what_they_are),
        TEST(more_segments_than_any_route_has_are_counted),
        TEST(a_plus_is_a_space_in_a_query_and_itself_in_a_path),
        TEST(a_parameter_without_equals_has_no_value),
        TEST(bad_encoding_in_a_path_is_invalid_id),
        TEST(bad_encoding_in_a_query_is_bad_request),
        TEST(every_beginning_of_a_target_is_read_within_its_bounds),
        TEST(a_target_that_is_no_path_is_refused),
        TEST(a_parameter_given_twice_is_refused),
        TEST(too_many_parameters_are_refused),
        TEST(an_unknown_parameter_is_named_beside_those_allowed),
        TEST(limits_are_from_1_to_1000),
        TEST(flags_are_true_or_false),
        TEST(uuid_ids_are_lower_cased_and_others_kept),
        TEST(if_match_is_a_version_in_quotes),
        TEST(only_well_formed_traceparents_are_kept),
        TEST(a_body_is_one_compact_object_of_the_right_type),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
