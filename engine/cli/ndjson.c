/*
 * Life of a line.
 *
 *   read     into a buffer that grows up to LINE_MAX_BYTES and is used again
 *   hash     the running sum takes it, with the line's end before it
 *   check    as JSON, compacted; then its members are looked at once
 *   keep     its stream is noted, its event written to `object`
 *   give     it joins the run; or, when it belongs to the next one, it waits
 *            as `pending` and is the next run's first
 *
 * A fault is kept the same way as a pending line, so that everything before it
 * is handed out first.
 */
#include "cli/ndjson.h"

#include "base/event.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cli/lines.h"

#include <inttypes.h>

/* The namespace of ids made from places in files; never changes. */
static const struct uuid file_space = {{0x5d, 0x1c, 0x34, 0x8e, 0x0b, 0x5e,
                                        0x4f, 0x0e, 0x9a, 0x6e, 0x2c, 0x41,
                                        0x7d, 0x52, 0x90, 0xa3}};

struct ndjson {
    struct lines lines;
    struct hash_sum *sum;
    struct buf compact;
    /* the line's event, once `pending` */
    bool pending;
    struct buf aggregate_type;
    char aggregate_id[EVENT_ID_MAX_BYTES];
    size_t aggregate_id_len;
    struct buf object;
    /* what ended the reading, once `failed` */
    bool failed;
    struct err fault;
};

/* ---- runs ---- */

void run_reset(struct run *run)
{
    arena_reset(&run->arena);
    buf_clear(&run->events);
    run->count = 0;
}

void run_done(struct run *run)
{
    arena_done(&run->arena);
    buf_done(&run->events);
    mem_free(run->lines);
    *run = (struct run){0};
}

static bool is_same_stream(const struct ndjson *ndjson, const struct run *run)
{
    struct str id = str_n(ndjson->aggregate_id, ndjson->aggregate_id_len);

    return str_eq(run->aggregate_id, id) &&
           str_eq(run->aggregate_type, buf_as_str(&ndjson->aggregate_type));
}

static bool fits(const struct ndjson *ndjson, const struct run *run)
{
    return run->count == 0 ||
           (run->count < RUN_MAX_EVENTS && is_same_stream(ndjson, run) &&
            run->events.len + ndjson->object.len < RUN_MAX_BYTES);
}

static void give(struct ndjson *ndjson, struct run *run)
{
    if (run->count == 0) {
        run->aggregate_type =
            arena_str(&run->arena, buf_as_str(&ndjson->aggregate_type));
        run->aggregate_id = arena_str(
            &run->arena, str_n(ndjson->aggregate_id, ndjson->aggregate_id_len));
    } else {
        buf_char(&run->events, ',');
    }
    GROW(run->lines, run->capacity, run->count + 1);
    run->lines[run->count++] = (struct run_line){
        .number = ndjson->lines.number,
        .offset = run->events.len,
        .len = ndjson->object.len,
    };
    buf_str(&run->events, buf_as_str(&ndjson->object));
    ndjson->pending = false;
}

/* ---- reading ---- */

static bool is_blank(struct str line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (memchr(" \t\r", line.ptr[i], 3) == NULL)
            return false;
    }
    return true;
}

/* The line's end is added with the line behind it: whether the last line of a
 * file has one must not change that line's id. */
static void add_to_sum(struct ndjson *ndjson)
{
    if (ndjson->lines.number > 1)
        hash_sum_add(ndjson->sum, STR("\n"));
    hash_sum_add(ndjson->sum, buf_as_str(&ndjson->lines.line));
}

/* ---- one event ---- */

static void add_made_id(struct ndjson *ndjson)
{
    uint8_t digest[SHA256_SIZE];
    char text[UUID_TEXT_SIZE];

    hash_sum_peek(ndjson->sum, digest);
    struct str name = str_n((const char *)digest, sizeof(digest));
    uuid_format(uuid_derive(file_space, name), text);
    buf_printf(&ndjson->object, "%s\"event_id\":\"%s\"",
               ndjson->object.len > 1 ? "," : "", text);
}

static bool take_text(struct json value, const char *name, struct buf *out,
                      struct err *err)
{
    if (value.kind != JSON_STRING)
        return err_set(err, ERR_INVALID_INPUT, "%s must be a text", name);
    buf_clear(out);
    json_unescape(value, out);
    return true;
}

static bool take_type(struct ndjson *ndjson, struct json value, struct err *err)
{
    struct buf *type = &ndjson->aggregate_type;

    return take_text(value, "aggregate_type", type, err) &&
           event_check_name(buf_as_str(type), "aggregate_type", err);
}

static bool take_id(struct ndjson *ndjson, struct json value, struct err *err)
{
    struct buf id = {0};
    struct str normal;
    bool ok =
        take_text(value, "aggregate_id", &id, err) &&
        event_check_id(buf_as_str(&id), ndjson->aggregate_id, &normal, err);

    if (ok && normal.ptr != ndjson->aggregate_id)
        memcpy(ndjson->aggregate_id, normal.ptr, normal.len);
    if (ok)
        ndjson->aggregate_id_len = normal.len;
    buf_done(&id);
    return ok;
}

/* Fields that the store gives: an export has them, an import leaves them. */
static bool is_given_by_store(struct str key)
{
    return json_key_is(key, STR("position")) ||
           json_key_is(key, STR("aggregate_version")) ||
           json_key_is(key, STR("recorded_at"));
}

static void copy_member(struct buf *object, struct str key, struct json value)
{
    buf_printf(object, "%s\"%.*s\":", object->len > 1 ? "," : "", STR_ARG(key));
    buf_str(object, value.raw);
}

struct seen {
    bool type, id, event_id;
};

static bool take_member(struct ndjson *ndjson, struct str key,
                        struct json value, struct seen *seen, struct err *err)
{
    if (json_key_is(key, STR("aggregate_type"))) {
        seen->type = true;
        return take_type(ndjson, value, err);
    }
    if (json_key_is(key, STR("aggregate_id"))) {
        seen->id = true;
        return take_id(ndjson, value, err);
    }
    if (json_key_is(key, STR("event_id"))) {
        if (value.kind == JSON_NULL)
            return true;
        seen->event_id = true;
    }
    if (!is_given_by_store(key))
        copy_member(&ndjson->object, key, value);
    return true;
}

static bool take_object(struct ndjson *ndjson, struct json event,
                        struct err *err)
{
    struct json_in in = json_open(event);
    struct seen seen = {0};
    struct json value;
    struct str key;

    buf_clear(&ndjson->object);
    buf_char(&ndjson->object, '{');
    while (json_next(&in, &key, &value)) {
        if (!take_member(ndjson, key, value, &seen, err))
            return false;
    }
    if (!seen.type || !seen.id)
        return err_set(err, ERR_INVALID_INPUT, "%s is missing",
                       seen.type ? "aggregate_id" : "aggregate_type");
    if (!seen.event_id)
        add_made_id(ndjson);
    buf_char(&ndjson->object, '}');
    return true;
}

static bool take_line(struct ndjson *ndjson, struct err *err)
{
    buf_clear(&ndjson->compact);
    if (!json_check(buf_as_str(&ndjson->lines.line), &ndjson->compact, err))
        return false;
    struct json event = json_value(buf_as_str(&ndjson->compact));
    if (event.kind != JSON_OBJECT)
        return err_set(err, ERR_INVALID_INPUT,
                       "an event must be a JSON object");
    return take_object(ndjson, event, err);
}

/* Reads on to the next event; false at the end, or with `failed`. */
static bool read_pending(struct ndjson *ndjson)
{
    struct err *fault = &ndjson->fault;

    *fault = (struct err){0};
    do {
        enum lines_end got = lines_next(&ndjson->lines, fault);

        ndjson->failed = got == LINES_FAILED;
        if (got != LINES_READ)
            return false;
        add_to_sum(ndjson);
    } while (is_blank(buf_as_str(&ndjson->lines.line)));

    ndjson->pending = take_line(ndjson, fault);
    ndjson->failed = !ndjson->pending;
    return ndjson->pending;
}

static enum ndjson_end end_of(struct ndjson *ndjson, struct err *err)
{
    if (!ndjson->failed)
        return NDJSON_END;
    *err = ndjson->fault;
    err_wrap(err, "%s:%" PRIu64, ndjson->lines.name, ndjson->lines.number);
    return NDJSON_FAILED;
}

/* ---- public ---- */

enum ndjson_end ndjson_next(struct ndjson *ndjson, struct run *run,
                            struct err *err)
{
    run_reset(run);
    while (ndjson->pending || (!ndjson->failed && read_pending(ndjson))) {
        if (!fits(ndjson, run))
            return NDJSON_RUN;
        give(ndjson, run);
    }
    return run->count > 0 ? NDJSON_RUN : end_of(ndjson, err);
}

struct ndjson *ndjson_open(const char *path, struct err *err)
{
    struct lines lines;

    if (!lines_open(&lines, path, LINE_MAX_BYTES, err))
        return NULL;
    struct ndjson *ndjson = NEW(struct ndjson);
    ndjson->lines = lines;
    ndjson->sum = hash_sum_new();
    return ndjson;
}

void ndjson_close(struct ndjson *ndjson)
{
    if (ndjson == NULL)
        return;
    lines_close(&ndjson->lines);
    hash_sum_free(ndjson->sum);
    buf_done(&ndjson->compact);
    buf_done(&ndjson->aggregate_type);
    buf_done(&ndjson->object);
    mem_free(ndjson);
}

const char *ndjson_name(const struct ndjson *ndjson)
{
    return ndjson->lines.name;
}

uint64_t ndjson_bytes(const struct ndjson *ndjson, uint64_t *total_out)
{
    *total_out = ndjson->lines.size;
    return ndjson->lines.bytes;
}
