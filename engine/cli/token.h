#pragma once
/*
 * The token that a command shows to a running engine: from --token-file, else
 * from the variable PERIGEE_TOKEN.  There is no option for the token itself:
 * every user of the machine sees the words of a command.
 */
#include "base/buf.h"
#include "cli/args.h"

/* `out` stays empty when none was given.  ERR_USAGE says what is wrong with a
 * file or a text, never the text. */
bool token_find(const struct cli_args *args, struct buf *out,
                struct err *err) MUST_USE;
