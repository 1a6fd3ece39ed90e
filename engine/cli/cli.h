#pragma once
/*
 * The command line: one table of commands, each with its options, usage and
 * function; one file a command.  Commands that work on the log or the read
 * models speak to an engine through a door (cli/door.h): a running one over
 * HTTP, or one opened in this process; they make the same API requests either
 * way.
 *
 * Exit status: 0 done, 1 the operation failed, 2 wrong usage or configuration,
 * 3 a forced shutdown.  Errors are one line on stderr, "perigee: …".
 */
#include "config.h"

struct cli_args; /* cli/args.h: parsed options and words */

struct cli_command {
    const char *name;
    const char *usage;   /* behind the name */
    const char *summary; /* one line for `perigee help` */
    const char *help;    /* options and examples */
    int (*run)(const struct cli_args *args);
};

const struct cli_command *cli_commands(size_t *count_out);
/* Finds, parses and runs; the exit status. */
int cli_main(int argc, char **argv);
