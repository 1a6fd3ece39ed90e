/*
 * A body's life: it comes checked and compact; its two members are found, the
 * events are counted before anything is allocated for them, and each is read
 * by the table of its fields into its place in an array of the arena.  Texts
 * stay slices of the body unless they were escaped.  Faults are collected all
 * the way and only looked at in the end.
 */
#include "api/append_body.h"

#include "api/fields.h"
#include "base/clock.h"

/* ---- expected_version ---- */

static const struct {
    const char *word;
    enum expect expect;
} expect_words[] = {
    {"\"any\"", EXPECT_ANY},
    {"\"no_stream\"", EXPECT_NO_STREAM},
    {"\"stream_exists\"", EXPECT_STREAM_EXISTS},
};

/* Left out it is "any". */
static bool read_expect(struct json value, struct append_request *out)
{
    out->expect = EXPECT_ANY;
    if (value.kind == JSON_END)
        return true;
    if (value.kind == JSON_NUMBER) {
        out->expect = EXPECT_VERSION;
        return json_u64(value, &out->expected_version) &&
               out->expected_version <= INT64_MAX;
    }
    for (size_t i = 0; i < COUNT(expect_words); i++) {
        if (str_eq(value.raw, str_of(expect_words[i].word))) {
            out->expect = expect_words[i].expect;
            return true;
        }
    }
    return false;
}

/* ---- one event ---- */

struct body_event {
    struct event event;
    struct str aggregate_type; /* must be the stream's when they are given */
    struct str aggregate_id;
};

#define EVENT_FIELD(name, kind, required)                                      \
    {                                                                          \
#name, kind, required, offsetof(struct body_event, event.name)         \
    }

/* clang-format off */
static const struct field event_fields[] = {
    EVENT_FIELD(event_type,     FIELD_NAME,   true),
    EVENT_FIELD(data,           FIELD_OBJECT, true),
    EVENT_FIELD(event_id,       FIELD_UUID,   false),
    EVENT_FIELD(event_version,  FIELD_U32,    false),
    EVENT_FIELD(metadata,       FIELD_OBJECT, false),
    EVENT_FIELD(tenant_id,      FIELD_LABEL,  false),
    EVENT_FIELD(actor_id,       FIELD_LABEL,  false),
    EVENT_FIELD(correlation_id, FIELD_LABEL,  false),
    EVENT_FIELD(causation_id,   FIELD_LABEL,  false),
    {"occurred_at",    FIELD_TIME,  false, offsetof(struct body_event, event.occurred_at_us)},
    {"aggregate_type", FIELD_LABEL, false, offsetof(struct body_event, aggregate_type)},
    {"aggregate_id",   FIELD_LABEL, false, offsetof(struct body_event, aggregate_id)},
};
/* clang-format on */

/* What a request's events are read with. */
struct reading {
    const struct script_set *scripts;
    struct arena *arena;
    struct append_request *out;
    struct faults *faults;
    int64_t now_us; /* for events that do not say when they occurred */
};

static bool is_same_id(struct str given, struct str stream_id)
{
    char normal[EVENT_ID_MAX_BYTES];
    struct err err;
    struct str id;

    return event_check_id(given, normal, &id, &err) && str_eq(id, stream_id);
}

static void check_stream(const struct body_event *got, struct field_scope at,
                         struct reading *r)
{
    if (!str_is_none(got->aggregate_type) &&
        !str_eq(got->aggregate_type, r->out->aggregate_type))
        faults_add(r->faults, at, STR("aggregate_type"),
                   "is not that of the stream, '%.*s'",
                   STR_ARG(r->out->aggregate_type));
    if (!str_is_none(got->aggregate_id) &&
        !is_same_id(got->aggregate_id, r->out->aggregate_id))
        faults_add(r->faults, at, STR("aggregate_id"),
                   "is not that of the stream, '%.*s'",
                   STR_ARG(r->out->aggregate_id));
}

static void check_known(const struct event *event, struct field_scope at,
                        struct reading *r)
{
    struct err err;

    if (event->event_type.len > 0 && r->scripts != NULL &&
        !script_set_check_event(r->scripts, r->out->aggregate_type,
                                event->event_type, &err))
        faults_add(r->faults, at, STR("event_type"), "%s", err.text);
    else if (r->scripts != NULL &&
             !script_set_check_version(r->scripts, r->out->aggregate_type,
                                       event->event_type, event->event_version,
                                       &err))
        faults_add(r->faults, at, STR("event_version"), "%s", err.text);
}

static void read_event(struct json item, size_t index, struct event *out,
                       struct reading *r)
{
    struct field_scope at = {"events", index};
    struct body_event got = {.event = {.event_version = 1,
                                       .metadata = STR("{}"),
                                       .occurred_at_us = r->now_us}};

    if (item.kind != JSON_OBJECT) {
        faults_add(r->faults, at, STR("event_type"),
                   "an event is expected to be an object");
        return;
    }
    fields_read(item, event_fields, COUNT(event_fields), at, r->arena, &got,
                r->faults);
    check_stream(&got, at, r);
    check_known(&got.event, at, r);
    if (uuid_is_nil(got.event.event_id))
        got.event.event_id = uuid_new();
    else
        r->out->ids_given = true;
    *out = got.event;
}

/* ---- all events ---- */

static size_t count_items(struct json array)
{
    struct json_in in = json_open(array);
    struct json item;
    struct str key;
    size_t count = 0;

    while (json_next(&in, &key, &item))
        count++;
    return count;
}

/* Bounded before anything is allocated for them. */
static bool check_count(struct json events, size_t *count_out,
                        struct faults *faults)
{
    struct field_scope top = {0};

    if (events.kind != JSON_ARRAY) {
        if (events.kind != JSON_END)
            faults_add(faults, top, STR("events"), "expected a list");
        return false;
    }
    *count_out = count_items(events);
    if (*count_out >= 1 && *count_out <= APPEND_MAX_EVENTS)
        return true;
    faults_add(faults, top, STR("events"), "expected 1 to %d events, not %zu",
               APPEND_MAX_EVENTS, *count_out);
    return false;
}

static void read_events(struct json array, struct event *events,
                        struct reading *r)
{
    struct json_in in = json_open(array);
    struct json item;
    struct str key;
    size_t index = 0;

    while (json_next(&in, &key, &item)) {
        read_event(item, index, &events[index], r);
        index++;
    }
}

/* Ids are looked up in a table that is at most half full; what is in it is the
 * place of the event plus one. */
static bool check_ids(const struct event *events, size_t count,
                      struct arena *arena, struct err *err)
{
    size_t size = 4;
    uint16_t *table;

    while (size < count * 2)
        size *= 2;
    table = ARENA_ARRAY(arena, uint16_t, size);
    for (size_t i = 0; i < count; i++) {
        const struct uuid *id = &events[i].event_id;
        struct str bytes = str_n((const char *)id->bytes, sizeof(id->bytes));
        size_t slot = str_hash(bytes) & (size - 1);

        for (; table[slot] != 0; slot = (slot + 1) & (size - 1)) {
            size_t other = table[slot] - 1U;

            if (uuid_eq(events[other].event_id, *id))
                return err_set(err, ERR_DUPLICATE_EVENT,
                               "events %zu and %zu of the request have the "
                               "same event_id",
                               other, i);
        }
        table[slot] = (uint16_t)(i + 1);
    }
    return true;
}

/* ---- the body ---- */

struct body {
    struct json expected_version;
    struct json events;
};

static const struct field body_fields[] = {
    {"expected_version", FIELD_JSON, false,
     offsetof(struct body, expected_version)},
    {"events", FIELD_JSON, true, offsetof(struct body, events)},
};

bool append_body_read(struct json json, const struct script_set *scripts,
                      struct arena *arena, struct append_request *out,
                      struct err *err)
{
    struct field_scope top = {0};
    struct faults faults = {.err = err};
    struct reading r = {.scripts = scripts,
                        .arena = arena,
                        .out = out,
                        .faults = &faults,
                        .now_us = clock_wall_us()};
    struct body body = {0};

    fields_read(json, body_fields, COUNT(body_fields), top, arena, &body,
                &faults);
    if (!read_expect(body.expected_version, out))
        faults_add(&faults, top, STR("expected_version"),
                   "expected a version from 0 on, \"any\", \"no_stream\" or "
                   "\"stream_exists\"");
    if (check_count(body.events, &out->count, &faults)) {
        struct event *events = ARENA_ARRAY(arena, struct event, out->count);

        read_events(body.events, events, &r);
        out->events = events;
    }
    if (faults.count > 0)
        return false;
    return !out->ids_given || check_ids(out->events, out->count, arena, err);
}
