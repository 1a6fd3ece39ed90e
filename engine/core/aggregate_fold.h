#pragma once
/*
 * History to state: one request's work on one stream.
 *
 * A fold begins from what is cached, else from the newest snapshot of the
 * right shape, else from `initial`, and applies what the stream has behind it.
 * Pages are read without the slot's lock and applied under it.
 *
 * What is cached is never believed blindly.  A fold that goes on from it reads
 * its last event again, and starts over unless it is the same: a failover may
 * have put another one there.  A snapshot is saved only while its last event
 * stands in the log, and lives and dies with it, so it needs no such look; one
 * that cannot be restored is left aside with a warning.
 */
#include "core/aggregate_slot.h"
#include "core/append_queue.h"
#include "core/snapshots.h"

struct aggregates_options {
    struct store *store; /* borrowed, as the next three */
    struct append_queue *queue;
    struct snapshots *snapshots; /* NULL: none are saved */
    struct script_set *scripts;
    uint32_t command_timeout_ms; /* of one run or one page of apply */
    uint32_t append_timeout_ms;
    size_t slot_cache; /* states that each slot keeps; 0: SLOT_CACHE */
};

struct fold {
    const struct aggregates_options *options;
    struct aggregate_slot *slot;
    const struct aggregate_decl *decl;
    size_t script; /* its place in the set */
    struct str id;
    struct folded *folded; /* of the claimed entry, or a past state */
};

/* The script's number in the slot's world; under the lock. */
int fold_script(const struct fold *fold);
/* Whether there is a state that may be gone on from. */
bool fold_is_cached(const struct fold *fold);
/* Folds up to `until` or the stream's end, which has been read then. */
bool fold_to(const struct fold *fold, uint64_t until, struct err *err) MUST_USE;
/* Whether what `base` says is the stream's end now: nothing stands behind its
 * last event, which is still there.  False also where it is not certain. */
bool fold_is_end(const struct fold *fold, const struct folded *base,
                 bool *end_out, struct err *err) MUST_USE;
/* Forgets the state. */
void fold_drop(const struct fold *fold);

/* The state as JSON; under the lock. */
bool fold_encode(const struct fold *fold, struct vm *vm, struct arena *arena,
                 struct str *out, struct err *err) MUST_USE;
/* Folds and encodes: what fold_to says, version and state as JSON. */
bool fold_read(const struct fold *fold, uint64_t until, struct arena *arena,
               uint64_t *version_out, struct str *state_out,
               struct err *err) MUST_USE;
/* Another command of the slot broke the Lua world, and this state with it:
 * ERR_OVERLOADED, always false. */
bool fold_lost(struct err *err);
/* Offers a snapshot when the version has passed a multiple of
 * `snapshot_every` since the last one: for a state that is stored, whole. */
void fold_offer_snapshot(const struct fold *fold);
