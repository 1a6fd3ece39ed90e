#include "core/script_set.h"

/*
 * Life of the data.  Both trees are read; each script is loaded into a state
 * of its own that is thrown away again, and leaves its declaration in the set's
 * arena.  Scripts that fail leave a fault instead.  The set is handed out and
 * never changes from then on; the last reference frees it.
 */

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOAD_TIMEOUT_MS 5000

static uint64_t next_generation;

/* While a set is being built: arrays that grow, later fixed in the set. */
struct building {
    struct script_set *set;
    size_t aggregate_capacity;
    size_t aggregate_source_capacity;
    size_t projection_capacity;
    size_t projection_source_capacity;
    size_t fault_capacity;
};

static void add_fault(struct building *building, const char *path,
                      const char *text)
{
    struct script_set *set = building->set;

    GROW(set->faults, building->fault_capacity, set->fault_count + 1);
    set->faults[set->fault_count++] = (struct script_fault){
        .path = arena_printf(&set->arena, "%s", path),
        .text = arena_printf(&set->arena, "%s", text),
    };
}

static struct vm *fresh_state(const struct script_set *set,
                              const struct source_tree *tree, struct err *err)
{
    struct vm_options options = {
        .memory_bytes = set->memory_bytes,
        .load_timeout_ms = LOAD_TIMEOUT_MS,
        .modules = tree,
        .any_events = set->any_events,
    };

    return vm_new(&options, err);
}

static bool declare_aggregate(struct script_set *set,
                              const struct source *source,
                              struct aggregate_decl *out, struct err *err)
{
    struct vm *vm = fresh_state(set, set->aggregate_tree, err);
    bool loaded;

    if (vm == NULL)
        return false;
    loaded = vm_load_aggregate(vm, source, &set->arena, out, err) >= 0;
    vm_free(vm);
    if (!loaded)
        return false;
    if (script_set_aggregate(set, out->type) != NULL)
        return err_set(err, ERR_SCRIPT,
                       "%s: aggregate \"%.*s\" is declared by another script",
                       source->path, STR_ARG(out->type));
    return true;
}

/* ---- upcasts reach projections ---- */

/* True when the projection handles an event that this aggregate upcasts. */
static bool feeds(const struct aggregate_decl *aggregate,
                  const struct projection_decl *decl)
{
    struct event event = {.aggregate_type = aggregate->type,
                          .tenant_id = decl->filter.tenant_id};

    for (size_t i = 0; i < aggregate->upcast_count; i++) {
        event.event_type = aggregate->upcasts[i].event_type;
        if (script_wants(decl, &event))
            return true;
    }
    return false;
}

/* What a projection sees of an event depends on its upcasts too, so their
 * scripts are part of its hash. */
static void hash_upcasts(const struct script_set *set,
                         struct projection_decl *decl)
{
    struct buf text = {0};
    size_t found = 0;

    buf_text(&text, decl->hash);
    for (size_t i = 0; i < set->aggregate_count; i++) {
        if (!feeds(&set->aggregates[i], decl))
            continue;
        buf_text(&text, set->aggregates[i].hash);
        found++;
    }
    if (found > 0)
        hash_sha256_text(buf_as_str(&text), decl->hash);
    buf_done(&text);
}

bool script_set_load_upcasts(const struct script_set *set,
                             const struct projection_decl *decl, struct vm *vm,
                             struct err *err)
{
    if (set->upcasts_missing != NULL)
        return err_set(err, ERR_SCRIPT,
                       "%s was not loaded, and its upcasts may be needed",
                       set->upcasts_missing);
    for (size_t i = 0; i < set->aggregate_count; i++) {
        const struct aggregate_decl *aggregate = &set->aggregates[i];
        bool ok = feeds(aggregate, decl)
                      ? vm_load_upcasts(vm, set->aggregate_sources[i],
                                        set->aggregate_tree, err)
                      : vm_know_aggregate(vm, aggregate->type, err);

        if (!ok)
            return false;
    }
    return true;
}

/* ---- loading ---- */

static bool declare_projection(struct script_set *set,
                               const struct source *source,
                               struct projection_decl *out, struct err *err)
{
    struct vm *vm = fresh_state(set, set->projection_tree, err);
    bool loaded;

    if (vm == NULL)
        return false;
    loaded = vm_load_projection(vm, source, &set->arena, out, err) >= 0;
    vm_free(vm);
    if (!loaded)
        return false;
    if (script_set_projection(set, out->name) != NULL)
        return err_set(err, ERR_SCRIPT,
                       "%s: projection \"%.*s\" is declared by another script",
                       source->path, STR_ARG(out->name));
    return true;
}

static void load_aggregate(struct building *building,
                           const struct source *source)
{
    struct script_set *set = building->set;
    struct aggregate_decl decl = {0};
    struct err err;

    if (!declare_aggregate(set, source, &decl, &err)) {
        add_fault(building, source->path, err.text);
        if (strstr(source->text, "upcast") != NULL)
            set->upcasts_missing = source->path;
        return;
    }
    GROW(set->aggregates, building->aggregate_capacity,
         set->aggregate_count + 1);
    GROW(set->aggregate_sources, building->aggregate_source_capacity,
         set->aggregate_count + 1);
    set->aggregates[set->aggregate_count] = decl;
    set->aggregate_sources[set->aggregate_count++] = source;
}

/* The table of another projection: both would write it. */
static const struct projection_decl *
owner_of_table(const struct script_set *set, struct str table)
{
    for (size_t i = 0; i < set->projection_count; i++)
        for (size_t t = 0; t < set->projections[i].table_count; t++)
            if (str_eq(set->projections[i].tables[t].name, table))
                return &set->projections[i];
    return NULL;
}

static bool tables_are_free(const struct script_set *set,
                            const struct source *source,
                            const struct projection_decl *decl, struct err *err)
{
    for (size_t t = 0; t < decl->table_count; t++) {
        const struct projection_decl *owner =
            owner_of_table(set, decl->tables[t].name);

        if (owner != NULL)
            return err_set(err, ERR_SCRIPT,
                           "%s: table \"%.*s\" belongs to projection "
                           "\"%.*s\" (%.*s)",
                           source->path, STR_ARG(decl->tables[t].name),
                           STR_ARG(owner->name), STR_ARG(owner->path));
    }
    return true;
}

static void load_projection(struct building *building,
                            const struct source *source)
{
    struct script_set *set = building->set;
    struct projection_decl decl = {0};
    struct err err;

    if (!declare_projection(set, source, &decl, &err) ||
        !tables_are_free(set, source, &decl, &err)) {
        add_fault(building, source->path, err.text);
        return;
    }
    hash_upcasts(set, &decl);
    GROW(set->projections, building->projection_capacity,
         set->projection_count + 1);
    GROW(set->projection_sources, building->projection_source_capacity,
         set->projection_count + 1);
    set->projections[set->projection_count] = decl;
    set->projection_sources[set->projection_count++] = source;
}

static struct source_tree *read_tree(struct building *building,
                                     const char *folder)
{
    struct err err;
    struct source_tree *tree = source_tree_read(folder, &err);

    if (tree == NULL) {
        add_fault(building, folder, err.text);
        tree = NEW(struct source_tree);
    }
    return tree;
}

static void load_tree(struct building *building, const struct source_tree *tree,
                      void (*load)(struct building *, const struct source *))
{
    for (size_t i = 0; i < tree->count; i++)
        if (tree->sources[i].module == NULL)
            load(building, &tree->sources[i]);
}

struct script_set *script_set_load(const struct script_set_options *options)
{
    struct building building = {.set = NEW(struct script_set)};
    struct script_set *set = building.set;

    set->refs = 1;
    set->generation = __atomic_add_fetch(&next_generation, 1, __ATOMIC_RELAXED);
    set->loaded_at_us = clock_wall_us();
    set->memory_bytes = options->memory_bytes;
    set->any_events = options->any_events;
    set->aggregate_tree = read_tree(&building, options->aggregates);
    set->projection_tree = read_tree(&building, options->projections);
    load_tree(&building, set->aggregate_tree, load_aggregate);
    load_tree(&building, set->projection_tree, load_projection);
    return set;
}

struct script_set *script_set_ref(struct script_set *set)
{
    __atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED);
    return set;
}

void script_set_unref(struct script_set *set)
{
    if (set == NULL || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    source_tree_free(set->aggregate_tree);
    source_tree_free(set->projection_tree);
    mem_free(set->aggregates);
    mem_free(set->aggregate_sources);
    mem_free(set->projections);
    mem_free(set->projection_sources);
    mem_free(set->faults);
    arena_done(&set->arena);
    mem_free(set);
}

const struct aggregate_decl *script_set_aggregate(const struct script_set *set,
                                                  struct str type)
{
    for (size_t i = 0; i < set->aggregate_count; i++)
        if (str_eq(set->aggregates[i].type, type))
            return &set->aggregates[i];
    return NULL;
}

const struct projection_decl *
script_set_projection(const struct script_set *set, struct str name)
{
    for (size_t i = 0; i < set->projection_count; i++)
        if (str_eq(set->projections[i].name, name))
            return &set->projections[i];
    return NULL;
}

static void list_event_types(const struct aggregate_decl *decl, struct buf *out)
{
    for (size_t i = 0; i < decl->event_type_count; i++)
        buf_printf(out, "%s%.*s", i > 0 ? ", " : "",
                   STR_ARG(decl->event_types[i]));
}

bool script_set_check_event(const struct script_set *set,
                            struct str aggregate_type, struct str event_type,
                            struct err *err)
{
    const struct aggregate_decl *decl =
        script_set_aggregate(set, aggregate_type);
    struct buf known = {0};

    if (decl == NULL || set->any_events)
        return true;
    for (size_t i = 0; i < decl->event_type_count; i++)
        if (str_eq(decl->event_types[i], event_type))
            return true;
    list_event_types(decl, &known);
    err_set(err, ERR_INVALID_INPUT,
            "aggregate %.*s does not know the event type \"%.*s\"; its "
            "`apply` has: %s",
            STR_ARG(aggregate_type), STR_ARG(event_type),
            known.ptr != NULL ? known.ptr : "nothing");
    buf_done(&known);
    return false;
}

bool script_set_check_version(const struct script_set *set,
                              struct str aggregate_type, struct str event_type,
                              uint32_t event_version, struct err *err)
{
    const struct aggregate_decl *decl =
        script_set_aggregate(set, aggregate_type);
    uint32_t newest = decl != NULL ? script_newest(decl, event_type) : 1;

    if (decl == NULL || event_version <= newest ||
        (set->any_events && newest == 1))
        return true;
    return err_set(err, ERR_INVALID_INPUT,
                   "%" PRIu32 " is newer than what aggregate %.*s knows of "
                   "%.*s (%" PRIu32 "): its `upcast` leads there",
                   event_version, STR_ARG(aggregate_type), STR_ARG(event_type),
                   newest);
}
