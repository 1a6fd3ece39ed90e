#pragma once
/*
 * What is loaded: both source trees and the declarations of every script, as
 * one generation.  Immutable once it is built and counted by reference, so
 * that a reload can build the next one beside it.
 *
 * Building a set loads every script in a fresh state and checks it; all faults
 * are collected, not only the first: `perigee check` prints them all.
 */
#include "vm/script.h"

struct script_set_options {
    const char *aggregates; /* folders */
    const char *projections;
    size_t memory_bytes; /* of a state */
    bool any_events;     /* `apply` is not the list of an aggregate's events */
};

struct script_fault {
    const char *path;
    const char *text; /* file:line: message */
};

struct script_set {
    int refs; /* atomic */
    uint64_t generation;
    int64_t loaded_at_us;
    struct arena arena;
    struct source_tree *aggregate_tree;
    struct source_tree *projection_tree;
    struct aggregate_decl *aggregates; /* in the order of their files */
    const struct source **aggregate_sources;
    size_t aggregate_count;
    struct projection_decl *projections; /* likewise */
    const struct source **projection_sources;
    size_t projection_count;
    struct script_fault *faults;
    size_t fault_count;
    size_t memory_bytes;
    bool any_events;
    /* An aggregate script that could not be loaded although it speaks of
     * upcasts, or NULL: projections would see old shapes. */
    const char *upcasts_missing;
};

/* Never NULL; the set holds what could be loaded, and the faults. */
struct script_set *script_set_load(const struct script_set_options *options);
struct script_set *script_set_ref(struct script_set *set);
void script_set_unref(struct script_set *set);

/* The declaration of that type or name; NULL when no script has it. */
const struct aggregate_decl *script_set_aggregate(const struct script_set *set,
                                                  struct str type);
/* Likewise. */
const struct projection_decl *
script_set_projection(const struct script_set *set, struct str name);
/* ERR_INVALID_INPUT when the type has a script and its `apply` does not know
 * the event type; types without a script take any, and so does every type with
 * any_events. */
bool script_set_check_event(const struct script_set *set,
                            struct str aggregate_type, struct str event_type,
                            struct err *err) MUST_USE;
/* ERR_INVALID_INPUT when the type has a script that does not know this version
 * of the event: nobody could apply it. */
bool script_set_check_version(const struct script_set *set,
                              struct str aggregate_type, struct str event_type,
                              uint32_t event_version, struct err *err) MUST_USE;
/* Loads into a projection's state the upcasts of the events that it handles,
 * and which aggregates have a script.  ERR_SCRIPT also when a script with
 * upcasts is missing. */
bool script_set_load_upcasts(const struct script_set *set,
                             const struct projection_decl *decl, struct vm *vm,
                             struct err *err) MUST_USE;
