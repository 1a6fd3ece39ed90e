#pragma once
/*
 * The commands, one a file of this folder; cli.c puts them into the table.
 */
#include "cli/args.h"

/* Said the same way wherever it is taken. */
#define OPTION_URL                                                             \
    {                                                                          \
        "url", "URL", "ask the engine there, http://HOST:PORT"                 \
    }
#define OPTION_TOKEN                                                           \
    {                                                                          \
        "token-file", "FILE",                                                  \
            "with the token in it; else that of PERIGEE_TOKEN"                 \
    }
#define OPTION_JSON                                                            \
    {                                                                          \
        "json", NULL, "print records as JSON, one a line"                      \
    }

#define OPTION_KEY                                                             \
    {                                                                          \
        "idempotency-key", "KEY",                                              \
            "sent again with it, nothing is stored twice"                      \
    }

extern const struct cli_command cli_serve;
extern const struct cli_command cli_migrate;
extern const struct cli_command cli_check;
extern const struct cli_command cli_append;
extern const struct cli_command cli_events;
extern const struct cli_command cli_send;
extern const struct cli_command cli_state;
extern const struct cli_command cli_projections;
extern const struct cli_command cli_rows;
extern const struct cli_command cli_health;
extern const struct cli_command cli_doctor;
extern const struct cli_command cli_export;
extern const struct cli_command cli_import;
extern const struct cli_command cli_version;
extern const struct cli_command cli_help;
