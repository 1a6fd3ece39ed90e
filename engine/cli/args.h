#pragma once
/*
 * The words and options of one call, checked against the command's table.
 * Texts are those of argv.  `--name value`, `--name=value` and, after `--`,
 * words that begin with dashes are understood.
 */
#include "cli/cli.h"

struct cli_args {
    const struct cli_command *command;
    const struct cli_program *program;
    const char **words; /* that are no options, in order */
    size_t word_count;
    /* in the order of argv; a repeated option counts with its last value */
    struct {
        const struct cli_option *option;
        const char *value; /* "" for a flag */
    } given[2 * CLI_MAX_OPTIONS];
    size_t given_count;
};

/* `argv` begins behind the command's name.  ERR_USAGE says what is wrong. */
bool args_parse(struct cli_args *args, const struct cli_command *command,
                int argc, char **argv, struct err *err) MUST_USE;
void args_done(struct cli_args *args);

/* The value of an option, or NULL when it was not given. */
const char *args_value(const struct cli_args *args, const char *name);
bool args_has(const struct cli_args *args, const char *name);
/* A whole number from an option, or `fallback`.  ERR_USAGE names it. */
bool args_u64(const struct cli_args *args, const char *name, uint64_t fallback,
              uint64_t *out, struct err *err) MUST_USE;

/* Prints the command's help on stdout. */
void args_help(const struct cli_command *command);
