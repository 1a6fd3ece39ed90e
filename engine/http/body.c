#include "http/body.h"

#include "base/buf.h"
#include "base/clock.h"

#include <civetweb.h>
#include <inttypes.h>

/* civetweb waits for all the bytes of one read, and anew for each of them:
 * the time is looked at between reads, and the cutter ends one that lasts. */
#define PIECE 4096

static bool fail_slow(uint64_t got, struct err *err)
{
    return err_set(err, ERR_BAD_REQUEST,
                   "the body took more than %d ms, %" PRIu64
                   " bytes of it came",
                   BODY_TIME_MAX_MS, got);
}

/* A read that was cut looks like one that broke off. */
static bool fail_broken(uint64_t got, uint64_t until_ms, struct err *err)
{
    if (clock_ms() >= until_ms)
        return fail_slow(got, err);
    return err_set(err, ERR_BAD_REQUEST,
                   "the body broke off after %" PRIu64 " bytes", got);
}

static bool fail_large(size_t max, struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "a body has at most %zu bytes", max);
}

static bool read_length(struct mg_connection *conn, size_t length,
                        struct arena *arena, struct str *out, struct err *err)
{
    uint64_t until_ms = clock_ms() + BODY_TIME_MAX_MS;
    char *bytes = arena_alloc(arena, length + 1);
    size_t got = 0;

    while (got < length) {
        int n = mg_read(conn, bytes + got, MIN(length - got, PIECE));

        if (n <= 0)
            return fail_broken(got, until_ms, err);
        got += (size_t)n;
        if (got < length && clock_ms() > until_ms)
            return fail_slow(got, err);
    }
    *out = str_n(bytes, length);
    return true;
}

/* Nobody knows how much will come: room grows with what has. */
static bool read_chunks(struct mg_connection *conn, size_t max,
                        struct buf *body, struct err *err)
{
    uint64_t until_ms = clock_ms() + BODY_TIME_MAX_MS;

    for (;;) {
        int n = mg_read(conn, buf_room(body, PIECE), PIECE);

        if (n < 0)
            return fail_broken(body->len, until_ms, err);
        if (n == 0)
            return true;
        body->len += (size_t)n;
        if (body->len > max)
            return fail_large(max, err);
        if (clock_ms() > until_ms)
            return fail_slow(body->len, err);
    }
}

static bool read_chunked(struct mg_connection *conn, size_t max,
                         struct arena *arena, struct str *out, struct err *err)
{
    struct buf body = {0};
    bool good = read_chunks(conn, max, &body, err);

    if (good)
        *out = arena_str(arena, buf_as_str(&body));
    buf_done(&body);
    return good;
}

bool body_read(struct mg_connection *conn, const struct http_head *head,
               size_t max, struct arena *arena, struct str *out,
               struct err *err)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

    *out = STR("");
    if (!head->chunked && head->length > max)
        return fail_large(max, err);
    if (!head->chunked && head->length == 0)
        return true;
    if (head->expects_continue && !head->is_http_1_0)
        mg_write(conn, go_on, sizeof(go_on) - 1);
    return head->chunked ? read_chunked(conn, max, arena, out, err)
                         : read_length(conn, head->length, arena, out, err);
}

bool body_skip(struct mg_connection *conn, uint64_t max)
{
    uint64_t until_ms = clock_ms() + BODY_TIME_MAX_MS;
    char bytes[PIECE];

    for (uint64_t got = 0; got < max && clock_ms() < until_ms;) {
        int n = mg_read(conn, bytes, MIN(max - got, PIECE));

        if (n <= 0)
            return n == 0;
        got += (uint64_t)n;
    }
    return false;
}
