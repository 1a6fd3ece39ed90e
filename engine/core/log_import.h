#pragma once
/*
 * Events of another log into this one, as they were: positions, versions, ids
 * and times of recording are kept.
 *
 * A log takes them where it ends.  Events that are there already must be the
 * same, every field of them, so an import that was broken off is simply begun
 * again.  The rest is stored in batches, each in one transaction under the
 * log's lock; a batch goes in only if the log still ends with the event before
 * it, so whoever appends meanwhile ends the import, and nothing is mixed.
 *
 * What is checked here is what a log must be: positions without a gap, the
 * versions of each stream without a gap, no id twice.  That each event is well
 * formed is the caller's to know.  One thread.
 */
#include "base/event.h"
#include "store/store.h"

struct log_import;

struct log_import_totals {
    uint64_t stored;
    uint64_t already_there;
};

/* Begins behind `after`, which the log must have reached: ERR_CONFLICT.  The
 * store is borrowed. */
struct log_import *log_import_open(struct store *store, uint64_t after,
                                   struct err *err) MUST_USE;
/* The next event; its texts are copied.  False: the import has ended, and
 * log_import_fault tells which event is at fault. */
bool log_import_add(struct log_import *import, const struct event *event,
                    struct err *err) MUST_USE;
/* Stores what is still held. */
bool log_import_finish(struct log_import *import, struct err *err) MUST_USE;
/* What is in the log by now. */
const struct log_import_totals *
log_import_totals(const struct log_import *import);
/* Which of the events that were added is at fault, from 1, or 0 when it is no
 * single one. */
uint64_t log_import_fault(const struct log_import *import);
/* What is still held is dropped; NULL is fine. */
void log_import_close(struct log_import *import);
