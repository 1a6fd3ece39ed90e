#pragma once
/*
 * From settings to the options of the parts.  Together with app.c the only
 * place that reads `struct config`: each part gets options of its own.
 */
#include "cli/args.h"
#include "core/engine.h"

/* Reads the configuration that --config and `overrides` say.  Prints every
 * fault on stderr, one a line; false then.  `config` is to be given to
 * config_done in every case. */
bool setup_config(const struct cli_args *args,
                  const struct setting_override *overrides, size_t count,
                  struct config *config) MUST_USE;
/* Texts of the options are the configuration's. */
void setup_engine_options(const struct config *config,
                          struct engine_options *out);
void setup_script_options(const struct config *config,
                          struct script_set_options *out);
/* The log of a command: warnings, as text, on stderr. */
void setup_command_log(void);
/* The log of `serve`, as the configuration says, on stdout. */
void setup_server_log(const struct config *config);

/* Prints `perigee: text` and gives the exit status that belongs to the code. */
int setup_fail(const struct err *err);
