/*
 * Events page by page, each printed as it comes.  A cursor goes on behind the
 * last one seen: a position of the log, or a version of one stream.  Following
 * is listening to a running engine, else paging that does not stop at the end.
 */
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/interrupt.h"
#include "cli/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define PAGE_MAX     1000
#define LIMIT_NORMAL 100
#define POLL_NS      200000000L

struct reading {
    const struct cli_args *args;
    struct buf stream; /* its path, or empty: the whole log */
    uint64_t after;
    uint64_t left; /* events still wanted */
    bool at_end;
};

/* ---- asking ---- */

static void add_number(struct buf *target, const char *name, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    door_param(target, name, text);
}

static void write_target(const struct reading *reading, struct buf *target)
{
    const struct cli_args *args = reading->args;

    buf_clear(target);
    if (reading->stream.len > 0) {
        buf_str(target, buf_as_str(&reading->stream));
        add_number(target, "from", reading->after + 1);
    } else {
        buf_text(target, "/api/events");
        add_number(target, "after", reading->after);
        door_param(target, "event_type", args_value(args, "type"));
        door_param(target, "aggregate_type",
                   args_value(args, "aggregate-type"));
    }
    add_number(target, "limit", MIN(reading->left, PAGE_MAX));
}

/* ---- printing ---- */

static void add_text(struct buf *line, struct json event, const char *name)
{
    print_value(json_get(event, str_of(name)), line);
}

/* Columns have fixed widths, because nobody knows what comes next. */
static void print_event(struct json event)
{
    struct buf cell = {0}, line = {0};

    add_text(&cell, event, "position");
    buf_printf(&line, "%8s  ", cell.ptr);
    add_text(&line, event, "occurred_at");
    buf_clear(&cell);
    add_text(&cell, event, "aggregate_type");
    buf_char(&cell, '/');
    add_text(&cell, event, "aggregate_id");
    buf_printf(&line, "  %-24s ", cell.ptr);
    buf_clear(&cell);
    add_text(&cell, event, "aggregate_version");
    buf_printf(&line, "%4s  ", cell.ptr);
    buf_clear(&cell);
    add_text(&cell, event, "event_type");
    buf_printf(&line, "%-20s  ", cell.ptr);
    add_text(&line, event, "data");
    print_line(buf_as_str(&line));
    buf_done(&cell);
    buf_done(&line);
}

static void take_event(struct reading *reading, struct json event)
{
    const char *place =
        reading->stream.len > 0 ? "aggregate_version" : "position";

    if (!json_u64(json_get(event, str_of(place)), &reading->after))
        reading->after++;
    reading->left--;
    if (args_has(reading->args, "json"))
        print_line(event.raw);
    else
        print_event(event);
}

/* A filter may leave nothing of a page; `next` tells how far it looked. */
static void take_page(struct reading *reading, struct json page)
{
    struct json_in in = json_open(json_get(page, STR("events")));
    struct json next = json_get(page, STR("next"));
    struct json event;
    struct str key;
    uint64_t place;

    while (reading->left > 0 && json_next(&in, &key, &event))
        take_event(reading, event);
    reading->at_end = !json_u64(next, &place);
    if (!reading->at_end && reading->stream.len == 0 && reading->left > 0)
        reading->after = MAX(reading->after, place);
}

static void wait_for_more(void)
{
    struct timespec pause = {.tv_nsec = POLL_NS};

    fflush(stdout);
    nanosleep(&pause, NULL);
}

static bool read_on(struct door *door, struct reading *reading, struct err *err)
{
    bool follow = args_has(reading->args, "follow");
    struct buf target = {0}, answer = {0};
    bool ok = true;

    while (ok && reading->left > 0 && !interrupted()) {
        write_target(reading, &target);
        ok = door_call(door, "GET", target.ptr, STR_NONE, &answer, err);
        if (ok)
            take_page(reading, json_value(buf_as_str(&answer)));
        if (ok && reading->at_end && !follow)
            break;
        if (ok && reading->at_end && reading->left > 0)
            wait_for_more();
    }
    buf_done(&target);
    buf_done(&answer);
    return ok || interrupted();
}

static bool take_followed(void *arg, struct json event)
{
    struct reading *reading = arg;

    take_event(reading, event);
    return reading->left > 0;
}

static bool follow_engine(struct door *door, struct reading *reading,
                          struct err *err)
{
    const struct cli_args *args = reading->args;
    struct follow follow = {
        .door = door,
        .event_type = args_value(args, "type"),
        .aggregate_type = args_value(args, "aggregate-type"),
        .after = reading->after,
        .take = take_followed,
        .arg = reading,
    };

    return reading->left == 0 || follow_run(&follow, err);
}

/* A running engine tells what comes, but not of one stream alone; a store is
 * asked again and again. */
static bool print_events(struct door *door, struct reading *reading,
                         struct err *err)
{
    bool is_told = args_has(reading->args, "follow") &&
                   reading->stream.len == 0 && door_engine(door) == NULL;

    return is_told ? follow_engine(door, reading, err)
                   : read_on(door, reading, err);
}

/* ---- usage ---- */

static bool read_stream(struct reading *reading, struct err *err)
{
    const char *stream = args_value(reading->args, "stream");
    struct str id = str_of(stream);
    struct str type;

    if (stream == NULL)
        return true;
    if (args_has(reading->args, "type") ||
        args_has(reading->args, "aggregate-type"))
        return err_set(err, ERR_USAGE,
                       "--stream shows all of one stream; --type and "
                       "--aggregate-type do not go with it");
    type = str_cut(&id, '/');
    if (id.len == 0)
        return err_set(err, ERR_USAGE, "--stream needs TYPE/ID, not \"%s\"",
                       stream);
    struct buf name = {0};
    buf_str(&name, type);
    buf_text(&reading->stream, "/api/streams/");
    door_encode(&reading->stream, name.ptr);
    buf_char(&reading->stream, '/');
    door_encode(&reading->stream, id.ptr);
    buf_done(&name);
    return true;
}

static bool read_usage(struct reading *reading, struct err *err)
{
    const struct cli_args *args = reading->args;
    uint64_t normal = args_has(args, "follow") ? UINT64_MAX : LIMIT_NORMAL;

    return args_u64(args, "after", 0, &reading->after, err) &&
           args_u64(args, "limit", normal, &reading->left, err) &&
           read_stream(reading, err);
}

static int events(const struct cli_args *args)
{
    struct reading reading = {.args = args};
    struct err err = {0};
    struct door *door;
    bool ok;

    if (!read_usage(&reading, &err)) {
        buf_done(&reading.stream);
        return setup_fail(&err);
    }
    if (args_has(args, "follow"))
        interrupt_watch();
    door = door_open(args, &err);
    ok = door != NULL && print_events(door, &reading, &err);
    door_close(door);
    buf_done(&reading.stream);
    return ok ? CLI_DONE : door_fail(&err);
}

const struct cli_command cli_events = {
    .name = "events",
    .usage = "[--after N] [--limit N] [--follow] …",
    .summary = "Prints events in the order of the log, or those of one stream",
    .options =
        {
            {"after", "N", "behind this position (or version of the stream)"},
            {"limit", "N", "events at most, 100; with --follow no limit"},
            {"type", "EVENT_TYPE", "only events of this type"},
            {"aggregate-type", "TYPE", "only events of such aggregates"},
            {"stream", "TYPE/ID", "only that stream"},
            {"follow", NULL, "wait for more until interrupted"},
            OPTION_URL,
            OPTION_TOKEN,
            OPTION_JSON,
        },
    .run = events,
};
