#pragma once
/*
 * The `Idempotency-Key` of a request: whose it is, and a hash of what is asked
 * for, so that the same key on another request is noticed.
 *
 * Who asks and in which correlation is not part of the hash: a client that
 * tries again may do so under another trace.
 */
#include "api/api.h"
#include "core/append_queue.h"

/* False without the header.  `parts` are what the request is: its kind, its
 * stream, what it wants; texts of `out` are borrowed from the request. */
bool idempotency_key(const struct api_request *request, const struct str *parts,
                     size_t count, struct append_key *out);
