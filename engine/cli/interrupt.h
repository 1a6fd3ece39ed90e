#pragma once
/*
 * SIGINT and SIGTERM during long work: noted, so that the work ends where it
 * can be gone on with.  A blocking read is broken off.  The second one ends the
 * process as ever.
 */
#include "base/err.h"

/* From now on; once a process. */
void interrupt_watch(void);
/* Whether one came. */
bool interrupted(void);
/* Fails when one came, for commands that go on where they were. */
bool interrupt_check(struct err *err) MUST_USE;
