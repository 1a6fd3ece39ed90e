#pragma once
/*
 * Snapshots on their way to the store: a small thread with a bounded mailbox.
 *
 * A snapshot is a cache, so its writing never delays or fails the command that
 * made it.  Those that wait together are saved in one transaction, of one
 * stream only the newest; when the mailbox is full, or the store refuses, they
 * are dropped, and the stream's next one comes some events later.  Between two
 * transactions there is a pause: on SQLite each one takes the turn of appends.
 */
#include "store/store.h"

#define SNAPSHOTS_MAX_WAITING 1000
#define SNAPSHOTS_MAX_BYTES   (32u << 20) /* of states */

struct snapshots;

/* Starts the thread; the store is borrowed and outlives it. */
struct snapshots *snapshots_start(struct store *store,
                                  struct err *err) MUST_USE;
/* Saves what waits, unless `deadline_us` is over by then, and ends; NULL is
 * fine. */
void snapshots_stop(struct snapshots *snapshots, uint64_t deadline_us);

/* Takes a copy.  Any thread; never waits for the store. */
void snapshots_offer(struct snapshots *snapshots,
                     const struct snapshot *snapshot);
