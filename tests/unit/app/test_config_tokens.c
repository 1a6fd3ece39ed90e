#define _GNU_SOURCE /* mkstemps, clearenv */
#include "api/access.h"
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* A settings file, and what came of reading it. */
struct fixture {
    char path[64];
    struct config config;
    struct buf faults;
    struct err err;
};

#define SECRET "correct-horse-battery"

static int begin(void **state)
{
    static struct fixture fixture;
    int fd;

    fixture = (struct fixture){.path = "/tmp/test_tokens_XXXXXX.lua"};
    fd = mkstemps(fixture.path, 4);
    assert_true(fd >= 0);
    close(fd);
    clearenv();
    *state = &fixture;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    config_done(&f->config);
    buf_done(&f->faults);
    unlink(f->path);
    return 0;
}

/* Reads `{ http = { tokens = … } }`, or what stands beside it. */
static bool load(struct fixture *f, const char *http)
{
    FILE *file = fopen(f->path, "w");

    assert_non_null(file);
    fprintf(file, "return { http = { %s } }\n", http);
    fclose(file);
    config_done(&f->config);
    buf_clear(&f->faults);
    return config_load(&f->config, f->path, NULL, 0, &f->faults, &f->err);
}

static void assert_fault(struct fixture *f, const char *part)
{
    if (f->faults.ptr == NULL || strstr(f->faults.ptr, part) == NULL)
        fail_msg("no '%s' in: %s", part, f->faults.ptr);
}

static void tokens_are_kept_as_digests(void **state)
{
    struct fixture *f = *state;
    const struct access_token *token;
    uint8_t digest[SHA256_SIZE];

    setenv("SHOP_TOKEN", SECRET, 1);
    assert_true(load(f, "tokens = { shop = { token = env 'SHOP_TOKEN', role = "
                        "'writer', tenant = 'acme', actor = 'the shop' } }"));
    assert_int_equal(f->config.http_tokens->count, 1);
    token = &f->config.http_tokens->tokens[0];
    hash_sha256(STR(SECRET), digest);
    assert_memory_equal(token->digest, digest, SHA256_SIZE);
    assert_string_equal(token->name, "shop");
    assert_int_equal(token->role, API_WRITER);
    assert_string_equal(token->tenant, "acme");
    assert_string_equal(token->actor, "the shop");
}

static void a_token_may_come_from_a_secret_file(void **state)
{
    struct fixture *f = *state;
    char text[256], path[] = "/tmp/test_tokens_XXXXXX";
    uint8_t digest[SHA256_SIZE];
    int fd = mkstemp(path);

    assert_int_equal(write(fd, SECRET "\n", strlen(SECRET) + 1),
                     strlen(SECRET) + 1);
    close(fd);
    snprintf(text, sizeof(text),
             "tokens = { a = { token = secret_file '%s', role = 'admin' } }",
             path);
    assert_true(load(f, text));
    hash_sha256(STR(SECRET), digest);
    assert_memory_equal(f->config.http_tokens->tokens[0].digest, digest,
                        SHA256_SIZE);
    unlink(path);
}

static void every_mistake_is_told_and_no_token(void **state)
{
    struct fixture *f = *state;

    assert_false(
        load(f, "tokens = {"
                " a = { token = '" SECRET "', role = 'writer' },"
                " b = { token = '" SECRET "', role = 'reader' },"
                " c = { token = 'too-short', role = 'king' },"
                " d = { role = 'reader', actor = '' },"
                " e = { token = 'has a space in " SECRET "', tenent = 'x' },"
                " f = { token = 12345678901234567, role = true },"
                " j = {}, k = { token = {}, role = 'reader' },"
                " ['g h'] = { token = '" SECRET "2', role = 'reader' },"
                " i = '" SECRET "3' }"));
    assert_fault(f, "http.tokens.b.token (");
    assert_fault(f, "is the same as that of http.tokens.a\n");
    assert_fault(f, "http.tokens.c.token (");
    assert_fault(f, "must have 16 to 512 visible characters");
    assert_fault(f, "http.tokens.c.role (");
    assert_fault(f, "must be reader, writer or admin");
    assert_fault(f, "http.tokens.d.token (");
    assert_fault(f, "is missing: env");
    assert_fault(f, "http.tokens.d.actor (");
    assert_fault(f, "http.tokens.e.token (");
    assert_fault(f, "http.tokens.e.tenent (");
    assert_fault(f, "no such field");
    assert_fault(f, "http.tokens.e.role (");
    assert_fault(f, "http.tokens.f.token (");
    assert_fault(f, "http.tokens.f.role (");
    assert_fault(f, "must be a text");
    assert_fault(f, "http.tokens.g h.token (");
    assert_fault(f, "a token's name has");
    assert_fault(f, "http.tokens.i (");
    assert_fault(f, "http.tokens.j.token (");
    assert_fault(f, "http.tokens.j.role (");
    assert_fault(f, "http.tokens.k.token (");
    assert_fault(f, "must be a table");
    assert_null(strstr(f->faults.ptr, SECRET));
    assert_null(strstr(f->faults.ptr, "too-short"));
}

static void what_is_no_table_is_refused_unsaid(void **state)
{
    struct fixture *f = *state;

    assert_false(load(f, "tokens = '" SECRET "'"));
    assert_fault(f, "http.tokens (");
    assert_fault(f, "must be a table");
    assert_null(strstr(f->faults.ptr, SECRET));
    assert_false(load(f, "tokens = { '" SECRET "', '" SECRET "' }"));
    assert_fault(f, "must be a table");
    assert_null(strstr(f->faults.ptr, SECRET));
}

/* Whoever has written one must not be served without any. */
static void a_token_that_says_nothing_is_not_no_token(void **state)
{
    struct fixture *f = *state;

    assert_false(load(f, "tokens = { a = {} }"));
    assert_fault(f, "http.tokens.a.token (");
    assert_false(load(f, "tokens = { a = { token = env('NONE', nil) } }"));
    assert_fault(f, "is missing: env");
    assert_true(load(f, "tokens = {}"));
    assert_null(f->config.http_tokens);
}

static void tokens_open_the_way_beyond_loopback(void **state)
{
    struct fixture *f = *state;

    assert_false(load(f, "listen = '0.0.0.0:8000'"));
    assert_fault(f, "without http.tokens");
    assert_false(load(f, "listen = '0.0.0.0:8000', tokens = {}"));
    assert_true(load(f, "listen = '0.0.0.0:8000', tokens = { a = { token = "
                        "'" SECRET "', role = 'reader' } }"));
}

static void no_access_control_and_tokens_exclude_each_other(void **state)
{
    struct fixture *f = *state;

    assert_false(load(f, "auth = 'none', tokens = { a = { token = "
                         "'" SECRET "', role = 'reader' } }"));
    assert_fault(f, "http.auth = \"none\"");
}

static void probes_may_be_anywhere_but_where_the_rest_is(void **state)
{
    struct fixture *f = *state;

    assert_true(load(f, "probe_listen = '0.0.0.0:8001'"));
    assert_false(load(f, "probe_listen = '127.0.0.1:8000'"));
    assert_fault(f, "http.probe_listen = \"127.0.0.1:8000\"");
    assert_false(load(f, "probe_listen = '0.0.0.0:8001s'"));
    assert_fault(f, "TLS for HTTP is a proxy's job");
    assert_true(load(f, "listen = '127.0.0.1:0', probe_listen = "
                        "'127.0.0.1:0'"));
}

static void what_is_printed_shows_no_token(void **state)
{
    struct fixture *f = *state;
    struct buf text = {0};

    assert_true(load(f, "tokens = { a = { token = '" SECRET "', role = "
                        "'reader', tenant = 'acme' } }"));
    config_print(&f->config, &text);
    assert_non_null(
        strstr(text.ptr, "http.tokens.a = *** role reader tenant acme\n"));
    assert_null(strstr(text.ptr, SECRET));
    buf_done(&text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tokens_are_kept_as_digests),
        TEST(a_token_may_come_from_a_secret_file),
        TEST(every_mistake_is_told_and_no_token),
        TEST(what_is_no_table_is_refused_unsaid),
        TEST(a_token_that_says_nothing_is_not_no_token),
        TEST(tokens_open_the_way_beyond_loopback),
        TEST(no_access_control_and_tokens_exclude_each_other),
        TEST(probes_may_be_anywhere_but_where_the_rest_is),
        TEST(what_is_printed_shows_no_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
