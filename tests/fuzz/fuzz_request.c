#include "fuzz/targets.h"

#include "api/access.h"
#include "api/cursor.h"
#include "api/request.h"
#include "api/row_token.h"

#include <string.h>
#include <strings.h>

/* The input looks like a request: METHOD TARGET, headers, an empty line, the
 * body. */
static void read_headers(struct api_request *request, struct str *rest)
{
    const struct {
        const char *name;
        struct str *value;
    } headers[] = {
        {"Content-Type", &request->content_type},
        {"If-Match", &request->if_match},
        {"If-None-Match", &request->if_none_match},
        {"Idempotency-Key", &request->idempotency_key},
        {"X-Correlation-Id", &request->correlation_id},
        {"X-Causation-Id", &request->causation_id},
        {"X-Actor-Id", &request->actor_id},
        {"X-Tenant-Id", &request->tenant_id},
        {"traceparent", &request->traceparent},
        {"Last-Event-ID", &request->last_event_id},
        {"Authorization", &request->authorization},
    };

    while (!str_is_none(*rest)) {
        struct str value = str_cut(rest, '\n');
        struct str name = str_cut(&value, ':');

        if (name.len == 0)
            return;
        for (size_t i = 0; i < COUNT(headers); i++) {
            if (str_eq(name, str_of(headers[i].name)) && !str_is_none(value))
                *headers[i].value = value;
        }
    }
}

static void check_refusal(struct api_reply *reply)
{
    struct err err = {0};
    struct str body = buf_as_str(&reply->body);

    CHECK(reply->status >= 400 && reply->status < 500);
    CHECK(json_check(body, NULL, &err));
    CHECK(json_get(json_value(body), STR("code")).kind == JSON_STRING);
}

static void check_cursor(const struct api_request *request)
{
    static const struct table_def table = {
        .name = {"orders", 6},
        .column_count = 1,
        .columns = {{{"order_id", 8}, VALUE_UUID, false}},
    };
    struct row_query query = {.table = &table};
    struct err err = {0};
    struct str after;
    uint64_t position;

    if (!request_text(request, "after", &after, &err) || str_is_none(after))
        return;
    if (cursor_read(after, (struct uuid){0}, &position, &err))
        CHECK(position <= INT64_MAX);
    if (!row_token_read(after, &query, request->arena, &err))
        CHECK(err.code == ERR_BAD_REQUEST);
}

/* Everything that handlers ask, whether this route's does or not. */
static void check_questions(const struct api_request *request)
{
    static const char *const names[] = {"after", "limit", "from", "at"};
    struct err err = {0};
    struct str type, id;
    struct json body;
    uint64_t number = 0;
    uint32_t limit;
    bool flag;

    if (!request_allow(request, names, COUNT(names), &err))
        CHECK(err.code == ERR_BAD_REQUEST);
    if (request_u64(request, "from", 7, &number, &err))
        CHECK(number <= INT64_MAX);
    if (request_limit(request, &limit, &err))
        CHECK(limit >= 1 && limit <= LIMIT_MAX);
    if (!request_flag(request, "backward", &flag, &err))
        CHECK(err.code == ERR_BAD_REQUEST);
    if (request->segment_count >= 4 &&
        request_stream(request, &type, &id, &err))
        CHECK(id.len >= 1 && id.len <= EVENT_ID_MAX_BYTES && str_is_utf8(id));
    if (request_if_match(request, &flag, &number, &err) && flag)
        CHECK(number <= INT64_MAX);
    if (request_has_seen(request, 3))
        CHECK(request->if_none_match.len > 0);
    if (request_is_traceparent(request->traceparent))
        CHECK(request->traceparent.len == 55);
    if (request_object(request, &body, &err))
        CHECK(body.kind == JSON_OBJECT && body.raw.len <= request->body.len);
    check_cursor(request);
}

static void answer(struct api_request *request, struct api_reply *reply)
{
    if (!api_admit(request, reply)) {
        check_refusal(reply);
        return;
    }
    CHECK(request->route != NULL);
    for (size_t i = 0; i < MIN(request->segment_count, API_MAX_SEGMENTS); i++)
        CHECK(str_is_utf8(request->segments[i]));
    check_questions(request);
}

void fuzz_request(struct str input)
{
    static const struct access_token tokens[] = {
        {.name = "shop", .role = API_WRITER, .tenant = "acme", .actor = ""},
    };
    static const struct access access = {tokens, COUNT(tokens)};
    struct arena arena = {0};
    struct api_reply reply = {0};
    struct api_request request = {
        .content_type = STR_NONE,
        .if_match = STR_NONE,
        .if_none_match = STR_NONE,
        .idempotency_key = STR_NONE,
        .correlation_id = STR_NONE,
        .causation_id = STR_NONE,
        .actor_id = STR_NONE,
        .tenant_id = STR_NONE,
        .traceparent = STR_NONE,
        .last_event_id = STR_NONE,
        .authorization = STR_NONE,
        .arena = &arena,
    };
    struct str rest = input;

    request.target = str_cut(&rest, '\n');
    request.method = str_cut(&request.target, ' ');
    if (str_is_none(request.target))
        request.target = STR("");
    read_headers(&request, &rest);
    request.body = str_is_none(rest) ? STR("") : rest;
    if (!str_is_none(request.authorization))
        request.access = &access;
    answer(&request, &reply);
    api_reply_done(&reply);
    arena_done(&arena);
}
