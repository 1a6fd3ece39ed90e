#include "api/fields.h"

#include "api/request.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- faults ---- */

/* "events[3].data"; a client's own names are cut where they are too long. */
static struct str full_name(struct field_scope scope, struct str field,
                            char *text, size_t size)
{
    int len;

    if (scope.list == NULL)
        return field;
    len = snprintf(text, size, "%s[%zu].%.*s", scope.list, scope.index,
                   STR_ARG(field));
    return str_n(text, MIN((size_t)len, size - 1));
}

void faults_add(struct faults *faults, struct field_scope scope,
                struct str field, const char *format, ...)
{
    char name_text[96];
    struct str name = full_name(scope, field, name_text, sizeof(name_text));
    struct err reason;
    va_list args;

    va_start(args, format);
    err_vset(&reason, ERR_INVALID_INPUT, format, args);
    va_end(args);
    if (faults->count++ == 0)
        err_set(faults->err, ERR_INVALID_INPUT, "%.*s: %s", STR_ARG(name),
                reason.text);
    err_field(faults->err, name, "%s", reason.text);
}

/* ---- one field ---- */

struct reading {
    struct field_scope scope;
    struct arena *arena;
    struct faults *faults;
};

/* A string's text: its own bytes when nothing in it is escaped. */
static struct str text_of(struct json string, struct arena *arena)
{
    struct str inside = str_n(string.raw.ptr + 1, string.raw.len - 2);
    struct buf text = {0};
    struct str copy;

    if (memchr(inside.ptr, '\\', inside.len) == NULL)
        return inside;
    json_unescape(string, &text);
    copy = arena_str(arena, buf_as_str(&text));
    buf_done(&text);
    return copy;
}

static const char *read_name(struct str text, struct str *out)
{
    struct err err;

    if (!event_check_name(text, "name", &err))
        return "expected a letter, then letters, digits, '_', '.' and '-', at "
               "most 255 bytes";
    *out = text;
    return NULL;
}

static const char *read_label(struct str text, struct str *out)
{
    if (!request_is_label(text))
        return "expected 1 to 255 bytes of text without control characters";
    *out = text;
    return NULL;
}

static const char *read_uuid(struct str text, struct uuid *out)
{
    if (!uuid_parse(text, out) || uuid_is_nil(*out))
        return "expected a UUID";
    return NULL;
}

static const char *read_time(struct str text, int64_t *out)
{
    return clock_parse(text, out) ? NULL : "expected an RFC 3339 time";
}

static const char *read_u32(struct json value, uint32_t *out)
{
    uint64_t number;

    if (!json_u64(value, &number) || number < 1 || number > INT32_MAX)
        return "expected a whole number from 1 to 2147483647";
    *out = (uint32_t)number;
    return NULL;
}

static const char *read_u64(struct json value, uint64_t *out)
{
    uint64_t number;

    if (!json_u64(value, &number) || number > INT64_MAX)
        return "expected a whole number from 0 to 9223372036854775807";
    *out = number;
    return NULL;
}

static const char *read_object(struct json value, struct str *out)
{
    if (value.kind != JSON_OBJECT)
        return "expected an object";
    *out = value.raw;
    return NULL;
}

static bool is_textual(enum field_kind kind)
{
    return kind == FIELD_NAME || kind == FIELD_LABEL || kind == FIELD_UUID ||
           kind == FIELD_TIME;
}

/* Puts the value in its place; the reason why it cannot, or NULL. */
static const char *read_field(const struct field *field, struct json value,
                              struct arena *arena, void *place)
{
    struct str text = STR_NONE;

    if (is_textual(field->kind)) {
        if (value.kind != JSON_STRING)
            return "expected a text";
        text = text_of(value, arena);
    }
    switch (field->kind) {
    case FIELD_NAME:
        return read_name(text, place);
    case FIELD_LABEL:
        return read_label(text, place);
    case FIELD_UUID:
        return read_uuid(text, place);
    case FIELD_TIME:
        return read_time(text, place);
    case FIELD_OBJECT:
        return read_object(value, place);
    case FIELD_U32:
        return read_u32(value, place);
    case FIELD_U64:
        return read_u64(value, place);
    case FIELD_JSON:
        *(struct json *)place = value;
        return NULL;
    }
    return NULL;
}

/* ---- an object ---- */

static int find_field(struct str raw_key, const struct field *fields,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (json_key_is(raw_key, str_of(fields[i].name)))
            return (int)i;
    }
    return -1;
}

static void read_member(const struct field *field, struct json value, void *out,
                        struct reading *r)
{
    const char *fault;

    if (value.kind == JSON_NULL && !field->required)
        return;
    fault = read_field(field, value, r->arena, (char *)out + field->offset);
    if (fault != NULL)
        faults_add(r->faults, r->scope, str_of(field->name), "%s", fault);
}

void fields_read(struct json object, const struct field *fields, size_t count,
                 struct field_scope scope, struct arena *arena, void *out,
                 struct faults *faults)
{
    struct reading r = {.scope = scope, .arena = arena, .faults = faults};
    struct json_in in = json_open(object);
    bool seen[FIELDS_MAX] = {false};
    struct str key;
    struct json value;

    CHECK(count <= FIELDS_MAX);
    while (json_next(&in, &key, &value)) {
        int place = find_field(key, fields, count);

        if (place < 0) {
            faults_add(faults, scope, key, "unknown field");
            continue;
        }
        seen[place] = true;
        read_member(&fields[place], value, out, &r);
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].required && !seen[i])
            faults_add(faults, scope, str_of(fields[i].name), "missing");
    }
}
