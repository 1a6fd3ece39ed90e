#pragma once
/*
 * History to state, command to events.
 *
 * Aggregates live in 16 slots by hash of their id.  A slot has one state (a
 * Lua world with every aggregate script loaded), a lock that guards it, and a
 * small cache of folded states.  While a command's append is on its way the
 * lock is free and the aggregate is marked busy, so commands on one aggregate
 * queue in order of arrival while others of the slot go on.
 *
 *   load      the cached state, else the stream from its beginning
 *   run       the script's command; `emit` applies what it emits
 *   append    with the expected version of the state
 *   keep      the state is the cache's new one; after a refusal, an error or
 *             a conflict it is dropped
 *
 * A version conflict without `If-Match` (another instance was faster) is tried
 * again from `load`, 5 times.
 */
#include "core/append_queue.h"
#include "core/script_set.h"

struct aggregates;

struct aggregates_options {
    struct store *store; /* borrowed, as the next two */
    struct append_queue *queue;
    struct script_set *scripts;  /* a reference is taken */
    uint32_t command_timeout_ms; /* of one run or one page of apply */
    uint32_t append_timeout_ms;
};

/* Worlds of the slots are made at their first use. */
struct aggregates *aggregates_new(const struct aggregates_options *options);
/* When no request is on its way any more; NULL is fine. */
void aggregates_free(struct aggregates *aggregates);

struct command_request {
    struct str aggregate_type;
    struct str aggregate_id; /* normalised */
    struct str command;
    struct str input;   /* a checked, compact JSON object */
    bool version_given; /* If-Match: a conflict is the answer */
    uint64_t version;
    struct str tenant_id, actor_id, correlation_id, causation_id, metadata;
};

struct command_result { /* everything is in the caller's arena */
    uint64_t version;
    struct event *events; /* complete, as stored */
    size_t count;
    struct str state; /* JSON */
};

/* Runs a command; any thread, blocks on the append.  ERR_NOT_FOUND for a type
 * or command that does not exist; see vm_command_run and append_submit. */
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
