#define _GNU_SOURCE /* strcasestr */

#include "run/http_client.h"
#include "run/thread.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A server that gives every request on one connection the same answer and
 * keeps what it was sent. */
struct server {
    int listener;
    char url[64];
    const char *answer;
    int requests;
    int connections;
    struct buf received;
    struct thread *thread;
};

/* True once the head and as much body as it announces are there. */
static bool is_whole(const struct buf *got)
{
    const char *end = got->len > 0 ? strstr(got->ptr, "\r\n\r\n") : NULL;
    const char *length =
        end != NULL ? strcasestr(got->ptr, "content-length:") : NULL;
    size_t body = length != NULL && length < end
                      ? (size_t)strtoul(length + 15, NULL, 10)
                      : 0;

    return end != NULL && got->len >= (size_t)(end + 4 - got->ptr) + body;
}

static void serve_connection(struct server *server, int socket)
{
    char bytes[4096];
    ssize_t got;

    buf_clear(&server->received);
    while ((got = read(socket, bytes, sizeof(bytes))) > 0) {
        buf_add(&server->received, bytes, (size_t)got);
        if (!is_whole(&server->received))
            continue;
        server->requests++;
        (void)!write(socket, server->answer, strlen(server->answer));
        if (strstr(server->received.ptr, "/last") != NULL)
            break;
        buf_clear(&server->received);
    }
    close(socket);
}

static void serve(void *arg)
{
    struct server *server = arg;
    int socket = accept(server->listener, NULL, NULL);

    server->connections++;
    serve_connection(server, socket);
}

static void start_server(struct server *server, const char *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    struct err err = {0};

    *server = (struct server){.answer = answer};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(
        bind(server->listener, (struct sockaddr *)&address, sizeof(address)),
        0);
    assert_int_equal(listen(server->listener, 1), 0);
    getsockname(server->listener, (struct sockaddr *)&address, &len);
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u",
             ntohs(address.sin_port));
    server->thread = thread_start("server", serve, server, &err);
    assert_non_null(server->thread);
}

static void stop_server(struct server *server)
{
    thread_join(server->thread);
    close(server->listener);
    buf_done(&server->received);
}

static struct http_client *client_of(const char *url)
{
    struct err err = {0};
    struct http_client *client = http_client_new(url, &err);

    assert_non_null(client);
    return client;
}

static void the_status_and_the_body_come_back(void **state UNUSED)
{
    struct server server;
    struct buf answer = {0};
    struct err err = {0};
    int status = 0;

    start_server(&server, "HTTP/1.1 409 Conflict\r\n"
                          "Content-Length: 8\r\n\r\nconflict");
    char copied[96];
    snprintf(copied, sizeof(copied), "%s/", server.url);
    struct http_client *client = client_of(copied);
    assert_true(http_client_call(client, "POST", "/last?a=1", STR("{\"b\":2}"),
                                 &status, &answer, &err));
    http_client_free(client);
    thread_join(server.thread);
    server.thread = NULL;
    assert_int_equal(status, 409);
    assert_string_equal(answer.ptr, "conflict");
    assert_non_null(strstr(server.received.ptr, "POST /last?a=1 HTTP/1.1\r\n"));
    assert_non_null(
        strstr(server.received.ptr, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(server.received.ptr, "\r\n\r\n{\"b\":2}"));
    buf_done(&answer);
    stop_server(&server);
}

static void one_connection_serves_many_requests(void **state UNUSED)
{
    struct server server;
    struct buf answer = {0};
    struct err err = {0};
    int status = 0;

    start_server(&server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    struct http_client *client = client_of(server.url);
    assert_true(http_client_call(client, "GET", "/one", STR_NONE, &status,
                                 &answer, &err));
    assert_true(http_client_call(client, "POST", "/two", STR(""), &status,
                                 &answer, &err));
    assert_true(http_client_call(client, "GET", "/last", STR_NONE, &status,
                                 &answer, &err));
    assert_string_equal(answer.ptr, "okokok");
    http_client_free(client);
    stop_server(&server);
    assert_int_equal(server.requests, 3);
    assert_int_equal(server.connections, 1);
    buf_done(&answer);
}

static void a_proxy_of_the_environment_is_not_asked(void **state UNUSED)
{
    struct server server;
    struct buf answer = {0};
    struct err err = {0};
    int status = 0;

    setenv("http_proxy", "http://127.0.0.1:1", 1);
    start_server(&server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    struct http_client *client = client_of(server.url);
    assert_true(http_client_call(client, "GET", "/last", STR_NONE, &status,
                                 &answer, &err));
    unsetenv("http_proxy");
    http_client_free(client);
    stop_server(&server);
    buf_done(&answer);
}

static void nobody_there_is_an_error_that_names_the_address(void **state UNUSED)
{
    struct http_client *client = client_of("http://127.0.0.1:1");
    struct buf answer = {0};
    struct err err = {0};
    int status = 0;

    assert_false(
        http_client_call(client, "GET", "/", STR_NONE, &status, &answer, &err));
    assert_int_equal(err.code, ERR_STORE);
    assert_non_null(strstr(err.text, "http://127.0.0.1:1"));
    http_client_free(client);
    buf_done(&answer);
}

static void an_address_must_be_http_without_a_path(void **state UNUSED)
{
    static const char *const bad[] = {"",
                                      "127.0.0.1:8000",
                                      "https://host",
                                      "http://",
                                      "http://host:1/x",
                                      "http:///",
                                      "http://host:1//",
                                      "ftp://h"};

    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err err = {0};

        assert_null(http_client_new(bad[i], &err));
        assert_int_equal(err.code, ERR_USAGE);
    }
}

/* ---- answers that go on ---- */

struct taker {
    struct buf taken;
    size_t enough; /* bytes; 0: there is no such thing */
    bool stops;    /* once there was something */
};

static bool take(void *arg, struct str bytes)
{
    struct taker *taker = arg;

    buf_str(&taker->taken, bytes);
    return taker->enough == 0 || taker->taken.len < taker->enough;
}

static bool may_go_on(void *arg)
{
    const struct taker *taker = arg;

    return !taker->stops || taker->taken.len == 0;
}

/* The status, or 0 with an error. */
static int stream_from(struct server *server, const char *path,
                       struct taker *taker, struct buf *answer)
{
    struct http_stream stream = {take, may_go_on, taker, 30};
    struct http_client *client = client_of(server->url);
    struct err err = {0};
    int status = 0;

    if (!http_client_stream(client, path, &stream, &status, answer, &err))
        assert_int_equal(err.code, ERR_STORE);
    http_client_free(client);
    return status;
}

static void
an_answer_without_a_length_is_handed_out_to_its_end(void **state UNUSED)
{
    struct server server;
    struct taker taker = {0};
    struct buf answer = {0};

    start_server(&server, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                          "data: 1\n\ndata: 2\n\n");
    assert_int_equal(stream_from(&server, "/last", &taker, &answer), 200);
    assert_string_equal(taker.taken.ptr, "data: 1\n\ndata: 2\n\n");
    assert_int_equal(answer.len, 0);
    stop_server(&server);
    buf_done(&taker.taken);
}

static void a_refusal_is_kept_and_not_handed_out(void **state UNUSED)
{
    struct server server;
    struct taker taker = {0};
    struct buf answer = {0};

    start_server(&server, "HTTP/1.1 409 Conflict\r\n"
                          "Content-Length: 8\r\n\r\nconflict");
    assert_int_equal(stream_from(&server, "/last", &taker, &answer), 409);
    assert_string_equal(answer.ptr, "conflict");
    assert_int_equal(taker.taken.len, 0);
    stop_server(&server);
    buf_done(&answer);
}

/* The server does not end these answers. */
static void whoever_has_enough_ends_it(void **state UNUSED)
{
    struct server server;
    struct taker full = {.enough = 3}, stopped = {.stops = true};
    struct buf answer = {0};

    start_server(&server, "HTTP/1.1 200 OK\r\n\r\nsome");
    assert_int_equal(stream_from(&server, "/goes-on", &full, &answer), 200);
    stop_server(&server);
    start_server(&server, "HTTP/1.1 200 OK\r\n\r\nsome");
    assert_int_equal(stream_from(&server, "/goes-on", &stopped, &answer), 200);
    stop_server(&server);
    buf_done(&full.taken);
    buf_done(&stopped.taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_status_and_the_body_come_back),
        cmocka_unit_test(one_connection_serves_many_requests),
        cmocka_unit_test(a_proxy_of_the_environment_is_not_asked),
        cmocka_unit_test(nobody_there_is_an_error_that_names_the_address),
        cmocka_unit_test(an_address_must_be_http_without_a_path),
        cmocka_unit_test(an_answer_without_a_length_is_handed_out_to_its_end),
        cmocka_unit_test(a_refusal_is_kept_and_not_handed_out),
        cmocka_unit_test(whoever_has_enough_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
