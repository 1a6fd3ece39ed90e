#pragma once
/*
 * Named points of failure, for tests that drive the real engine: built into
 * debug and sanitizer builds (PERIGEE_FAULTS), nothing at all in release
 * builds.
 *
 * PERIGEE_FAULT="commit.before:3,append.after_commit:1" arms points: the n-th
 * pass and only that one.  What happens there is the point's own business
 * (`exit` faults end the process at once, as SIGKILL would).
 */
#include "base/base.h"

#ifdef PERIGEE_FAULTS
/* True at the armed pass of the point `name`. */
bool fault_hit(const char *name);
/* Ends the process by SIGKILL at the armed pass. */
void fault_kill(const char *name);
#define FAULT(name)      fault_hit(name)
#define FAULT_KILL(name) fault_kill(name)
#else
#define FAULT(name)      false
#define FAULT_KILL(name) ((void)0)
#endif
