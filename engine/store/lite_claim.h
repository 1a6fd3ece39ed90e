#pragma once
/*
 * Who serves a SQLite database: `PATH-lock` is locked by the engine that does,
 * and `PATH-address` tells where it listens.
 *
 * The lock is the truth, because the kernel gives it back whatever way the
 * engine dies; the address counts only while it stands under the lock.  Two
 * bytes are locked: the first means "claimed", the second, taken once the
 * address was written, "and the address is this one", so that nobody reads the
 * one a killed engine left.  Locks belong to the open file, hence asking does
 * not disturb a claim, and two stores in one process exclude each other too.
 */
#include "base/err.h"

struct lite_claim;

/* ERR_CONFLICT names who has it.  `path` is that of the database, which
 * exists.  `address` NULL: nothing listens, commands need not ask. */
struct lite_claim *lite_claim_take(const char *path, const char *address,
                                   struct err *err) MUST_USE;
/* Removes the address, then the lock (not its file: another engine may be
 * opening it).  NULL is fine. */
void lite_claim_give(struct lite_claim *claim);
