#include "api/row_token.h"

#include "base/hash.h"

#define CHECK_SIZE 8

/* ---- base64url without padding (RFC 4648, section 5) ---- */

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static struct str encode(struct str bytes, struct arena *arena)
{
    char *text = arena_alloc(arena, bytes.len / 3 * 4 + 4);
    size_t len = 0;
    uint32_t bits = 0;
    unsigned held = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        bits = bits << 8 | (unsigned char)bytes.ptr[i];
        for (held += 8; held >= 6; held -= 6)
            text[len++] = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0)
        text[len++] = alphabet[bits << (6 - held) & 63];
    return str_n(text, len);
}

/* Strict: bits left over must be zero, so that each token has one spelling. */
static bool decode(struct str text, struct arena *arena, struct str *out)
{
    char *bytes = arena_alloc(arena, text.len / 4 * 3 + 3);
    size_t len = 0;
    uint32_t bits = 0;
    unsigned held = 0;

    for (size_t i = 0; i < text.len; i++) {
        const char *at = memchr(alphabet, text.ptr[i], 64);

        if (at == NULL)
            return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[len++] = (char)(bits >> held & 255);
        }
    }
    *out = str_n(bytes, len);
    return held < 6 && (bits & ((1U << held) - 1)) == 0;
}

/* ---- the check ---- */

static void make_check(const struct row_query *query, struct str payload,
                       char check[CHECK_SIZE])
{
    struct str order = query->table->columns[query->order].name;
    uint8_t digest[SHA256_SIZE];
    struct buf all = {0};

    buf_str(&all, query->table->name);
    buf_char(&all, query->descending ? '-' : '+');
    buf_str(&all, order);
    buf_char(&all, '\n');
    buf_str(&all, payload);
    hash_sha256(buf_as_str(&all), digest);
    memcpy(check, digest, CHECK_SIZE);
    buf_done(&all);
}

/* ---- make ---- */

static void put_value(struct json_out *out, const struct value *value)
{
    struct buf text = {0};

    if (value->kind == VALUE_NULL) {
        json_put_null(out, NULL);
        return;
    }
    value_to_text(value, &text);
    json_put_str(out, NULL, buf_as_str(&text));
    buf_done(&text);
}

struct str row_token_make(const struct row_query *query, const struct row *last,
                          struct arena *arena)
{
    struct buf bytes = {0};
    struct json_out out;
    struct str token;

    buf_room(&bytes, CHECK_SIZE);
    bytes.len = CHECK_SIZE;
    json_begin(&out, &bytes);
    json_array(&out, NULL);
    put_value(&out, &last->values[query->order]);
    put_value(&out, &last->values[query->table->key]);
    json_end(&out, ']');
    make_check(query, str_n(bytes.ptr + CHECK_SIZE, bytes.len - CHECK_SIZE),
               bytes.ptr);
    token = encode(buf_as_str(&bytes), arena);
    buf_done(&bytes);
    return token;
}

/* ---- read ---- */

static bool read_value(struct json item, size_t column,
                       const struct table_def *table, struct arena *arena,
                       struct value *out)
{
    struct buf text = {0};
    struct err err;
    bool good;

    *out = (struct value){.kind = VALUE_NULL};
    if (item.kind != JSON_STRING)
        return item.kind == JSON_NULL;
    json_unescape(item, &text);
    good = value_from_text(table->columns[column].kind, buf_as_str(&text),
                           arena, out, &err);
    *out = value_copy(arena, out);
    buf_done(&text);
    return good;
}

static bool read_payload(struct str payload, struct row_query *query,
                         struct arena *arena)
{
    struct json_in in = json_open(json_value(payload));
    struct json order, key;
    struct str unused;

    return json_next(&in, &unused, &order) && json_next(&in, &unused, &key) &&
           read_value(order, query->order, query->table, arena,
                      &query->after_order) &&
           read_value(key, query->table->key, query->table, arena,
                      &query->after_key) &&
           query->after_key.kind != VALUE_NULL;
}

bool row_token_read(struct str token, struct row_query *query,
                    struct arena *arena, struct err *err)
{
    char check[CHECK_SIZE];
    struct str bytes;
    struct str payload;
    struct err unused;

    if (decode(token, arena, &bytes) && bytes.len > CHECK_SIZE) {
        payload = str_n(bytes.ptr + CHECK_SIZE, bytes.len - CHECK_SIZE);
        make_check(query, payload, check);
        query->resume = memcmp(check, bytes.ptr, CHECK_SIZE) == 0 &&
                        json_check(payload, NULL, &unused) &&
                        read_payload(payload, query, arena);
    }
    return query->resume ||
           err_set(err, ERR_BAD_REQUEST,
                   "query parameter 'after': expected the `next` of a page of "
                   "the same table and order");
}
