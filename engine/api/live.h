#pragma once
/*
 * Live events: the log behind a cursor as server-sent events, for as long as
 * somebody listens.  What is written, without the indent:
 *
 *     retry: 2000                  once, with the cursor it begins at
 *     id: LOG_ID:16
 *
 *     id: LOG_ID:17                an event, on one line
 *     data: {"position":17,…}
 *
 *     : nothing new                a comment after 15 s of silence, and where
 *     id: LOG_ID:21                it stands: nobody is told of an `id` alone,
 *                                  but who comes back begins there
 *
 * There is no `event:`, because browsers hand events with one only to
 * listeners of that very name; the type is in the data.
 *
 * Events come through the feed, read once for everybody who is at about the
 * same place, and are filtered here.  A stream holds one page by reference
 * while it writes from it, and at most LIVE_CHUNK_BYTES and one event of text.
 * It belongs to the thread that runs it; time is given by the caller.
 */
#include "core/engine.h"

#define LIVE_RETRY_MS   2000
#define LIVE_SILENCE_MS 15000
/* A wait ends after this, so that whoever waits can look around. */
#define LIVE_WAIT_MS     1000
#define LIVE_CHUNK_BYTES ((size_t)64 << 10)

struct live;

/* Events behind `after` that the filter lets through; its texts are borrowed.
 * In the arena, and to be given to live_end. */
struct live *live_new(struct engine *engine, uint64_t after,
                      const struct event_filter *filter, struct arena *arena);
/* The first lines. */
void live_begin(struct live *live, uint64_t now_ms, struct buf *out);
/* Appends what is next: events, a sign of life when it is time, or nothing.
 * While the store is away there are signs of life only.  False when it cannot
 * go on. */
bool live_read(struct live *live, uint64_t now_ms, struct buf *out,
               struct err *err) MUST_USE;
/* Waits until there may be more, at most LIVE_WAIT_MS; not at all once
 * head_release was called. */
void live_wait(struct live *live);
/* The last lines: why it ends, and the cursor; gives back what it held. */
void live_end(struct live *live, const char *why, struct buf *out);
