#include "cli/commands.h"
#include "cli/door.h"
#include "cli/print.h"

#include <stdio.h>

static void print_state(const struct cli_args *args, struct json result)
{
    struct buf version = {0};

    print_value(json_get(result, STR("version")), &version);
    printf("%s/%s at version %s\n", args->words[0], args->words[1],
           version.ptr);
    print_members(json_get(result, STR("state")));
    buf_done(&version);
}

static bool show_state(struct door *door, const struct cli_args *args,
                       struct err *err)
{
    struct buf target = {0}, answer = {0};

    buf_text(&target, "/api/aggregates/");
    door_encode(&target, args->words[0]);
    buf_char(&target, '/');
    door_encode(&target, args->words[1]);
    door_param(&target, "at", args_value(args, "at"));
    bool ok = door_call(door, "GET", target.ptr, STR_NONE, &answer, err);
    if (ok && args_has(args, "json"))
        print_line(buf_as_str(&answer));
    else if (ok)
        print_state(args, json_value(buf_as_str(&answer)));
    buf_done(&target);
    buf_done(&answer);
    return ok;
}

static int state(const struct cli_args *args)
{
    struct err err = {0};
    uint64_t at;

    if (!args_u64(args, "at", 0, &at, &err))
        return setup_fail(&err);
    struct door *door = door_open(args, &err);
    bool ok = door != NULL && show_state(door, args, &err);
    door_close(door);
    return ok ? CLI_DONE : door_fail(&err);
}

const struct cli_command cli_state = {
    .name = "state",
    .usage = "TYPE ID [--at VERSION]",
    .summary = "Folds an aggregate's events and prints its state",
    .min_words = 2,
    .max_words = 2,
    .options =
        {
            {"at", "VERSION", "the state as it was at that version"},
            OPTION_URL,
            OPTION_TOKEN,
            OPTION_JSON,
        },
    .run = state,
};
