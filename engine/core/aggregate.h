#pragma once
/*
 * History to state, command to events.
 *
 * Aggregates live in 16 slots by hash of their id.  A slot has one state (a
 * Lua world with every aggregate script loaded), a lock that guards it, and a
 * cache of folded states.  While an append is on its way the lock is free and
 * the aggregate has a leader, so commands on one aggregate queue in order of
 * arrival, to be decided together, while others of the slot go on.
 *
 *   repeat    with an `Idempotency-Key` that is stored: its answer, again
 *   load      the cached state, else a snapshot and what came behind it
 *   run       the script's command; `emit` applies what it emits
 *   append    with the expected version of the state
 *   keep      the state is the cache's new one; once something was applied to
 *             it that was not stored, it is dropped
 *
 * A version conflict without `If-Match` (another instance was faster) is tried
 * again from `load`, 5 times.
 *
 * Aggregates with `snapshot_every` leave snapshots behind a command's append,
 * and behind a read that had to fold much.
 */
#include "core/aggregate_fold.h"

struct aggregates;

/* Worlds of the slots are made at their first use; a reference to the scripts
 * is taken. */
struct aggregates *aggregates_new(const struct aggregates_options *options);
/* When no request is on its way any more; NULL is fine. */
void aggregates_free(struct aggregates *aggregates);
/* Forgets every state that no request is working on; changes no answer. */
void aggregates_forget(struct aggregates *aggregates);
/* How many requests work on that aggregate or wait for it. */
size_t aggregates_waiting(struct aggregates *aggregates, struct str type,
                          struct str id);

struct command_request {
    struct str aggregate_type;
    struct str aggregate_id; /* normalised */
    struct str command;
    struct str input;   /* a checked, compact JSON object */
    bool version_given; /* If-Match: a conflict is the answer */
    uint64_t version;
    struct str tenant_id, actor_id, correlation_id, causation_id, metadata;
    const struct append_key *key; /* NULL without an `Idempotency-Key` */
};

struct command_result { /* everything is in the caller's arena */
    uint64_t version;
    struct event *events; /* complete, as stored */
    size_t count;
    struct str state; /* JSON */
    bool idempotent;  /* the answer of an earlier request with this key */
};

/* Runs a command; any thread, blocks on the append.  ERR_NOT_FOUND for a type
 * or command that does not exist, ERR_IDEMPOTENCY for a key that stands for
 * another request; see vm_command_run and append_submit. */
bool aggregate_command(struct aggregates *aggregates,
                       const struct command_request *request,
                       struct arena *arena, struct command_result *out,
                       struct err *err) MUST_USE;

#define AGGREGATE_NOW UINT64_MAX

/* The folded state as JSON and its version, now or as it was at `at`.
 * ERR_NOT_FOUND when the stream does not exist or never had that version. */
bool aggregate_state(struct aggregates *aggregates, struct str type,
                     struct str id, uint64_t at, struct arena *arena,
                     uint64_t *version_out, struct str *state_out,
                     struct err *err) MUST_USE;
