#include "cli/door.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* What a door makes of servers that are no engines. */

struct stranger {
    pthread_t thread;
    int listening;
    const char *body;
    char url[64];
};

/* Answers one request with 200 and its body. */
static void *answer_once(void *arg)
{
    const struct stranger *stranger = arg;
    int fd = accept(stranger->listening, NULL, NULL);
    char text[4096];

    if (read(fd, text, sizeof(text)) > 0) {
        int len = snprintf(text, sizeof(text),
                           "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n"
                           "Connection: close\r\n\r\n%s",
                           strlen(stranger->body), stranger->body);

        assert_int_equal(write(fd, text, (size_t)len), len);
    }
    close(fd);
    return NULL;
}

static void stranger_start(struct stranger *stranger, const char *body)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    stranger->body = body;
    stranger->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(
        bind(stranger->listening, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(stranger->listening, 1), 0);
    getsockname(stranger->listening, (struct sockaddr *)&at, &size);
    snprintf(stranger->url, sizeof(stranger->url), "http://127.0.0.1:%u",
             ntohs(at.sin_port));
    pthread_create(&stranger->thread, NULL, answer_once, stranger);
}

static bool ask_stranger(const char *body, struct err *err)
{
    static const struct cli_option url = {"url", "URL", ""};
    struct stranger stranger;
    struct cli_args args = {.given_count = 1};
    struct buf answer = {0};
    struct door *door;
    bool ok;

    stranger_start(&stranger, body);
    args.given[0].option = &url;
    args.given[0].value = stranger.url;
    door = door_open(&args, err);
    assert_non_null(door);
    ok = door_call(door, "GET", "/api/events", STR_NONE, &answer, err);
    door_close(door);
    buf_done(&answer);
    pthread_join(stranger.thread, NULL);
    close(stranger.listening);
    return ok;
}

static void an_answer_that_is_no_object_is_no_success(void **state UNUSED)
{
    static const char *const bodies[] = {"", "<html>", "\"x\"", "[]", "{} {}"};
    struct err err;

    for (size_t i = 0; i < COUNT(bodies); i++) {
        err = (struct err){0};
        assert_false(ask_stranger(bodies[i], &err));
        assert_int_equal(err.code, ERR_STORE);
        assert_non_null(strstr(err.text, "is the address right?"));
    }
    assert_true(ask_stranger("{\"events\":[]}", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_that_is_no_object_is_no_success),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
