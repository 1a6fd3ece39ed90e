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

enum cli_exit { CLI_DONE, CLI_FAILED, CLI_WRONG_USAGE, CLI_FORCED };

struct cli_option {
    const char *name;  /* without its dashes */
    const char *value; /* what stands behind it, for help; NULL: a flag */
    const char *meaning;
};

#define CLI_MAX_OPTIONS 12
#define CLI_ANY_WORDS   SIZE_MAX

struct cli_command {
    const char *name;
    const char *usage;   /* behind the name */
    const char *summary; /* one line for `perigee help` */
    const char *help;    /* what the options do not say, examples */
    size_t min_words;
    size_t max_words;
    int (*run)(const struct cli_args *args);
    struct cli_option options[CLI_MAX_OPTIONS]; /* until a NULL name; --config
                                                   and --help are understood
                                                   by every command */
};

/* What the program is made of beyond this layer: filled in by main.c. */
struct cli_program {
    const char *version;
    const char *commit;
    const char *http_library; /* name and version */
    int (*serve)(const struct config *config,
                 const struct cli_program *program);
};

/* The table, in the order of `perigee help`. */
const struct cli_command *const *cli_commands(size_t *count_out);
/* NULL when there is none of that name. */
const struct cli_command *cli_find(const char *name);
/* Finds, parses and runs; the exit status. */
int cli_main(int argc, char **argv, const struct cli_program *program);
