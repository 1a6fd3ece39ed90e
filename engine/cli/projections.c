#include "cli/commands.h"
#include "cli/door.h"
#include "cli/print.h"

#include <stdio.h>

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

static bool show(struct door *door, const struct cli_args *args,
                 struct err *err)
{
    struct buf answer = {0};
    bool ok =
        door_call(door, "GET", "/api/projections", STR_NONE, &answer, err);

    if (ok) {
        struct json rows =
            json_get(json_value(buf_as_str(&answer)), STR("projections"));
        if (args_has(args, "json")) {
            print_json_lines(rows);
        } else {
            print_projections(rows);
            print_errors(rows);
        }
    }
    buf_done(&answer);
    return ok;
}

static int projections(const struct cli_args *args)
{
    struct err err = {0};
    struct door *door = door_open(args, &err);
    bool ok = door != NULL && show(door, args, &err);

    door_close(door);
    return ok ? CLI_DONE : door_fail(&err);
}

const struct cli_command cli_projections = {
    .name = "projections",
    .usage = "",
    .summary = "Lists projections: state, position, lag, speed, errors",
    .help = "Without a running engine the positions are those in the store.\n",
    .options = {OPTION_URL, OPTION_JSON},
    .run = projections,
};
