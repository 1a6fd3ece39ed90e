#pragma once
/*
 * The body of an append: `{expected_version, events: [{event_type, data, …}]}`
 * to the request that the append queue takes.  Events come out complete but
 * for what the store gives them; ids that the producer did not give are made.
 */
#include "core/append_queue.h"
#include "core/script_set.h"

/* `out` names the stream already (its id normalised); the rest is filled, in
 * the arena and in slices of the body.  ERR_INVALID_INPUT with every field
 * that is wrong, ERR_DUPLICATE_EVENT for an id that is given twice. */
bool append_body_read(struct json body, const struct script_set *scripts,
                      struct arena *arena, struct append_request *out,
                      struct err *err) MUST_USE;
