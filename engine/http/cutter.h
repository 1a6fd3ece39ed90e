#pragma once
/*
 * Deadlines for connections.  civetweb waits for a client's next byte, however
 * many have come so slowly before, so whoever sends or takes a byte every few
 * seconds could hold a thread for hours.  The cutter is a thread that looks at
 * the watched connections once a second and shuts those down that are overdue:
 * the read or write under way then ends at once, as if the client had gone.
 *
 * As long as a connection is watched its own thread is busy with it and cannot
 * close it, so the socket that http/peer.h finds is the one that was meant.
 */
#include "base/err.h"
#include "base/list.h"
#include "http/peer.h"

enum cut_what {
    CUT_READING, /* an answer can still be sent */
    CUT_BOTH,
};

/* In the memory of whoever watches, from cutter_watch to cutter_forget. */
struct cut {
    struct list in_watch;
    enum cut_what what;
    uint64_t at_ms; /* of clock_ms() */
    struct peer peer;
};

struct cutter;

/* Starts the thread. */
struct cutter *cutter_new(struct err *err) MUST_USE;
/* When nothing is watched any more; NULL is fine. */
void cutter_free(struct cutter *cutter);

/* The rest of `cut` is filled; any thread, never blocks. */
void cutter_watch(struct cutter *cutter, struct cut *cut);
/* Afterwards the connection is left alone. */
void cutter_forget(struct cutter *cutter, struct cut *cut);
