#include "api/access.h"
#include "api/request.h"
#include "api/stamp.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Three tokens, and a request that is asked with one of them. */
struct fixture {
    struct access_token tokens[3];
    struct access access;
    struct arena arena;
    struct api_request request;
    struct err err;
};

#define READER "reader-0123456789"
#define WRITER "writer-0123456789"
#define ADMIN  "admin-0123456789x"
#define TRACE  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void add(struct fixture *f, size_t at, const char *name,
                const char *token, enum api_role role)
{
    f->tokens[at] = (struct access_token){
        .name = name, .role = role, .tenant = "", .actor = ""};
    hash_sha256(str_of(token), f->tokens[at].digest);
}

static int start(void **state)
{
    static struct fixture f;

    f = (struct fixture){.access = {.tokens = f.tokens, .count = 3}};
    add(&f, 0, "dashboard", READER, API_READER);
    add(&f, 1, "shop", WRITER, API_WRITER);
    add(&f, 2, "operator", ADMIN, API_ADMIN);
    f.tokens[1].tenant = "acme";
    f.tokens[1].actor = "shop";
    f.request.access = &f.access;
    f.request.arena = &f.arena;
    *state = &f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;

    arena_done(&f->arena);
    return 0;
}

/* What the door says to `header` where `role` is needed. */
static enum err_code ask(struct fixture *f, const char *header,
                         enum api_role role)
{
    f->err = (struct err){0};
    f->request.authorization = str_of(header);
    if (access_check(&f->request, role, &f->err))
        return ERR_NONE;
    return f->err.code;
}

static void a_role_includes_those_below_it(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, "Bearer " READER, API_READER), ERR_NONE);
    assert_int_equal(ask(f, "Bearer " READER, API_WRITER), ERR_FORBIDDEN);
    assert_string_equal(f->err.text, "token 'dashboard' is a reader; this "
                                     "needs the role writer");
    assert_int_equal(ask(f, "Bearer " WRITER, API_READER), ERR_NONE);
    assert_int_equal(ask(f, "Bearer " WRITER, API_WRITER), ERR_NONE);
    assert_int_equal(ask(f, "Bearer " WRITER, API_ADMIN), ERR_FORBIDDEN);
    assert_int_equal(ask(f, "Bearer " ADMIN, API_READER), ERR_NONE);
    assert_int_equal(ask(f, "Bearer " ADMIN, API_ADMIN), ERR_NONE);
    assert_true(str_eq(f->request.caller.token, STR("operator")));
}

static void what_is_no_token_of_ours_is_unauthorized(void **state)
{
    static const char *const wrong[] = {
        NULL,
        "",
        "Bearer",
        "Bearer ",
        "Bearer unknown-0123456789",
        "Bearer " READER " ",
        "Bearer reader-012345678",
        "Basic " READER,
        READER,
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(ask(f, wrong[i], API_READER), ERR_UNAUTHORIZED);
        assert_null(strstr(f->err.text, "0123456789"));
    }
    assert_int_equal(ask(f, "bEARER   " READER, API_READER), ERR_NONE);
}

static void public_routes_need_no_token(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, NULL, API_ANYONE), ERR_NONE);
    assert_int_equal(ask(f, "nonsense", API_ANYONE), ERR_NONE);
}

static void without_tokens_everybody_is_an_admin_without_a_name(void **state)
{
    struct fixture *f = *state;

    f->request.access = NULL;
    assert_int_equal(ask(f, NULL, API_ADMIN), ERR_NONE);
    assert_int_equal(f->request.caller.role, API_ADMIN);
    assert_int_equal(f->request.caller.token.len, 0);
    assert_int_equal(f->request.caller.tenant.len, 0);
}

static void headers_may_not_differ_from_what_a_token_is_bound_to(void **state)
{
    struct fixture *f = *state;

    f->request.tenant_id = STR("acme");
    assert_int_equal(ask(f, "Bearer " WRITER, API_WRITER), ERR_NONE);
    f->request.tenant_id = STR("other");
    assert_int_equal(ask(f, "Bearer " WRITER, API_WRITER), ERR_FORBIDDEN);
    assert_non_null(strstr(f->err.text, "X-Tenant-Id"));
    assert_int_equal(ask(f, "Bearer " ADMIN, API_WRITER), ERR_NONE);
    f->request.tenant_id = STR_NONE;
    f->request.actor_id = STR("somebody");
    assert_int_equal(ask(f, "Bearer " WRITER, API_WRITER), ERR_FORBIDDEN);
    assert_non_null(strstr(f->err.text, "X-Actor-Id"));
}

static void a_token_is_long_and_visible(void **state)
{
    char text[ACCESS_TOKEN_MAX + 1];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_false(access_is_token(str_n(text, ACCESS_TOKEN_MIN - 1)));
    assert_true(access_is_token(str_n(text, ACCESS_TOKEN_MIN)));
    assert_true(access_is_token(str_n(text, ACCESS_TOKEN_MAX)));
    assert_false(access_is_token(str_n(text, ACCESS_TOKEN_MAX + 1)));
    assert_false(access_is_token(STR("with a space in it")));
    assert_false(access_is_token(STR("0123456789\x7f\x7f\x7f\x7f\x7f\x7f")));
    assert_false(access_is_token(STR("\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                                     "\xc3\xa4\xc3\xa4\xc3\xa4")));
}

/* ---- stamps ---- */

static const struct event *stamped(struct fixture *f, struct event *event)
{
    struct append_request append = {.events = event, .count = 1};

    assert_int_equal(ask(f, "Bearer " ADMIN, API_WRITER), ERR_NONE);
    assert_true(stamp_append(&f->request, &append, &f->err));
    return append.events;
}

static void assert_text(struct str text, const char *expected)
{
    assert_true(str_eq(text, str_of(expected)));
}

static void headers_are_for_events_that_do_not_say_themselves(void **state)
{
    struct fixture *f = *state;
    struct event quiet = {.metadata = STR("{}")};
    struct event loud = {.metadata = STR("{\"traceparent\":\"mine\"}"),
                         .tenant_id = STR("t"),
                         .actor_id = STR("a"),
                         .correlation_id = STR("c"),
                         .causation_id = STR("d")};
    const struct event *got;

    f->request.tenant_id = STR("T");
    f->request.actor_id = STR("A");
    f->request.correlation_id = STR("C");
    f->request.causation_id = STR("D");
    f->request.traceparent = STR(TRACE);
    got = stamped(f, &quiet);
    assert_text(got->tenant_id, "T");
    assert_text(got->actor_id, "A");
    assert_text(got->correlation_id, "C");
    assert_text(got->causation_id, "D");
    assert_text(got->metadata, "{\"traceparent\":\"" TRACE "\"}");
    got = stamped(f, &loud);
    assert_text(got->tenant_id, "t");
    assert_text(got->actor_id, "a");
    assert_text(got->correlation_id, "c");
    assert_text(got->causation_id, "d");
    assert_text(got->metadata, "{\"traceparent\":\"mine\"}");
}

static void a_trace_goes_behind_what_the_producer_wrote(void **state)
{
    struct fixture *f = *state;
    struct event event = {.metadata = STR("{\"a\":1.50}")};

    f->request.traceparent = STR(TRACE);
    assert_text(stamped(f, &event)->metadata,
                "{\"a\":1.50,\"traceparent\":\"" TRACE "\"}");
    f->request.traceparent = STR("00-zz");
    assert_text(stamped(f, &event)->metadata, "{\"a\":1.50}");
}

static void events_without_headers_are_left_where_they_are(void **state)
{
    struct fixture *f = *state;
    struct event event = {.metadata = STR("{}")};

    assert_ptr_equal(stamped(f, &event), &event);
}

static void a_bound_token_writes_nothing_of_others(void **state)
{
    struct fixture *f = *state;
    struct event events[] = {
        {.metadata = STR("{}"), .tenant_id = STR("acme")},
        {.metadata = STR("{}")},
        {.metadata = STR("{}"), .actor_id = STR("somebody")},
    };
    struct append_request append = {.events = events, .count = 2};

    assert_int_equal(ask(f, "Bearer " WRITER, API_WRITER), ERR_NONE);
    assert_true(stamp_append(&f->request, &append, &f->err));
    assert_text(append.events[1].tenant_id, "acme");
    assert_text(append.events[1].actor_id, "shop");
    append = (struct append_request){.events = events, .count = 3};
    assert_false(stamp_append(&f->request, &append, &f->err));
    assert_int_equal(f->err.code, ERR_FORBIDDEN);
    assert_non_null(strstr(f->err.text, "events[2].actor_id"));
}

static void commands_are_stamped_alike(void **state)
{
    struct fixture *f = *state;
    struct command_request command = {0};

    f->request.causation_id = STR("D");
    f->request.traceparent = STR(TRACE);
    assert_int_equal(ask(f, "Bearer " WRITER, API_WRITER), ERR_NONE);
    stamp_command(&f->request, &command);
    assert_text(command.tenant_id, "acme");
    assert_text(command.actor_id, "shop");
    assert_text(command.causation_id, "D");
    assert_true(str_is_none(command.correlation_id));
    assert_text(command.metadata, "{\"traceparent\":\"" TRACE "\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_role_includes_those_below_it),
        TEST(what_is_no_token_of_ours_is_unauthorized),
        TEST(public_routes_need_no_token),
        TEST(without_tokens_everybody_is_an_admin_without_a_name),
        TEST(headers_may_not_differ_from_what_a_token_is_bound_to),
        TEST(a_token_is_long_and_visible),
        TEST(headers_are_for_events_that_do_not_say_themselves),
        TEST(a_trace_goes_behind_what_the_producer_wrote),
        TEST(events_without_headers_are_left_where_they_are),
        TEST(a_bound_token_writes_nothing_of_others),
        TEST(commands_are_stamped_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
