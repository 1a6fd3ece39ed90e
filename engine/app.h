#pragma once
/*
 * `perigee serve`: builds the parts in order, owns them, stops them.
 *
 *   log       as configured; the first line says what runs and from where
 *   loop      the main thread's: signals, the loop's own heartbeat
 *   engine    made, not yet open
 *   http      listens; probes answer from here on
 *   starter   a thread that opens the engine, again and again while the store
 *             is away
 *
 * and at a signal or POST /api/shutdown core/shutdown takes it all away again.
 */
#include "cli/cli.h"

/* Serves until it is told to stop.  The exit status: 0; 1 when it could not
 * start; 3 is given by _exit when the shutdown was forced. */
int app_serve(const struct config *config, const struct cli_program *program);
