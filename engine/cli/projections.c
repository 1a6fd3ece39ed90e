#include "base/clock.h"
#include "cli/commands.h"
#include "cli/door.h"
#include "cli/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define POLL_NS 100000000L

/* clang-format off */
static const struct {
    const char *title;
    const char *member;
} columns[] = {
    {"projection", "name"},
    {"state",      "state"},
    {"position",   "position"},
    {"lag",        "lag_events"},
    {"events/s",   "events_per_second"},
    {"errors",     "events_failed"},
    {"script",     "script_version"},
};
/* clang-format on */

/* Two decimals are enough for people. */
static void add_cell(struct print_table *table, struct json value)
{
    char text[32];
    double number;
    bool is_fraction = value.kind == JSON_NUMBER &&
                       memchr(value.raw.ptr, '.', value.raw.len) != NULL &&
                       json_double(value, &number);

    if (!is_fraction) {
        print_json_cell(table, value);
        return;
    }
    snprintf(text, sizeof(text), "%.1f", number);
    print_cell(table, str_of(text));
}

static void print_projections(struct json projections)
{
    struct arena arena = {0};
    struct print_table table = {.arena = &arena, .columns = COUNT(columns)};
    struct json_in in = json_open(projections);
    struct json row;
    struct str key;

    for (size_t i = 0; i < COUNT(columns); i++)
        print_cell(&table, str_of(columns[i].title));
    while (json_next(&in, &key, &row)) {
        for (size_t i = 0; i < COUNT(columns); i++)
            add_cell(&table, json_get(row, str_of(columns[i].member)));
    }
    print_table(&table);
    arena_done(&arena);
}

/* What went wrong stands below the table, where it has room. */
static void print_errors(struct json projections)
{
    struct json_in in = json_open(projections);
    struct json row;
    struct str key;

    while (json_next(&in, &key, &row)) {
        struct json error = json_get(row, STR("last_error"));
        struct buf text = {0};

        if (error.kind == JSON_STRING) {
            print_value(json_get(row, STR("name")), &text);
            buf_text(&text, ": ");
            print_value(error, &text);
            print_line(buf_as_str(&text));
        }
        buf_done(&text);
    }
}

static struct json rows_of(const struct buf *answer)
{
    return json_get(json_value(buf_as_str(answer)), STR("projections"));
}

static void show(const struct cli_args *args, struct json rows)
{
    if (args_has(args, "json")) {
        print_json_lines(rows);
        return;
    }
    print_projections(rows);
    print_errors(rows);
}

static bool ask(struct door *door, struct buf *answer, struct err *err)
{
    return door_call(door, "GET", "/api/projections", STR_NONE, answer, err);
}

/* ---- waiting until they are at the head ---- */

static bool is_state(struct json row, const char *name)
{
    struct buf text = {0};
    bool same;

    print_value(json_get(row, STR("state")), &text);
    same = str_eq(buf_as_str(&text), str_of(name));
    buf_done(&text);
    return same;
}

/* One in error will not get there: that is the end of waiting as well. */
static bool is_settled(struct json rows)
{
    struct json_in in = json_open(rows);
    struct json row;
    struct str key;

    while (json_next(&in, &key, &row)) {
        uint64_t lag;

        if (is_state(row, "error"))
            return true;
        if (!json_u64(json_get(row, STR("lag_events")), &lag) || lag > 0)
            return false;
    }
    return true;
}

static bool is_any_in_error(struct json rows)
{
    struct json_in in = json_open(rows);
    struct json row;
    struct str key;

    while (json_next(&in, &key, &row))
        if (is_state(row, "error"))
            return true;
    return false;
}

/* Asks until every projection is at the head.  An engine that does not answer
 * yet is being started, so that is waited for too. */
static bool wait_for_head(struct door *door, uint64_t seconds,
                          struct buf *answer, struct err *err)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    uint64_t deadline_ms = clock_ms() + seconds * 1000;

    for (;;) {
        bool ok = ask(door, answer, err);

        if (ok && is_settled(rows_of(answer)))
            return !is_any_in_error(rows_of(answer)) ||
                   err_set(err, ERR_SCRIPT, "a projection is in error");
        if (!ok && !err_may_retry(err->code))
            return false;
        if (clock_ms() >= deadline_ms)
            return ok ? err_set(err, ERR_STORE,
                                "not at the head after %" PRIu64 " s", seconds)
                      : false;
        nanosleep(&pause, NULL);
    }
}

static bool run(struct door *door, const struct cli_args *args, struct err *err)
{
    struct buf answer = {0};
    uint64_t seconds;
    bool ok = args_u64(args, "wait", 0, &seconds, err);

    if (ok && args_has(args, "wait"))
        ok = wait_for_head(door, seconds, &answer, err);
    else if (ok)
        ok = ask(door, &answer, err);
    if (answer.len > 0 && (ok || err->code == ERR_SCRIPT))
        show(args, rows_of(&answer));
    buf_done(&answer);
    return ok;
}

static int projections(const struct cli_args *args)
{
    struct err err = {0};
    struct door *door = door_open(args, &err);
    bool ok = door != NULL && run(door, args, &err);

    door_close(door);
    return ok ? CLI_DONE : door_fail(&err);
}

const struct cli_command cli_projections = {
    .name = "projections",
    .usage = "",
    .summary = "Lists projections: state, position, lag, speed, errors",
    .help =
        "Without a running engine the positions are those in the store.\n"
        "With --wait the list comes once all of them are at the head of\n"
        "the log; exit status 1 when the time is over or one is in error.\n",
    .options = {OPTION_URL,
                OPTION_TOKEN,
                OPTION_JSON,
                {"wait", "SECONDS", "until every projection is at the head"}},
    .run = projections,
};
