#pragma once
/*
 * One of the 16 places where aggregates live: a Lua world with every aggregate
 * script loaded, the lock that guards it, and a small cache of folded states.
 *
 * An aggregate in use has a leader: those who want it queue up in order of
 * arrival, and the first of them leads.  A leader may take those behind it
 * along and do their work with its own (core/aggregate_lead); others of the
 * slot go on meanwhile.  It may work on the entry without the lock; the Lua
 * world needs the lock, always.
 *
 * A world that broke (deadline, memory) is replaced by the next use, and every
 * state in it is gone: what has another `world` than the slot has no state.
 */
#include "base/list.h"
#include "core/script_set.h"
#include "run/thread.h"
#include "vm/vm_aggregate.h"

#define SLOT_CACHE        1024 /* states kept, unless memory says otherwise */
#define SLOT_BUCKETS      256
#define SLOT_MAX_TOGETHER 64

/* A state and what it was folded from.  Belongs to one thread at a time; the
 * state itself needs the lock of the slot whose world it lives in. */
struct folded {
    uint64_t world; /* in which `state` lives; 0: no state */
    int state;
    uint64_t version;    /* of the last event in it */
    struct uuid last_id; /* of that event; nil when it was not read */
    uint64_t lineage;    /* of the log when the fold began */
    uint64_t snapshot;   /* version of the newest snapshot known of; or 0 */
};
#define NOT_FOLDED ((struct folded){.state = -1})

/* A place in the queue of an aggregate, in the memory of whoever waits. */
struct turn {
    /* --- set before it waits --- */
    bool joins;  /* may be taken together with those before it */
    bool closes; /* and none behind it with it */
    /* --- under the slot's lock --- */
    struct list link; /* in entry->waiting */
    bool done;        /* by itself or by another leader */
};

struct aggregate_entry {
    struct list link;   /* in slot->entries, least recently used first */
    struct list bucket; /* in slot->buckets */
    size_t script;      /* place in script_set.aggregates */
    struct str id;      /* behind the struct */
    /* --- under the slot's lock --- */
    struct list waiting; /* turns, in order of arrival */
    bool led;
    /* --- the leader --- */
    struct folded folded;
};

struct aggregate_slot {
    struct lock lock;
    struct signal released;
    /* --- under lock --- */
    struct script_set *scripts; /* borrowed from aggregates */
    struct vm *vm;
    uint64_t world;     /* counts the states made; 0: none yet */
    int *script_number; /* of each aggregate in `vm` */
    struct arena arena; /* declarations of this world: not used, only owned */
    struct list entries;
    struct list buckets[SLOT_BUCKETS]; /* by hash of the id */
    size_t entry_count;
    size_t cache; /* entries kept; SLOT_CACHE, but for tests */
};

/* In the caller's memory; `scripts` must outlive it. */
void slot_init(struct aggregate_slot *slot, struct script_set *scripts);
/* Nobody may hold a claim. */
void slot_done(struct aggregate_slot *slot);

/* Waits until the caller leads (the entry stays until slot_release), or until
 * its turn was done by another leader: NULL. */
struct aggregate_entry *slot_claim(struct aggregate_slot *slot, size_t script,
                                   struct str id, struct turn *turn);
/* How many turns are not done yet. */
size_t slot_waiting(struct aggregate_slot *slot, size_t script, struct str id);
/* The leader: those at the front that may be taken together, its own first. */
size_t slot_gather(struct aggregate_slot *slot, struct aggregate_entry *entry,
                   struct turn *turns[SLOT_MAX_TOGETHER]);
/* The leader: this turn is done, whoever waits for that may go. */
void slot_finish(struct aggregate_slot *slot, struct turn *turn);
/* The leader, its own turn done: the next one leads. */
void slot_release(struct aggregate_slot *slot, struct aggregate_entry *entry);

/* Takes the lock with a Lua world that works; NULL (and no lock) on failure. */
struct vm *slot_enter(struct aggregate_slot *slot, struct err *err)
    TSA(no_thread_safety_analysis);
void slot_leave(struct aggregate_slot *slot) TSA(no_thread_safety_analysis);

/* Under the lock. */
bool slot_has_state(const struct aggregate_slot *slot,
                    const struct folded *folded);
/* Forgets the state and all that was known of it. */
void slot_drop_state(struct aggregate_slot *slot, struct folded *folded);
/* Forgets every state that nobody has claimed. */
void slot_forget(struct aggregate_slot *slot);
