#include "cli/commands.h"
#include "cli/door.h"
#include "cli/print.h"

#include <stdio.h>

static void print_events(struct json events)
{
    struct arena arena = {0};
    struct print_table table = {.arena = &arena, .columns = 4};
    struct json_in in = json_open(events);
    struct json event;
    struct str key;

    while (json_next(&in, &key, &event)) {
        print_json_cell(&table, json_get(event, STR("position")));
        print_json_cell(&table, json_get(event, STR("aggregate_version")));
        print_json_cell(&table, json_get(event, STR("event_type")));
        print_json_cell(&table, json_get(event, STR("data")));
    }
    for (size_t i = 0; i < table.cell_count; i += table.columns)
        printf("  position %.*s, version %.*s: %.*s %.*s\n",
               STR_ARG(table.cells[i]), STR_ARG(table.cells[i + 1]),
               STR_ARG(table.cells[i + 2]), STR_ARG(table.cells[i + 3]));
    arena_done(&arena);
}

static void print_result(const struct cli_args *args, struct json result)
{
    struct buf version = {0};

    print_value(json_get(result, STR("version")), &version);
    printf("%s/%s is at version %s\n", args->words[0], args->words[1],
           version.ptr);
    print_events(json_get(result, STR("events")));
    printf("state:\n");
    print_members(json_get(result, STR("state")));
    buf_done(&version);
}

static bool send_command(struct door *door, const struct cli_args *args,
                         struct err *err)
{
    const char *input = args->word_count > 3 ? args->words[3] : "{}";
    struct buf target = {0}, answer = {0};

    buf_text(&target, "/api/aggregates");
    for (size_t i = 0; i < 3; i++) {
        buf_char(&target, '/');
        door_encode(&target, args->words[i]);
    }
    bool ok = door_set_key(door, args_value(args, "idempotency-key"), err) &&
              door_call(door, "POST", target.ptr, str_of(input), &answer, err);
    if (ok && args_has(args, "json"))
        print_line(buf_as_str(&answer));
    else if (ok)
        print_result(args, json_value(buf_as_str(&answer)));
    buf_done(&target);
    buf_done(&answer);
    return ok;
}

static int send_main(const struct cli_args *args)
{
    struct err err = {0};
    struct door *door = door_open(args, &err);
    bool ok = door != NULL && send_command(door, args, &err);

    door_close(door);
    return ok ? CLI_DONE : door_fail(&err);
}

const struct cli_command cli_send = {
    .name = "send",
    .usage = "TYPE ID COMMAND [JSON]",
    .summary = "Runs an aggregate's command and stores what it emits",
    .help = "  perigee send Order 42 ship '{\"tracking_number\": \"T1\"}'\n",
    .min_words = 3,
    .max_words = 4,
    .options = {OPTION_KEY, OPTION_URL, OPTION_TOKEN, OPTION_JSON},
    .run = send_main,
};
