#include "cli/cli.h"

#include "cli/commands.h"
#include "cli/setup.h"

#include <stdio.h>

/* clang-format off */
static const struct cli_command *const commands[] = {
    &cli_serve,   &cli_migrate, &cli_check, &cli_append, &cli_events,
    &cli_export,  &cli_import,  &cli_send, &cli_state, &cli_projections,
    &cli_rows,    &cli_health,  &cli_doctor,
    &cli_version, &cli_help,
};
/* clang-format on */

const struct cli_command *const *cli_commands(size_t *count_out)
{
    *count_out = COUNT(commands);
    return commands;
}

const struct cli_command *cli_find(const char *name)
{
    for (size_t i = 0; i < COUNT(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static int run_command(const struct cli_command *command, int argc, char **argv,
                       const struct cli_program *program)
{
    struct cli_args args;
    struct err err = {0};
    int status = CLI_DONE;

    if (!args_parse(&args, command, argc, argv, &err)) {
        fprintf(stderr, "perigee: %s (see `perigee help %s`)\n", err.text,
                command->name);
        status = CLI_WRONG_USAGE;
    } else if (args_has(&args, "help")) {
        args_help(command);
    } else {
        args.program = program;
        status = command->run(&args);
    }
    args_done(&args);
    return status;
}

/* A command's output that could not be written is a failed command. */
static int flushed(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "perigee: the output could not be written\n");
    return status == CLI_DONE ? CLI_FAILED : status;
}

int cli_main(int argc, char **argv, const struct cli_program *program)
{
    const char *name = argc > 1 ? argv[1] : "help";
    const struct cli_command *command;

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    command = cli_find(name);
    if (command == NULL) {
        fprintf(stderr,
                "perigee: there is no command \"%s\"; `perigee help` "
                "lists them\n",
                name);
        return CLI_WRONG_USAGE;
    }
    int rest = argc > 2 ? argc - 2 : 0;
    return flushed(run_command(command, rest, argv + argc - rest, program));
}
