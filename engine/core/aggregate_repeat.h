#pragma once
/*
 * Requests with an `Idempotency-Key` that come again: what is stored of them,
 * and what their first answer said.
 *
 * The store keeps whose key it is, a hash of what was asked, and where its
 * events stand; the log has the rest, so any engine can give the answer.
 */
#include "core/append_queue.h"

/* What is stored for that key.  ERR_IDEMPOTENCY when it stands for another
 * request than `key->hash`. */
bool repeat_find(struct store *store, const struct append_key *key,
                 struct arena *arena, struct request_mark *out, bool *found_out,
                 struct err *err) MUST_USE;
/* The mark's events, complete, in the arena. */
bool repeat_events(struct store *store, struct str aggregate_type,
                   struct str aggregate_id, const struct request_mark *mark,
                   struct arena *arena, struct event **events_out,
                   struct err *err) MUST_USE;
