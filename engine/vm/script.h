#pragma once
/*
 * What a script declares, as plain C: filled when a script is loaded into a
 * state, checked there, and from then on read by the engine without asking
 * Lua again.  Everything is in the arena that was given to the loader.
 *
 * A script that declares something unknown, of the wrong type or out of range
 * fails to load with ERR_SCRIPT, "file:line: what, what was given, what is
 * allowed"; all faults that can be found in one load are in one text where it
 * fits.
 */
#include "base/event.h"
#include "base/value.h"
#include "vm/vm.h"

/* Words of command inputs. */
enum input_kind {
    INPUT_STRING,
    INPUT_NUMBER,
    INPUT_INTEGER,
    INPUT_BOOLEAN,
    INPUT_DECIMAL,
    INPUT_UUID,
    INPUT_DATE,
    INPUT_TIMESTAMP,
    INPUT_TABLE,
    INPUT_LIST,
};

struct input_decl {
    struct str name;
    enum input_kind kind;
    bool optional;
};

struct command_decl {
    struct str name;
    struct input_decl *inputs; /* by name */
    size_t input_count;
    bool any_input; /* no `input` declared: any object is taken */
};

struct upcast_decl {
    struct str event_type;
    uint32_t newest; /* the version that the chain leads to */
};

/* With the NUL. */
#define SHAPE_TEXT_SIZE 81

struct aggregate_decl {
    struct str type;
    struct str path;
    char hash[SHA256_TEXT_SIZE]; /* of script and modules */
    uint32_t snapshot_every;     /* events; 0: no snapshots */
    uint32_t state_version;      /* 0: not given */
    /* What its snapshots are valid for: `state_version:N` when one is given,
     * else `hash:` and the script's. */
    char shape[SHAPE_TEXT_SIZE];
    struct upcast_decl *upcasts; /* by event type */
    size_t upcast_count;
    struct command_decl *commands;
    size_t command_count;
    struct str *event_types; /* keys of `apply`: the events of this aggregate */
    size_t event_type_count;
};

/* Settings that a script may override so far; 0 or false in `given` means that
 * the script says nothing and the configuration holds. */
struct subscription_decl {
    uint32_t batch_size;
    uint32_t processing_timeout_ms;
    bool required_given;
    bool required;
    bool start_from_given;
    enum {
        START_CHECKPOINT,
        START_BEGINNING,
        START_END,
        START_POSITION
    } start_from;
    uint64_t start_position;
};

struct filter_decl { /* counts 0: any */
    struct str *event_types;
    size_t event_type_count;
    struct str *aggregate_types;
    size_t aggregate_type_count;
    struct str tenant_id; /* STR_NONE: any */
};

struct projection_decl {
    struct str name;
    struct str path;
    char hash[SHA256_TEXT_SIZE]; /* of script and modules */
    uint32_t version;
    struct subscription_decl subscription;
    struct filter_decl filter;
    struct table_def *tables; /* by name */
    size_t table_count;
    struct str definition; /* canonical JSON of the tables */
    struct str *handlers;  /* event types with a handler, by name */
    size_t handler_count;
    bool handles_any; /* on["*"] */
};

/* Loads the script into the state.  The returned number names it in calls;
 * -1 on failure (the state is broken then). */
int vm_load_aggregate(struct vm *vm, const struct source *source,
                      struct arena *arena, struct aggregate_decl *out,
                      struct err *err) MUST_USE;
int vm_load_projection(struct vm *vm, const struct source *source,
                       struct arena *arena, struct projection_decl *out,
                       struct err *err) MUST_USE;

/* Loads what a projection needs of an aggregate's script from its own tree:
 * the upcasts of its events.  Before or behind the projection. */
bool vm_load_upcasts(struct vm *vm, const struct source *source,
                     const struct source_tree *tree, struct err *err) MUST_USE;
/* Says that this aggregate has a script, without upcasts. */
bool vm_know_aggregate(struct vm *vm, struct str type,
                       struct err *err) MUST_USE;

/* The newest version that a script knows of an event type: 1 without upcasts.
 */
uint32_t script_newest(const struct aggregate_decl *decl,
                       struct str event_type) MUST_USE;

/* True when a projection's handlers want this event (filter and types). */
bool script_wants(const struct projection_decl *decl,
                  const struct event *event);
const char *input_word(enum input_kind kind);
