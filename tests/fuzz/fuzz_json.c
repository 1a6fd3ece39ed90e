#include "fuzz/targets.h"

#include "base/decimal.h"
#include "base/json.h"

static void check_number(struct json value)
{
    struct decimal decimal = {0};
    struct err err = {0};
    uint64_t natural;
    int64_t whole;
    double number;

    if (json_u64(value, &natural) && natural <= INT64_MAX)
        CHECK(json_i64(value, &whole) && (uint64_t)whole == natural);
    CHECK(json_double(value, &number) || value.kind == JSON_NUMBER);
    if (!decimal_parse(&decimal, value.raw, &err))
        CHECK(err.code != ERR_NONE);
    decimal_done(&decimal);
}

/* What is decoded can be written and read again. */
static void check_string(struct json value)
{
    struct buf text = {0}, quoted = {0}, again = {0};
    struct err err = {0};

    json_unescape(value, &text);
    CHECK(str_is_utf8(buf_as_str(&text)));
    json_quote(&quoted, buf_as_str(&text));
    CHECK(json_check(buf_as_str(&quoted), NULL, &err));
    json_unescape(json_value(buf_as_str(&quoted)), &again);
    CHECK(str_eq(buf_as_str(&text), buf_as_str(&again)));
    buf_done(&text);
    buf_done(&quoted);
    buf_done(&again);
}

/* Both texts have the same members in the same order, token by token. */
static void check_same(struct json a, struct json b)
{
    struct json_in in_a, in_b;
    struct json item_a, item_b;
    struct str key_a = STR_NONE, key_b = STR_NONE;

    CHECK(a.kind == b.kind);
    if (a.kind != JSON_OBJECT && a.kind != JSON_ARRAY) {
        CHECK(str_eq(a.raw, b.raw));
        if (a.kind == JSON_NUMBER)
            check_number(a);
        if (a.kind == JSON_STRING)
            check_string(a);
        return;
    }
    in_a = json_open(a);
    in_b = json_open(b);
    while (json_next(&in_a, &key_a, &item_a)) {
        CHECK(json_next(&in_b, &key_b, &item_b));
        if (a.kind == JSON_OBJECT)
            CHECK(str_eq(key_a, key_b));
        check_same(item_a, item_b);
    }
    CHECK(!json_next(&in_b, &key_b, &item_b));
}

void fuzz_json(struct str input)
{
    struct buf compact = {0}, again = {0};
    struct err err = {0};

    if (json_check(input, &compact, &err)) {
        CHECK(compact.len <= input.len);
        CHECK(json_check(buf_as_str(&compact), &again, &err));
        CHECK(str_eq(buf_as_str(&compact), buf_as_str(&again)));
        check_same(json_value(input), json_value(buf_as_str(&compact)));
    } else {
        CHECK(err.code == ERR_INVALID_JSON);
        CHECK(str_is_utf8(str_of(err.text)));
    }
    buf_done(&compact);
    buf_done(&again);
}
