#pragma once
/*
 * Shared reading of the log.
 *
 * Positions are contiguous, so the log falls into blocks of FEED_BLOCK
 * positions.  A full block never changes: the latest ones are kept, immutable
 * and counted by reference, and ten projections at about the same place cost
 * one read.  The block at the head is read on from where it was, never kept
 * half.  Any thread; the lock guards the index of blocks and is never held
 * while the store is read.
 */
#include "base/event.h"
#include "core/head.h"
#include "store/store.h"

#define FEED_BLOCK 1000

struct feed;

/* Keeps the last `keep_blocks` blocks that were read; the store is borrowed. */
struct feed *feed_new(struct store *store, size_t keep_blocks);
void feed_free(struct feed *feed);

/* Events after `after`, at least one when there is one, at most `limit`; a page
 * the caller unrefs, and the range of its events that was asked for.  An empty
 * range means that `after` is the head. */
bool feed_read(struct feed *feed, uint64_t after, uint32_t limit,
               struct event_page **page_out, size_t *first_out,
               size_t *count_out, struct err *err) MUST_USE;

/* Forgets every block: the log turned out not to be the one that was read (a
 * batch was fenced off), and positions may hold other events now. */
void feed_forget(struct feed *feed);
