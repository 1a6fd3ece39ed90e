#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"
#include "unit/http/client.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/*
 * A real server before an engine that is not open: probes, metrics and
 * shutdown answer as ever, all else is 503 `store_unavailable` once its head
 * and body were accepted, which is what these tests are about.
 */
struct fixture {
    struct engine *engine;
    struct http_server *server;
    struct client client;
    struct answer answer;
    int shutdowns;
};

static const char *const append_head =
    "POST /api/streams/Order/1 HTTP/1.1\r\nHost: x\r\n"
    "Content-Type: application/json\r\n";

static void note_shutdown(void *arg)
{
    (*(int *)arg)++;
}

static int start_with(void **state, uint32_t threads)
{
    static struct fixture fixture;
    static const struct engine_options options = {.stall_timeout_ms = 60000};
    struct http_options http = {.listen = "127.0.0.1:0",
                                .threads = threads,
                                .max_body_bytes = 1024 * 1024};
    struct err err;

    fixture = (struct fixture){.engine = engine_new(&options)};
    fixture.engine->on_shutdown_asked = note_shutdown;
    fixture.engine->on_shutdown_arg = &fixture.shutdowns;
    fixture.server = http_start(fixture.engine, &http, &err);
    if (fixture.server == NULL)
        return -1;
    fixture.client = client_open(http_address(fixture.server));
    *state = &fixture;
    return 0;
}

static int start(void **state)
{
    return start_with(state, 24);
}

static int start_narrow(void **state)
{
    return start_with(state, 17);
}

static int stop(void **state)
{
    struct fixture *f = *state;

    client_close(&f->client);
    buf_done(&f->answer.body);
    http_stop(f->server);
    engine_close(f->engine);
    return 0;
}

static int ask(struct fixture *f, const char *text)
{
    client_say(&f->client, text);
    client_answer(&f->client, &f->answer, true);
    return f->answer.status;
}

static void again(struct fixture *f)
{
    client_close(&f->client);
    f->client = client_open(http_address(f->server));
}

static void assert_code(const struct fixture *f, const char *code)
{
    char member[64];

    snprintf(member, sizeof(member), "\"code\":\"%s\"", code);
    if (f->answer.body.ptr == NULL ||
        strstr(f->answer.body.ptr, member) == NULL)
        fail_msg("no %s in %s%s", member, f->answer.head, f->answer.body.ptr);
}

static void assert_header(const struct fixture *f, const char *name,
                          const char *value)
{
    const char *got = answer_header(&f->answer, name);

    if (got == NULL || strcmp(got, value) != 0)
        fail_msg("%s is %s, not %s", name, got != NULL ? got : "absent", value);
}

/* The connection goes on: the next request on it is understood. */
static void assert_goes_on(struct fixture *f)
{
    assert_null(answer_header(&f->answer, "Connection"));
    assert_int_equal(ask(f, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
}

/* A client has its answer before its request has left. */
static void assert_nobody_under_way(struct fixture *f)
{
    for (int i = 0; i < 100 && http_under_way(f->server) > 0; i++)
        usleep(20000);
    assert_int_equal(http_under_way(f->server), 0);
}

static void assert_ends(struct fixture *f)
{
    assert_header(f, "Connection", "close");
    assert_true(client_is_closed(&f->client));
}

/* ---- answers ---- */

static void probes_answer_before_the_engine_is_open(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_int_equal(ask(f, "GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"),
                     503);
    assert_int_equal(ask(f, "GET /health/live?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"),
                     200);
    assert_int_equal(ask(f, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_non_null(strstr(f->answer.body.ptr, "# EOF"));
}

static void every_answer_says_what_it_is_and_is_not_stored(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    assert_header(f, "Content-Type", "application/problem+json");
    assert_header(f, "Cache-Control", "no-store");
    assert_non_null(answer_header(&f->answer, "Date"));
    assert_code(f, "not_found");
    assert_int_equal(ask(f, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_header(f, "Content-Type", "application/json");
    assert_header(f, "Cache-Control", "no-store");
}

static void head_has_the_length_and_no_body(void **state)
{
    struct fixture *f = *state;

    client_say(&f->client, "HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
    client_answer(&f->client, &f->answer, false);
    assert_int_equal(f->answer.status, 200);
    assert_true(strtol(answer_header(&f->answer, "Content-Length"), NULL, 10) >
                20);
    assert_goes_on(f);
}

static void errors_keep_the_connection(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, "GET /api/%zz HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
    assert_code(f, "invalid_id");
    assert_goes_on(f);
    assert_int_equal(ask(f, "DELETE /health HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
    assert_header(f, "Allow", "GET, HEAD");
    assert_goes_on(f);
    assert_int_equal(ask(f, "GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n"),
                     503);
    assert_code(f, "store_unavailable");
    assert_header(f, "Retry-After", "1");
    assert_goes_on(f);
}

static void methods_that_nobody_knows_are_405_as_well(void **state)
{
    static const char *const methods[] = {"FOO", "TRACE", "OPTIONS",
                                          "PUT", "get",   "PROPFIND"};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(methods); i++) {
        char request[128];

        snprintf(request, sizeof(request),
                 "%s /api/streams/A/1 HTTP/1.1\r\nHost: x\r\n\r\n", methods[i]);
        if (ask(f, request) != 405)
            fail_msg("%s: %d", methods[i], f->answer.status);
        assert_code(f, "method_not_allowed");
        assert_header(f, "Allow", "POST, GET, HEAD");
        again(f);
    }
}

static void escapes_reach_the_door_undecoded(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, "GET /api%2Fevents HTTP/1.1\r\nHost: x\r\n\r\n"),
                     404);
    assert_int_equal(ask(f, "GET /health/%6cive HTTP/1.1\r\nHost: x\r\n\r\n"),
                     200);
    assert_int_equal(ask(f, "GET /health/live%00 HTTP/1.1\r\nHost: x\r\n\r\n"),
                     400);
    assert_int_equal(ask(f, "GET /x/../health HTTP/1.1\r\nHost: x\r\n\r\n"),
                     404);
}

static void a_client_of_http_1_0_is_served_once(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, "GET /health HTTP/1.0\r\n\r\n"), 200);
    assert_ends(f);
    again(f);
    assert_int_equal(
        ask(f, "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 200);
    assert_header(f, "Connection", "keep-alive");
    assert_int_equal(
        ask(f, "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"), 200);
    assert_ends(f);
}

static void a_shutdown_is_asked_for_once(void **state)
{
    struct fixture *f = *state;
    const char *request = "POST /api/shutdown HTTP/1.1\r\nHost: x\r\n"
                          "Content-Length: 0\r\n\r\n";

    assert_int_equal(ask(f, request), 202);
    assert_int_equal(ask(f, request), 202);
    assert_int_equal(f->shutdowns, 1);
}

/* ---- what comes together, or in pieces ---- */

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    char body[] = "{\"a\":1}";

    client_say(&f->client, append_head);
    client_say(&f->client, "Content-Length: 7\r\n\r\n");
    client_say(&f->client, body);
    client_say(&f->client, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
                           "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 503);
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 200);
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 404);
}

static void chunks_are_a_body_and_what_follows_is_a_request(void **state)
{
    struct fixture *f = *state;

    client_say(&f->client, append_head);
    client_say(&f->client, "Transfer-Encoding: chunked\r\n\r\n"
                           "3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n"
                           "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 503);
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 200);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    const char *request = "POST /api/shutdown HTTP/1.1\r\nHost: x\r\n"
                          "Content-Length: 4\r\n\r\n{  }";

    for (const char *at = request; *at != '\0'; at++) {
        client_send(&f->client, at, 1);
        usleep(500);
    }
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 202);
    assert_goes_on(f);
}

static void half_a_request_harms_nobody(void **state)
{
    static const char *const halves[] = {
        "G",
        "GET /heal",
        "GET /health HTTP/1.1\r\nHos",
        "POST /api/streams/A/1 HTTP/1.1\r\nContent-Length: 50\r\n\r\n{\"a\"",
        "POST /api/streams/A/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9",
        "\r\n\r\n\r\n",
    };
    struct fixture *f = *state;

    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < COUNT(halves); i++) {
            client_say(&f->client, halves[i]);
            again(f);
        }
    }
    assert_int_equal(ask(f, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_nobody_under_way(f);
}

/* ---- what is refused ---- */

static void requests_with_two_meanings_end_the_connection(void **state)
{
    static const char *const framings[] = {
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Expect: a-miracle\r\nContent-Length: 5\r\n",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(framings); i++) {
        struct buf request = {0};

        buf_printf(&request, "%s%s\r\n0\r\n\r\n", append_head, framings[i]);
        if (ask(f, request.ptr) != 400)
            fail_msg("%s: %d", framings[i], f->answer.status);
        assert_code(f, "bad_request");
        assert_ends(f);
        again(f);
        buf_done(&request);
    }
    assert_nobody_under_way(f);
}

static void what_is_no_request_gets_a_problem_document(void **state)
{
    static const char *const garbage[] = {
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET /x\r\n\r\n",
        "GET /x HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /x\x01y HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls hello\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(garbage); i++) {
        client_send(&f->client, garbage[i],
                    strlen(garbage[i]) + (garbage[i][4] == 0 ? 12 : 0));
        client_answer(&f->client, &f->answer, true);
        if (f->answer.status != 400)
            fail_msg("%zu: %d", i, f->answer.status);
        assert_code(f, "bad_request");
        assert_header(f, "Content-Type", "application/problem+json");
        assert_ends(f);
        again(f);
    }
}

static void a_head_that_is_too_large_is_431(void **state)
{
    struct fixture *f = *state;
    struct buf request = {0};

    buf_text(&request, "GET /health HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 70; i++)
        buf_printf(&request, "X-%d: 1\r\n", i);
    buf_text(&request, "\r\n");
    assert_int_equal(ask(f, request.ptr), 431);
    assert_code(f, "headers_too_large");
    assert_ends(f);
    again(f);
    buf_clear(&request);
    buf_text(&request, "GET /health HTTP/1.1\r\nHost: x\r\nX: ");
    memset(buf_room(&request, 20000), 'a', 20000);
    request.len += 20000;
    buf_text(&request, "\r\n\r\n");
    assert_int_equal(ask(f, request.ptr), 431);
    assert_ends(f);
    buf_done(&request);
}

static void a_large_body_is_413_before_it_is_sent(void **state)
{
    struct fixture *f = *state;
    char request[256];

    snprintf(request, sizeof(request), "%sContent-Length: 1048577\r\n\r\n",
             append_head);
    assert_int_equal(ask(f, request), 413);
    assert_code(f, "payload_too_large");
    assert_header(f, "Connection", "close");
}

/* The answer must not be lost because the connection is reset on the bytes
 * that nobody read. */
static void a_client_that_sends_2_mib_still_gets_its_413(void **state)
{
    struct fixture *f = *state;
    size_t size = (size_t)2 << 20;
    char *body = test_malloc(size);
    char head[256];

    memset(body, ' ', size);
    for (int round = 0; round < 5; round++) {
        snprintf(head, sizeof(head), "%sContent-Length: %zu\r\n\r\n",
                 append_head, size);
        assert_true(client_say(&f->client, head));
        assert_true(client_send(&f->client, body, size));
        client_answer(&f->client, &f->answer, true);
        assert_int_equal(f->answer.status, 413);
        again(f);
    }
    test_free(body);
}

static void chunks_are_counted(void **state)
{
    struct fixture *f = *state;
    char chunk[65536 + 16];
    int len = snprintf(chunk, sizeof(chunk), "%x\r\n", 65536);

    memset(chunk + len, ' ', 65536);
    memcpy(chunk + len + 65536, "\r\n", 2);
    client_say(&f->client, append_head);
    client_say(&f->client, "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 32; i++)
        client_send(&f->client, chunk, (size_t)len + 65536 + 2);
    client_say(&f->client, "0\r\n\r\n");
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 413);
    assert_header(f, "Connection", "close");
}

static void a_body_of_1_mib_is_taken(void **state)
{
    struct fixture *f = *state;
    size_t size = (size_t)1 << 20;
    char *body = test_malloc(size);
    char head[256];

    memset(body, ' ', size);
    snprintf(head, sizeof(head), "%sContent-Length: %zu\r\n\r\n", append_head,
             size);
    client_say(&f->client, head);
    client_send(&f->client, body, size);
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 503); /* not open: but not refused */
    assert_goes_on(f);
    test_free(body);
}

static void broken_chunks_end_the_connection(void **state)
{
    static const char *const chunks[] = {"zz\r\nhello\r\n0\r\n\r\n",
                                         "-5\r\nhello\r\n0\r\n\r\n"};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(chunks); i++) {
        client_say(&f->client, append_head);
        client_say(&f->client, "Transfer-Encoding: chunked\r\n\r\n");
        client_say(&f->client, chunks[i]);
        client_answer(&f->client, &f->answer, true);
        assert_int_equal(f->answer.status, 400);
        assert_code(f, "bad_request");
        assert_header(f, "Connection", "close");
        again(f);
    }
}

static void who_waits_to_continue_is_told_to(void **state)
{
    struct fixture *f = *state;
    char head[256];

    snprintf(head, sizeof(head),
             "%sExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
             append_head);
    client_say(&f->client, head);
    client_answer(&f->client, &f->answer, false);
    assert_int_equal(f->answer.status, 100);
    client_say(&f->client, "{}");
    client_answer(&f->client, &f->answer, true);
    assert_int_equal(f->answer.status, 503);
    assert_goes_on(f);
    snprintf(head, sizeof(head),
             "%sExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n",
             append_head);
    assert_int_equal(ask(f, head), 413);
    assert_header(f, "Connection", "close");
}

/* ---- stopping and overload ---- */

static void while_stopping_only_probes_are_answered(void **state)
{
    struct fixture *f = *state;

    http_refuse(f->server);
    assert_int_equal(ask(f, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"),
                     200);
    assert_int_equal(ask(f, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_int_equal(ask(f, "GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n"),
                     503);
    assert_code(f, "shutting_down");
    assert_header(f, "Retry-After", "1");
    assert_ends(f);
    assert_nobody_under_way(f);
}

/* With 17 threads one request may block; one whose body is on its way does not
 * yet. */
static void a_slow_body_takes_nobody_elses_place(void **state)
{
    struct fixture *f = *state;
    struct client slow = client_open(http_address(f->server));

    client_say(&slow, append_head);
    client_say(&slow, "Content-Length: 10\r\n\r\n12345");
    for (int i = 0; i < 100 && http_under_way(f->server) == 0; i++)
        usleep(10000);
    assert_int_equal(ask(f, "GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n"),
                     503);
    assert_code(f, "store_unavailable");
    client_say(&slow, "67890");
    client_answer(&slow, &f->answer, true);
    assert_code(f, "store_unavailable");
    client_close(&slow);
}

#define TEST(name)   cmocka_unit_test_setup_teardown(name, start, stop)
#define NARROW(name) cmocka_unit_test_setup_teardown(name, start_narrow, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(probes_answer_before_the_engine_is_open),
        TEST(every_answer_says_what_it_is_and_is_not_stored),
        TEST(head_has_the_length_and_no_body),
        TEST(errors_keep_the_connection),
        TEST(methods_that_nobody_knows_are_405_as_well),
        TEST(escapes_reach_the_door_undecoded),
        TEST(a_client_of_http_1_0_is_served_once),
        TEST(a_shutdown_is_asked_for_once),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(chunks_are_a_body_and_what_follows_is_a_request),
        TEST(a_request_may_come_byte_by_byte),
        TEST(half_a_request_harms_nobody),
        TEST(requests_with_two_meanings_end_the_connection),
        TEST(what_is_no_request_gets_a_problem_document),
        TEST(a_head_that_is_too_large_is_431),
        TEST(a_large_body_is_413_before_it_is_sent),
        TEST(a_client_that_sends_2_mib_still_gets_its_413),
        TEST(chunks_are_counted),
        TEST(a_body_of_1_mib_is_taken),
        TEST(broken_chunks_end_the_connection),
        TEST(who_waits_to_continue_is_told_to),
        TEST(while_stopping_only_probes_are_answered),
        NARROW(a_slow_body_takes_nobody_elses_place),
    };

    log_setup(LOG_ERROR, LOG_FORMAT_TEXT, STDERR_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
