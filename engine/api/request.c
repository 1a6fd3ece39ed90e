/*
 * A request's life: http/ or cli/ fill method, target, headers and body, all
 * of them borrowed; request_split adds decoded segments and query pairs, which
 * are slices of the target wherever nothing had to be decoded, else copies in
 * the request's arena.  Nothing outlives the arena's reset.
 *
 * Splitting comes before decoding, so `a%2Fb` is one segment "a/b" and no
 * client can smuggle a separator in or out.
 */
#include "api/request.h"

#include <inttypes.h>
#include <stdarg.h>

/* ---- percent-decoding ---- */

/* The byte behind a "%", or -1. */
static int decode_escape(const char *at, const char *end)
{
    int high = end - at >= 3 ? str_hex_digit(at[1]) : -1;
    int low = end - at >= 3 ? str_hex_digit(at[2]) : -1;

    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool needs_decoding(struct str raw, bool plus_is_space)
{
    return memchr(raw.ptr, '%', raw.len) != NULL ||
           (plus_is_space && memchr(raw.ptr, '+', raw.len) != NULL);
}

static bool decode_bytes(struct str raw, bool plus_is_space,
                         struct arena *arena, struct str *out)
{
    const char *end = raw.ptr + raw.len;
    char *text = arena_alloc(arena, raw.len + 1);
    size_t len = 0;

    for (const char *at = raw.ptr; at < end; at++) {
        int byte = (unsigned char)*at;

        if (byte == '%') {
            byte = decode_escape(at, end);
            at += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        if (byte < 0)
            return false;
        text[len++] = (char)byte;
    }
    *out = str_n(text, len);
    return true;
}

static bool has_control(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c < 0x20 || c == 0x7f)
            return true;
    }
    return false;
}

/* A part of the target as text, or the reason why it is none. */
static const char *decode(struct str raw, bool plus_is_space,
                          struct arena *arena, struct str *out)
{
    *out = raw;
    if (needs_decoding(raw, plus_is_space) &&
        !decode_bytes(raw, plus_is_space, arena, out))
        return "a '%' that is not followed by two hexadecimal digits";
    if (has_control(*out))
        return "a control character";
    if (!str_is_utf8(*out))
        return "bytes that are not UTF-8";
    return NULL;
}

/* ---- splitting ---- */

static bool add_segment(struct api_request *request, struct str raw,
                        struct err *err)
{
    size_t place = request->segment_count++;
    const char *fault;

    if (place >= API_MAX_SEGMENTS)
        return true;
    fault = decode(raw, false, request->arena, &request->segments[place]);
    if (fault == NULL)
        return true;
    return err_set(err, ERR_INVALID_ID, "the path has %s in segment %zu", fault,
                   place + 1);
}

static bool split_path(struct api_request *request, struct str path,
                       struct err *err)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return err_set(err, ERR_BAD_REQUEST, "the path must begin with '/'");
    path = str_n(path.ptr + 1, path.len - 1);
    while (!str_is_none(path)) {
        if (!add_segment(request, str_cut(&path, '/'), err))
            return false;
    }
    return true;
}

static bool add_pair(struct api_request *request, struct str raw,
                     struct err *err)
{
    struct api_pair *pair = &request->query[request->query_count];
    struct str value = raw;
    struct str name = str_cut(&value, '=');
    const char *fault = decode(name, true, request->arena, &pair->name);

    pair->value = STR_NONE;
    if (fault == NULL && !str_is_none(value))
        fault = decode(value, true, request->arena, &pair->value);
    if (fault != NULL)
        return err_set(err, ERR_BAD_REQUEST,
                       "the query has %s in parameter %zu", fault,
                       request->query_count + 1);
    for (size_t i = 0; i < request->query_count; i++) {
        if (str_eq(request->query[i].name, pair->name))
            return request_bad_param(pair->name, err, "given more than once");
    }
    request->query_count++;
    return true;
}

static bool split_query(struct api_request *request, struct str query,
                        struct err *err)
{
    while (!str_is_none(query)) {
        struct str raw = str_cut(&query, '&');

        if (raw.len == 0)
            continue;
        if (request->query_count == API_MAX_QUERY)
            return err_set(err, ERR_BAD_REQUEST,
                           "more than %d query parameters", API_MAX_QUERY);
        if (!add_pair(request, raw, err))
            return false;
    }
    return true;
}

bool request_split(struct api_request *request, struct err *err)
{
    struct str query = request->target;
    struct str path = str_cut(&query, '?');

    request->segment_count = 0;
    request->query_count = 0;
    return split_path(request, path, err) && split_query(request, query, err);
}

/* ---- query ---- */

bool request_bad_param(struct str name, struct err *err, const char *format,
                       ...)
{
    struct err reason;
    va_list args;

    va_start(args, format);
    err_vset(&reason, ERR_BAD_REQUEST, format, args);
    va_end(args);
    err_set(err, ERR_BAD_REQUEST, "query parameter '%.*s': %s", STR_ARG(name),
            reason.text);
    err_field(err, name, "%s", reason.text);
    return false;
}

static bool is_among(struct str name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(name, str_of(names[i])))
            return true;
    }
    return false;
}

static const char *list_names(const char *const *names, size_t count,
                              struct arena *arena)
{
    const char *list = count == 0 ? "none" : names[0];

    for (size_t i = 1; i < count; i++)
        list = arena_printf(arena, "%s, %s", list, names[i]);
    return list;
}

bool request_allow(const struct api_request *request, const char *const *names,
                   size_t count, struct err *err)
{
    for (size_t i = 0; i < request->query_count; i++) {
        struct str name = request->query[i].name;

        if (!is_among(name, names, count))
            return request_bad_param(name, err, "unknown; allowed here: %s",
                                     list_names(names, count, request->arena));
    }
    return true;
}

const struct api_pair *request_param(const struct api_request *request,
                                     const char *name)
{
    for (size_t i = 0; i < request->query_count; i++) {
        if (str_eq(request->query[i].name, str_of(name)))
            return &request->query[i];
    }
    return NULL;
}

bool request_text(const struct api_request *request, const char *name,
                  struct str *out, struct err *err)
{
    const struct api_pair *pair = request_param(request, name);

    *out = STR_NONE;
    if (pair == NULL)
        return true;
    if (pair->value.len == 0)
        return request_bad_param(pair->name, err, "expected a value");
    *out = pair->value;
    return true;
}

/* Positions and versions are 63-bit in every store. */
bool request_u64(const struct api_request *request, const char *name,
                 uint64_t fallback, uint64_t *out, struct err *err)
{
    struct str text;

    if (!request_text(request, name, &text, err))
        return false;
    *out = fallback;
    if (str_is_none(text))
        return true;
    if (!str_to_u64(text, out) || *out > INT64_MAX)
        return request_bad_param(str_of(name), err,
                                 "expected a whole number from 0 on");
    return true;
}

bool request_limit(const struct api_request *request, uint32_t *out,
                   struct err *err)
{
    uint64_t limit;

    if (!request_u64(request, "limit", LIMIT_DEFAULT, &limit, err))
        return false;
    if (limit < 1 || limit > LIMIT_MAX)
        return request_bad_param(STR("limit"), err,
                                 "expected a whole number from 1 to %d",
                                 LIMIT_MAX);
    *out = (uint32_t)limit;
    return true;
}

bool request_flag(const struct api_request *request, const char *name,
                  bool *out, struct err *err)
{
    struct str text;

    if (!request_text(request, name, &text, err))
        return false;
    *out = str_eq(text, STR("true"));
    if (*out || str_is_none(text) || str_eq(text, STR("false")))
        return true;
    return request_bad_param(str_of(name), err, "expected true or false");
}

/* ---- path ---- */

bool request_stream(const struct api_request *request, struct str *type_out,
                    struct str *id_out, struct err *err)
{
    char *normal = arena_alloc(request->arena, EVENT_ID_MAX_BYTES);

    if (!event_check_name(request->segments[2], "aggregate_type", err))
        return false;
    *type_out = request->segments[2];
    return event_check_id(request->segments[3], normal, id_out, err);
}

/* ---- headers and body ---- */

bool request_is_label(struct str text)
{
    return text.len >= 1 && text.len <= EVENT_ID_MAX_BYTES &&
           !has_control(text) && str_is_utf8(text);
}

bool request_check_headers(const struct api_request *request, struct err *err)
{
    const struct {
        const char *name;
        struct str value;
    } labels[] = {
        {"Idempotency-Key", request->idempotency_key},
        {"X-Tenant-Id", request->tenant_id},
        {"X-Actor-Id", request->actor_id},
        {"X-Correlation-Id", request->correlation_id},
        {"X-Causation-Id", request->causation_id},
    };

    for (size_t i = 0; i < COUNT(labels); i++) {
        if (!str_is_none(labels[i].value) && !request_is_label(labels[i].value))
            return err_set(err, ERR_BAD_REQUEST,
                           "header %s: expected 1 to %d bytes of UTF-8 without "
                           "control characters",
                           labels[i].name, EVENT_ID_MAX_BYTES);
    }
    return true;
}

/* Lower-case hexadecimal digits, not all of them zero. */
static bool is_trace_part(struct str part)
{
    bool is_zero = true;

    for (size_t i = 0; i < part.len; i++) {
        char c = part.ptr[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        is_zero = is_zero && c == '0';
    }
    return !is_zero;
}

/* 00-<32 digits>-<16 digits>-<2 digits>; the flags may be zero. */
bool request_is_traceparent(struct str text)
{
    return text.len == 55 && memcmp(text.ptr, "00-", 3) == 0 &&
           is_trace_part(str_n(text.ptr + 3, 32)) && text.ptr[35] == '-' &&
           is_trace_part(str_n(text.ptr + 36, 16)) && text.ptr[52] == '-' &&
           str_hex_digit(text.ptr[53]) >= 0 && str_hex_digit(text.ptr[54]) >= 0;
}

bool request_if_match(const struct api_request *request, bool *given_out,
                      uint64_t *version_out, struct err *err)
{
    struct str text = request->if_match;

    *given_out = !str_is_none(text);
    if (!*given_out)
        return true;
    if (text.len > 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"' &&
        str_to_u64(str_n(text.ptr + 1, text.len - 2), version_out) &&
        *version_out <= INT64_MAX)
        return true;
    return err_set(
        err, ERR_BAD_REQUEST,
        "header If-Match: expected a version in quotes, as in \"3\"");
}

static struct str trim(struct str text)
{
    while (text.len > 0 && text.ptr[0] == ' ')
        text = str_n(text.ptr + 1, text.len - 1);
    while (text.len > 0 && text.ptr[text.len - 1] == ' ')
        text.len--;
    return text;
}

/* A list of tags, each of which may be called weak. */
bool request_has_seen(const struct api_request *request, uint64_t version)
{
    struct str rest = request->if_none_match;
    struct str tag =
        str_of(arena_printf(request->arena, "\"%" PRIu64 "\"", version));

    while (!str_is_none(rest)) {
        struct str one = trim(str_cut(&rest, ','));

        if (str_starts(one, STR("W/")))
            one = str_n(one.ptr + 2, one.len - 2);
        if (str_eq(one, tag) || str_eq(one, STR("*")))
            return true;
    }
    return false;
}

static bool is_json_type(struct str type)
{
    static const struct str json = {"application/json", 16};
    struct str rest = type;
    struct str media = str_cut(&rest, ';');

    while (media.len > 0 && media.ptr[media.len - 1] == ' ')
        media.len--;
    if (media.len != json.len)
        return false;
    for (size_t i = 0; i < media.len; i++) {
        char c = media.ptr[i];

        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != json.ptr[i])
            return false;
    }
    return true;
}

/* A compact text is never longer than the body, so a buffer over the arena's
 * memory need not grow, and nothing is left to free. */
static struct buf buf_in_arena(struct arena *arena, size_t len)
{
    return (struct buf){.ptr = arena_alloc(arena, len + 1),
                        .capacity = len + 1};
}

bool request_object(const struct api_request *request, struct json *out,
                    struct err *err)
{
    struct buf compact = buf_in_arena(request->arena, request->body.len);

    if (request->body.len > 0 && !is_json_type(request->content_type))
        return err_set(err, ERR_MEDIA_TYPE,
                       "header Content-Type: expected application/json");
    if (!json_check(request->body, &compact, err))
        return err_wrap(err, "body");
    *out = json_value(buf_as_str(&compact));
    if (out->kind != JSON_OBJECT)
        return err_set(err, ERR_INVALID_INPUT, "body: expected an object");
    return true;
}
