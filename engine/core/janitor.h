#pragma once
/*
 * The thread that clears away what time has made worthless: keys of requests
 * that are older than a day, at its start and every ten minutes.
 *
 * It borrows connections and waits for turns as anybody does, for long when
 * the pool is exhausted: what has to be in time is the keeper's (core/keeper).
 */
#include "store/store.h"

#define JANITOR_EVERY_MS 600000

struct janitor;

/* Starts the thread; the store is borrowed and outlives it. */
struct janitor *janitor_start(struct store *store, uint32_t every_ms,
                              struct err *err) MUST_USE;
/* Waits for a round that is under way; NULL is fine. */
void janitor_stop(struct janitor *janitor);
