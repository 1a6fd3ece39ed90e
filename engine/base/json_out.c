#include "base/clock.h"
#include "base/json.h"
#include "base/json_text.h"

#include <math.h>

void json_quote(struct buf *out, struct str s)
{
    static const char brief[128] = {
        ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
        ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
    };
    const char *at = s.ptr != NULL ? s.ptr : "";
    const char *end = at + s.len;
    const char *copied = at;

    buf_char(out, '"');
    while ((at = json_skip_plain(at, end)) < end) {
        unsigned char c = (unsigned char)*at;
        size_t length =
            c < 0x80 ? 0 : str_utf8_len(str_n(at, (size_t)(end - at)));

        if (length > 0) {
            at += length;
            continue;
        }
        buf_add(out, copied, (size_t)(at - copied));
        if (c >= 0x80)
            buf_text(out, "\xef\xbf\xbd");
        else if (brief[c] != '\0')
            buf_add(out, (char[]){'\\', brief[c]}, 2);
        else
            buf_printf(out, "\\u%04x", c);
        copied = ++at;
    }
    buf_add(out, copied, (size_t)(end - copied));
    buf_char(out, '"');
}

void json_begin(struct json_out *out, struct buf *buf)
{
    *out = (struct json_out){.buf = buf};
}

static void put_comma(struct json_out *out)
{
    if (out->comma)
        buf_char(out->buf, ',');
    out->comma = true;
}

void json_key(struct json_out *out, struct str key)
{
    put_comma(out);
    json_quote(out->buf, key);
    buf_char(out->buf, ':');
    out->comma = false; /* the value follows its colon */
}

/* What stands before any value. */
static void lead_in(struct json_out *out, const char *key)
{
    if (key != NULL)
        json_key(out, str_of(key));
    put_comma(out);
}

static void open_container(struct json_out *out, const char *key, char opener)
{
    lead_in(out, key);
    buf_char(out->buf, opener);
    out->comma = false;
    out->depth++;
}

void json_object(struct json_out *out, const char *key)
{
    open_container(out, key, '{');
}

void json_array(struct json_out *out, const char *key)
{
    open_container(out, key, '[');
}

void json_end(struct json_out *out, char closer)
{
    CHECK(out->depth > 0);
    out->depth--;
    out->comma = true;
    buf_char(out->buf, closer);
}

void json_put_str(struct json_out *out, const char *key, struct str value)
{
    lead_in(out, key);
    json_quote(out->buf, value);
}

void json_put_text(struct json_out *out, const char *key, const char *value)
{
    json_put_str(out, key, str_of(value));
}

/* Every event has three numbers, and printf is slow. */
static void put_digits(struct buf *out, uint64_t number)
{
    char text[20];
    char *first = text + sizeof(text);

    do
        *--first = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    buf_add(out, first, (size_t)(text + sizeof(text) - first));
}

void json_put_u64(struct json_out *out, const char *key, uint64_t value)
{
    lead_in(out, key);
    put_digits(out->buf, value);
}

void json_put_i64(struct json_out *out, const char *key, int64_t value)
{
    lead_in(out, key);
    if (value < 0)
        buf_char(out->buf, '-');
    put_digits(out->buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_put_double(struct json_out *out, const char *key, double value)
{
    char text[32];

    if (!isfinite(value)) {
        json_put_null(out, key);
        return;
    }
    lead_in(out, key);
    buf_add(out->buf, text, decimal_double_text(value, text));
}

void json_put_bool(struct json_out *out, const char *key, bool value)
{
    json_put_raw(out, key, value ? STR("true") : STR("false"));
}

void json_put_null(struct json_out *out, const char *key)
{
    json_put_raw(out, key, STR("null"));
}

void json_put_raw(struct json_out *out, const char *key, struct str json)
{
    CHECK(json.len > 0);
    lead_in(out, key);
    buf_str(out->buf, json);
}

void json_put_time(struct json_out *out, const char *key, int64_t wall_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(wall_us, text);
    json_put_text(out, key, text);
}

void json_put_members(struct json_out *out, struct str members)
{
    if (members.len == 0)
        return;
    put_comma(out);
    buf_str(out->buf, members);
}

void json_put_opt(struct json_out *out, const char *key, struct str value)
{
    if (str_is_none(value))
        json_put_null(out, key);
    else
        json_put_str(out, key, value);
}
