#pragma once
/*
 * JSON (RFC 8259), strict, in two halves.
 *
 * Reading: json_check validates a whole text at the door and can write it
 * without insignificant white space, every token kept byte for byte;
 * afterwards struct json_in walks a text that is known to be
 * good and hands out slices of it: nothing is decoded that nobody asks for.
 * Refused at the door: \u0000, lone surrogates, bad UTF-8,
 * raw control characters, nesting over JSON_MAX_DEPTH, duplicate keys in one
 * object, anything behind the value, NaN and infinity.
 *
 * Writing: struct json_out knows about commas, quotes and nesting, so code
 * that writes a document reads like its outline.
 */
#include "base/buf.h"
#include "base/decimal.h"
#include "base/err.h"

#define JSON_MAX_DEPTH 64

enum json_kind {
    JSON_END, /* no more members or items */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* A value inside a checked text: its kind and its raw bytes (a string with its
 * quotes, an object with its braces). */
struct json {
    enum json_kind kind;
    struct str raw;
};

/* Validates `text` from first to last byte.  When `compact` is not NULL the
 * text without white space between tokens is appended to it.  On failure
 * ERR_INVALID_JSON names the byte offset and what was wrong there. */
bool json_check(struct str text, struct buf *compact, struct err *err) MUST_USE;

/* The value of a checked text. */
struct json json_value(struct str checked);

/* Walks the members of an object or the items of an array.
 *     struct json_in in = json_open(value);
 *     struct json item; struct str key;
 *     while (json_next(&in, &key, &item)) …
 * `key` is the raw key between its quotes (still escaped; json_unescape when
 * json_key_is is not enough); untouched for arrays. */
struct json_in {
    const char *at;
    const char *end;
    bool object;
};
struct json_in json_open(struct json value);
bool json_next(struct json_in *in, struct str *raw_key, struct json *item);

/* Compares a raw key with a name, escapes understood. */
bool json_key_is(struct str raw_key, struct str name);
/* The member of an object by name; kind JSON_END when it is not there. */
struct json json_get(struct json object, struct str name);

/* Appends the text of a JSON_STRING, decoded to UTF-8. */
void json_unescape(struct json string, struct buf *out);
/* Numbers as numbers; false when the value is no number or does not fit
 * (json_u64/json_i64 also take 3.0 and 3e2: whole by value). */
bool json_u64(struct json value, uint64_t *out) MUST_USE;
bool json_i64(struct json value, int64_t *out) MUST_USE;
bool json_double(struct json value, double *out) MUST_USE;

/* ---- writing ---- */

struct json_out {
    struct buf *buf; /* borrowed from the caller, appended to */
    uint32_t depth;
    bool comma; /* the next value in this container needs one before it */
};

/* Writes to the end of `buf`, which stays the caller's. */
void json_begin(struct json_out *out, struct buf *buf);
/* With `key` inside an object, with NULL inside an array or at the top. */
void json_object(struct json_out *out, const char *key);
void json_array(struct json_out *out, const char *key);
void json_end(struct json_out *out, char closer); /* '}' or ']' */
void json_put_str(struct json_out *out, const char *key, struct str value);
void json_put_text(struct json_out *out, const char *key, const char *value);
void json_put_u64(struct json_out *out, const char *key, uint64_t value);
void json_put_i64(struct json_out *out, const char *key, int64_t value);
/* Shortest text that reads back the same; NaN and infinity become null. */
void json_put_double(struct json_out *out, const char *key, double value);
void json_put_bool(struct json_out *out, const char *key, bool value);
void json_put_null(struct json_out *out, const char *key);
/* A value that is JSON already. */
void json_put_raw(struct json_out *out, const char *key, struct str json);
/* RFC 3339 text of microseconds since 1970. */
void json_put_time(struct json_out *out, const char *key, int64_t wall_us);
/* The inside of an object that is JSON already (`"a":1,"b":2`), or nothing. */
void json_put_members(struct json_out *out, struct str members);
/* As json_put_str, but null when the slice is STR_NONE. */
void json_put_opt(struct json_out *out, const char *key, struct str value);
/* For keys that are not literals. */
void json_key(struct json_out *out, struct str key);

/* Appends `s` with its quotes, escaped; bytes that are no UTF-8 become
 * U+FFFD, so that the output is always JSON. */
void json_quote(struct buf *out, struct str s);
