#pragma once
/*
 * Snapshots of a script that has changed, tried out.
 *
 * With an explicit `state_version` snapshots outlive a change of the script,
 * and its author says that the state's shape is the same.  At start some of
 * those that another script made are folded anew from their events and
 * compared; what differs is a WARNING that names the aggregate and the keys.
 * Nothing is changed: whoever wrote the script decides.
 *
 * One thread, which ends by itself; it reads the store and has a Lua world of
 * its own, so commands do not wait for it.
 */
#include "core/script_set.h"
#include "store/store.h"

/* Of each aggregate. */
#define SNAPSHOT_AUDIT_COUNT 20

struct snapshot_audit;

struct snapshot_audit_options {
    struct store *store;        /* borrowed */
    struct script_set *scripts; /* a reference is taken */
    uint32_t timeout_ms;        /* of one event's `apply` */
};

/* Starts the thread. */
struct snapshot_audit *
snapshot_audit_start(const struct snapshot_audit_options *options,
                     struct err *err) MUST_USE;
/* Ends it between two events at the latest; NULL is fine. */
void snapshot_audit_stop(struct snapshot_audit *audit);
