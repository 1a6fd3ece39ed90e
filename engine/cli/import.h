#pragma once
/*
 * Runs of a file into the log, in the order of the file.
 *
 *   in process   runs are posted far ahead and answered by group commit; they
 *                share a chain (core/append_queue.h), so that nothing behind a
 *                run that fails is stored before that run is settled
 *   elsewhere    one request a run, one after the other
 *
 * A run may be stored already, whole or in part, because the same file was
 * imported before, perhaps when it was shorter.  Whole runs are answered as
 * repetitions.  Of one that is there in part the stored beginning is found by
 * appends that cannot succeed unless they are repetitions (their expected
 * version is impossible), and the rest is sent.  Anything else that is there
 * already is a fault: of the file, or of another one with the same ids.
 */
#include "cli/door.h"
#include "cli/ndjson.h"

struct import_totals {
    uint64_t appended;       /* events */
    uint64_t already_stored; /* events */
    uint64_t new_streams;
};

struct import;

/* `door` is borrowed; `name` is the file's, for messages. */
struct import *import_new(struct door *door, const char *name);
/* Not before import_finish, unless the process is to end. */
void import_free(struct import *import);

/* An empty run to fill, or NULL when an earlier one failed: "file:line: what",
 * with everything before that line stored. */
struct run *import_next(struct import *import, struct err *err) MUST_USE;
/* Sends the run that import_next gave. */
bool import_send(struct import *import, struct err *err) MUST_USE;
/* Waits until everything that was sent is stored. */
bool import_finish(struct import *import, struct err *err) MUST_USE;

/* What is known to be stored by now. */
const struct import_totals *import_totals(const struct import *import);
