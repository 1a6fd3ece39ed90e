#include "http/head.h"

#include <civetweb.h>
#include <strings.h>

enum slot {
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    EXPECT,
    CONNECTION,
    CONTENT_TYPE,
    IF_MATCH,
    IF_NONE_MATCH,
    IDEMPOTENCY_KEY,
    CORRELATION_ID,
    CAUSATION_ID,
    ACTOR_ID,
    TENANT_ID,
    TRACEPARENT,
    LAST_EVENT_ID,
    AUTHORIZATION,
    SLOTS
};

static const char *const names[SLOTS] = {
    [CONTENT_LENGTH] = "Content-Length",
    [TRANSFER_ENCODING] = "Transfer-Encoding",
    [EXPECT] = "Expect",
    [CONNECTION] = "Connection",
    [CONTENT_TYPE] = "Content-Type",
    [IF_MATCH] = "If-Match",
    [IF_NONE_MATCH] = "If-None-Match",
    [IDEMPOTENCY_KEY] = "Idempotency-Key",
    [CORRELATION_ID] = "X-Correlation-Id",
    [CAUSATION_ID] = "X-Causation-Id",
    [ACTOR_ID] = "X-Actor-Id",
    [TENANT_ID] = "X-Tenant-Id",
    [TRACEPARENT] = "traceparent",
    [LAST_EVENT_ID] = "Last-Event-ID",
    [AUTHORIZATION] = "Authorization",
};

static int find_slot(const char *name)
{
    for (int i = 0; i < SLOTS; i++) {
        /* The first letters differ nearly always; `| 32` folds their case. */
        if ((name[0] | 32) == (names[i][0] | 32) &&
            strcasecmp(name, names[i]) == 0)
            return i;
    }
    return -1;
}

/* None of the headers that are read here may be given twice: a second one of a
 * name is a contradiction. */
static bool collect(const struct mg_request_info *info,
                    struct str values[SLOTS], struct err *err)
{
    size_t bytes = 0;

    if (info->num_headers >= MG_MAX_HEADERS)
        return err_set(err, ERR_HEADERS, "%d headers or more", MG_MAX_HEADERS);
    for (int i = 0; i < info->num_headers; i++) {
        struct str value = str_of(info->http_headers[i].value);
        const char *name = info->http_headers[i].name;
        int slot = find_slot(name);

        bytes += strlen(name) + value.len;
        if (slot < 0)
            continue;
        if (!str_is_none(values[slot]))
            return err_set(err, ERR_BAD_REQUEST,
                           "header %s: given more than once", names[slot]);
        values[slot] = value;
    }
    if (bytes > HEAD_MAX_BYTES)
        return err_set(err, ERR_HEADERS, "more than %d bytes of headers",
                       HEAD_MAX_BYTES);
    return true;
}

static bool is_word(struct str value, const char *word)
{
    return !str_is_none(value) && strcasecmp(value.ptr, word) == 0;
}

static bool read_framing(const struct str values[SLOTS], struct http_head *out,
                         struct err *err)
{
    struct str length = values[CONTENT_LENGTH];
    struct str encoding = values[TRANSFER_ENCODING];

    if (!str_is_none(length) && !str_is_none(encoding))
        return err_set(err, ERR_BAD_REQUEST,
                       "both Content-Length and Transfer-Encoding");
    out->chunked = !str_is_none(encoding);
    if (out->chunked && !is_word(encoding, "chunked"))
        return err_set(err, ERR_BAD_REQUEST,
                       "header Transfer-Encoding: expected chunked");
    if (!str_is_none(length) &&
        (!str_to_u64(length, &out->length) || out->length > INT64_MAX))
        return err_set(err, ERR_BAD_REQUEST,
                       "header Content-Length: expected digits");
    return true;
}

static bool read_expect(struct str value, struct http_head *out,
                        struct err *err)
{
    out->expects_continue = is_word(value, "100-continue");
    return out->expects_continue || str_is_none(value) ||
           err_set(err, ERR_BAD_REQUEST,
                   "header Expect: only 100-continue is known");
}

bool head_read(const struct mg_request_info *info, struct http_head *out,
               struct err *err)
{
    struct str values[SLOTS] = {{0}};

    *out = (struct http_head){0};
    if (!collect(info, values, err) || !read_framing(values, out, err) ||
        !read_expect(values[EXPECT], out, err))
        return false;
    out->content_type = values[CONTENT_TYPE];
    out->if_match = values[IF_MATCH];
    out->if_none_match = values[IF_NONE_MATCH];
    out->idempotency_key = values[IDEMPOTENCY_KEY];
    out->correlation_id = values[CORRELATION_ID];
    out->causation_id = values[CAUSATION_ID];
    out->actor_id = values[ACTOR_ID];
    out->tenant_id = values[TENANT_ID];
    out->traceparent = values[TRACEPARENT];
    out->last_event_id = values[LAST_EVENT_ID];
    out->authorization = values[AUTHORIZATION];
    out->is_http_1_0 = strcmp(info->http_version, "1.0") == 0;
    out->keep_alive = str_is_none(values[CONNECTION])
                          ? !out->is_http_1_0
                          : is_word(values[CONNECTION], "keep-alive");
    return true;
}
