/*
 * Life of a text.  It arrives as bytes that nobody vouches for: json_check goes
 * over them once, and whoever keeps them keeps what it let through.  From then
 * on the same bytes are walked, never parsed into a tree: struct json and
 * struct json_in are slices of them.  The walk believes that it is on a checked
 * text; on any other its answers are wrong, but it stays inside the slice.
 */
#include "base/json.h"

#include "base/json_text.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

/* ---- letters ---- */

const bool json_is_plain[256] = {
    [0x20 ... 0x21] = true, /* then the quote */
    [0x23 ... 0x5b] = true, /* then the backslash */
    [0x5d ... 0x7f] = true, /* then UTF-8 sequences */
};

static size_t utf8_write(uint32_t point, char out[4])
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t length = point < 0x80      ? 1
                    : point < 0x800   ? 2
                    : point < 0x10000 ? 3
                                      : 4;

    for (size_t i = length - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3f));
    out[0] = (char)(length == 1 ? point : lead[length] | point);
    return length;
}

int32_t json_hex_unit(const char *at, const char *end)
{
    int32_t unit = 0;

    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = str_hex_digit(at[i]);

        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* ---- walking ---- */

/* Behind the string whose opening quote is at `at`. */
static const char *after_string(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        at = json_skip_plain(at, end);
        if (at < end && *at == '"')
            return at + 1;
        if (at < end && *at == '\\')
            at++;
    }
    return end;
}

/* Behind the container whose opening bracket is at `at`. */
static const char *after_container(const char *at, const char *end)
{
    size_t depth = 0;

    while (at < end) {
        char c = *at;

        if (c == '"') {
            at = after_string(at, end);
            continue;
        }
        at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return at;
    }
    return end;
}

/* Behind a number or a word: one byte at least, so that every walk ends. */
static const char *after_scalar(const char *at, const char *end)
{
    do
        at++;
    while (at < end && *at != ',' && *at != '}' && *at != ']' &&
           !json_is_space(*at));
    return at;
}

static enum json_kind kind_of(char first)
{
    switch (first) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

static const char *after_value(enum json_kind kind, const char *at,
                               const char *end)
{
    if (kind == JSON_STRING)
        return after_string(at, end);
    if (kind == JSON_OBJECT || kind == JSON_ARRAY)
        return after_container(at, end);
    return after_scalar(at, end);
}

struct json json_value(struct str checked)
{
    const char *end;
    const char *at;

    if (checked.len == 0)
        return (struct json){JSON_END, STR_NONE};
    end = checked.ptr + checked.len;
    at = json_skip_space(checked.ptr, end);
    if (at == end)
        return (struct json){JSON_END, STR_NONE};
    while (json_is_space(end[-1]))
        end--;
    return (struct json){kind_of(*at), {at, (size_t)(end - at)}};
}

struct json_in json_open(struct json value)
{
    struct json_in in = {value.raw.ptr, value.raw.ptr,
                         value.kind == JSON_OBJECT};

    if (value.kind == JSON_OBJECT || value.kind == JSON_ARRAY) {
        in.at = value.raw.ptr + 1;
        in.end = value.raw.ptr + value.raw.len - 1;
    }
    return in;
}

/* From the quote of a key to the value behind its colon. */
static const char *take_key(const char *at, const char *end, struct str *raw)
{
    const char *after = after_string(at, end);

    *raw = str_n(at + 1, after - at > 2 ? (size_t)(after - at - 2) : 0);
    after = json_skip_space(after, end);
    return after < end ? json_skip_space(after + 1, end) : end;
}

bool json_next(struct json_in *in, struct str *raw_key, struct json *item)
{
    const char *at = json_skip_space(in->at, in->end);

    if (at < in->end && *at == ',')
        at = json_skip_space(at + 1, in->end);
    if (at < in->end && in->object)
        at = take_key(at, in->end, raw_key);
    if (at >= in->end) {
        in->at = in->end;
        *item = (struct json){JSON_END, STR_NONE};
        return false;
    }
    item->kind = kind_of(*at);
    in->at = after_value(item->kind, at, in->end);
    item->raw = str_n(at, (size_t)(in->at - at));
    return true;
}

/* Decodes the escape at `*at` and steps over it. */
static size_t take_escape(const char **at, const char *end, char out[4])
{
    static const char plain[128] = {
        ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
    };
    int32_t unit = json_hex_unit(*at, end);
    int32_t low;

    if (unit < 0) {
        char what = end - *at > 1 ? (*at)[1] : '\\';

        out[0] = plain[what & 0x7f] != '\0' ? plain[what & 0x7f] : what;
        *at += MIN(end - *at, 2);
        return 1;
    }
    *at += 6;
    low = json_is_high_surrogate(unit) ? json_hex_unit(*at, end) : -1;
    if (low >= 0) {
        *at += 6;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    return utf8_write((uint32_t)unit, out);
}

bool json_key_is(struct str raw_key, struct str name)
{
    const char *at = raw_key.ptr;
    const char *end = at + raw_key.len;
    size_t done = 0;

    if (memchr(raw_key.ptr, '\\', raw_key.len) == NULL)
        return str_eq(raw_key, name);
    while (at < end) {
        char piece[4] = {*at};
        size_t len = 1;

        if (*at == '\\')
            len = take_escape(&at, end, piece);
        else
            at++;
        if (name.len - done < len || memcmp(name.ptr + done, piece, len) != 0)
            return false;
        done += len;
    }
    return done == name.len;
}

struct json json_get(struct json object, struct str name)
{
    struct json_in in = json_open(object);
    struct json item = {JSON_END, STR_NONE};
    struct str key;

    if (object.kind != JSON_OBJECT)
        return item;
    while (json_next(&in, &key, &item))
        if (json_key_is(key, name))
            return item;
    return item;
}

void json_unescape(struct json string, struct buf *out)
{
    const char *at = string.raw.ptr + 1;
    const char *end = string.raw.ptr + string.raw.len - 1;

    while (at < end) {
        const char *stop = memchr(at, '\\', (size_t)(end - at));
        char piece[4];

        buf_add(out, at, (size_t)((stop != NULL ? stop : end) - at));
        if (stop == NULL)
            return;
        at = stop;
        buf_add(out, piece, take_escape(&at, end, piece));
    }
}

/* ---- numbers ---- */

/* 3.0 and 3e2 in plain digits; false when it is no whole number. */
static bool whole_digits(struct json value, struct buf *out)
{
    struct decimal number;
    struct err ignored;
    bool whole = false;

    decimal_init(&number);
    if (decimal_parse(&number, value.raw, &ignored)) {
        struct str fraction;

        decimal_format(&number, out);
        fraction = buf_as_str(out);
        out->len = str_cut(&fraction, '.').len;
        whole = true;
        for (size_t i = 0; i < fraction.len; i++)
            whole = whole && fraction.ptr[i] == '0';
    }
    decimal_done(&number);
    return whole;
}

bool json_u64(struct json value, uint64_t *out)
{
    struct buf digits = {0};
    bool fits;

    if (value.kind != JSON_NUMBER)
        return false;
    if (str_to_u64(value.raw, out))
        return true;
    fits = whole_digits(value, &digits) && str_to_u64(buf_as_str(&digits), out);
    buf_done(&digits);
    return fits;
}

bool json_i64(struct json value, int64_t *out)
{
    struct buf digits = {0};
    bool fits;

    if (value.kind != JSON_NUMBER)
        return false;
    if (str_to_i64(value.raw, out))
        return true;
    fits = whole_digits(value, &digits) && str_to_i64(buf_as_str(&digits), out);
    buf_done(&digits);
    return fits;
}

bool json_double(struct json value, double *out)
{
    char brief[64];
    char *text = brief;
    double number;

    if (value.kind != JSON_NUMBER)
        return false;
    /* strtod wants a NUL, and what follows a slice may be another digit. */
    if (value.raw.len < sizeof(brief)) {
        memcpy(brief, value.raw.ptr, value.raw.len);
        brief[value.raw.len] = '\0';
    } else {
        text = mem_str_copy(value.raw);
    }
    number = strtod(text, NULL);
    if (text != brief)
        mem_free(text);
    if (!isfinite(number))
        return false;
    *out = number;
    return true;
}
