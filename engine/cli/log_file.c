#include "cli/log_file.h"

#include "api/fields.h"

#include <inttypes.h>

/* ---- the header ---- */

void log_header_write(const struct log_header *header, struct buf *out)
{
    char log_id[UUID_TEXT_SIZE];
    struct json_out json;

    uuid_format(header->log_id, log_id);
    json_begin(&json, out);
    json_object(&json, NULL);
    json_put_u64(&json, "perigee_log", LOG_FILE_FORMAT);
    json_put_text(&json, "log_id", log_id);
    json_put_u64(&json, "after", header->after);
    json_put_u64(&json, "head", header->head);
    json_put_u64(&json, "last", header->last);
    json_end(&json, '}');
    buf_char(out, '\n');
}

struct header_fields {
    uint64_t format;
    struct log_header header;
};

/* clang-format off */
static const struct field header_fields[] = {
    {"perigee_log", FIELD_U64,  true, offsetof(struct header_fields, format)},
    {"log_id",      FIELD_UUID, true, offsetof(struct header_fields, header.log_id)},
    {"after",       FIELD_U64,  true, offsetof(struct header_fields, header.after)},
    {"head",        FIELD_U64,  true, offsetof(struct header_fields, header.head)},
    {"last",        FIELD_U64,  true, offsetof(struct header_fields, header.last)},
};
/* clang-format on */

static bool is_of_ours(struct str line)
{
    struct err ignored;

    return json_check(line, NULL, &ignored) &&
           json_value(line).kind == JSON_OBJECT &&
           json_get(json_value(line), STR("perigee_log")).kind != JSON_END;
}

/* Another version may have other fields, so it is looked at before them. */
static bool check_format(struct str line, struct err *err)
{
    struct json format = json_get(json_value(line), STR("perigee_log"));
    uint64_t number;

    if (json_u64(format, &number) && number == LOG_FILE_FORMAT)
        return true;
    return err_set(err, ERR_INVALID_INPUT,
                   "the file has format %.*s, this version reads %d",
                   STR_ARG(format.raw), LOG_FILE_FORMAT);
}

bool log_header_read(struct str line, struct log_header *out, struct err *err)
{
    struct arena arena = {0};
    struct header_fields got = {0};
    struct faults faults = {.err = err};
    struct field_scope top = {0};

    if (!is_of_ours(line))
        return err_set(err, ERR_INVALID_INPUT,
                       "this is not the first line of a log that was exported");
    if (!check_format(line, err))
        return false;
    fields_read(json_value(line), header_fields, COUNT(header_fields), top,
                &arena, &got, &faults);
    arena_done(&arena);
    if (faults.count > 0)
        return false;
    if (got.header.after > got.header.last || got.header.last > got.header.head)
        return err_set(err, ERR_INVALID_INPUT,
                       "after, last and head are not in this order");
    *out = got.header;
    return true;
}

/* ---- events ---- */

#define EVENT_FIELD(name, kind, required)                                      \
    {                                                                          \
#name, kind, required, offsetof(struct event, name)                    \
    }

/* clang-format off */
static const struct field event_fields[] = {
    EVENT_FIELD(position,          FIELD_U64,    true),
    EVENT_FIELD(event_id,          FIELD_UUID,   true),
    EVENT_FIELD(event_type,        FIELD_NAME,   true),
    EVENT_FIELD(event_version,     FIELD_U32,    true),
    EVENT_FIELD(aggregate_type,    FIELD_NAME,   true),
    EVENT_FIELD(aggregate_id,      FIELD_LABEL,  true),
    EVENT_FIELD(aggregate_version, FIELD_U64,    true),
    EVENT_FIELD(data,              FIELD_OBJECT, true),
    EVENT_FIELD(metadata,          FIELD_OBJECT, true),
    EVENT_FIELD(tenant_id,         FIELD_LABEL,  false),
    EVENT_FIELD(actor_id,          FIELD_LABEL,  false),
    EVENT_FIELD(correlation_id,    FIELD_LABEL,  false),
    EVENT_FIELD(causation_id,      FIELD_LABEL,  false),
    {"occurred_at", FIELD_TIME, true, offsetof(struct event, occurred_at_us)},
    {"recorded_at", FIELD_TIME, true, offsetof(struct event, recorded_at_us)},
};
/* clang-format on */

/* A log keeps UUIDs in lower case, so that each stream has one name. */
static bool check_stream_id(const struct event *event, struct err *err)
{
    char normal[EVENT_ID_MAX_BYTES];
    struct str id;

    if (!event_check_id(event->aggregate_id, normal, &id, err))
        return false;
    return str_eq(id, event->aggregate_id) ||
           err_set(err, ERR_INVALID_INPUT,
                   "aggregate_id: a log has UUIDs in lower case");
}

static bool compact_line(struct str line, struct arena *arena, struct json *out,
                         struct err *err)
{
    struct buf compact = {0};
    bool good = json_check(line, &compact, err);

    if (good)
        *out = json_value(arena_str(arena, buf_as_str(&compact)));
    buf_done(&compact);
    return good;
}

bool log_event_read(struct str line, struct arena *arena, struct event *out,
                    struct err *err)
{
    struct faults faults = {.err = err};
    struct field_scope top = {0};
    struct json json;

    if (!compact_line(line, arena, &json, err))
        return false;
    if (json.kind != JSON_OBJECT)
        return err_set(err, ERR_INVALID_INPUT,
                       "an event must be a JSON object");
    *out = (struct event){0};
    fields_read(json, event_fields, COUNT(event_fields), top, arena, out,
                &faults);
    return faults.count == 0 && check_stream_id(out, err);
}
