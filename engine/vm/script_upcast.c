/*
 * Upcasts: functions of an aggregate's script that bring old shapes of its
 * events' data up to date.  An aggregate's own state has them by loading the
 * script; a projection's state loads just them, and what they require comes
 * from the aggregates' tree.
 */
#include "vm/script_read.h"
#include "vm/vm_lib.h"

/* ---- reading ---- */

static bool is_known_event(const struct aggregate_decl *decl, struct str name)
{
    for (size_t i = 0; i < decl->event_type_count; i++)
        if (str_eq(decl->event_types[i], name))
            return true;
    return false;
}

/* Every key is a version, every value a function. */
static bool is_chain(struct reader *r, int chain, size_t *steps_out)
{
    bool good = lua_istable(r->L, chain);

    *steps_out = 0;
    lua_pushnil(r->L);
    while (good && lua_next(r->L, chain)) {
        good = lua_type(r->L, -2) == LUA_TNUMBER && lua_isfunction(r->L, -1);
        lua_pop(r->L, 1);
        (*steps_out)++;
    }
    return good && *steps_out > 0;
}

/* The first version that has no function. */
static int first_hole(lua_State *L, int chain)
{
    for (int version = 1;; version++) {
        lua_rawgeti(L, chain, version);

        bool hole = lua_isnil(L, -1);

        lua_pop(L, 1);
        if (hole)
            return version;
    }
}

static void read_chain(struct reader *r, int chain, struct upcast_decl *out)
{
    size_t steps;

    if (!is_chain(r, chain, &steps)) {
        reader_fault(r, out->event_type,
                     "'upcast.%.*s' must be a table of functions [1], [2], …: "
                     "each brings its version to the next",
                     STR_ARG(out->event_type));
        return;
    }
    out->newest = (uint32_t)steps + 1;

    int hole = first_hole(r->L, chain);

    if ((size_t)hole <= steps)
        reader_fault(r, out->event_type,
                     "'upcast.%.*s' has no function [%d]: each version from 1 "
                     "on needs one",
                     STR_ARG(out->event_type), hole);
}

void read_upcasts(struct reader *r, int table, struct aggregate_decl *out)
{
    int upcast = lua_gettop(r->L) + 1;
    struct str *names = NULL;
    size_t count = 0;

    if (reader_field(r, table, "upcast", LUA_TTABLE, OPTIONAL))
        names = reader_keys(r, upcast, &count);
    out->upcast_count = count;
    out->upcasts = ARENA_ARRAY(r->arena, struct upcast_decl, count + 1);
    reader_enter(r, STR("upcast"));
    for (size_t i = 0; i < count; i++) {
        out->upcasts[i].event_type = names[i];
        if (!is_known_event(out, names[i]) && !r->vm->any_events)
            reader_fault(r, names[i],
                         "'upcast.%.*s' is for an event that `apply` does not "
                         "have",
                         STR_ARG(names[i]));
        vm_push_field(r->L, upcast, names[i]);
        read_chain(r, upcast + 1, &out->upcasts[i]);
        lua_settop(r->L, upcast);
    }
    reader_leave(r);
    lua_pop(r->L, 1);
}

uint32_t script_newest(const struct aggregate_decl *decl, struct str event_type)
{
    for (size_t i = 0; i < decl->upcast_count; i++)
        if (str_eq(decl->upcasts[i].event_type, event_type))
            return decl->upcasts[i].newest;
    return 1;
}

/* ---- in a state ---- */

void keep_upcasts(lua_State *L, struct vm *vm, struct str type)
{
    vm_push_ref(L, vm->upcasts_ref);
    vm_push_str(L, type);
    if (vm_push_field(L, 1, STR("upcast")) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

struct foreign {
    const struct source *source;
    const struct source_tree *tree;
};

/* `decoding` is what tells `require` whose modules are meant. */
static int foreign_body(lua_State *L, struct vm *vm, void *context)
{
    const struct foreign *foreign = context;

    if (vm->upcast_modules == NULL) {
        vm->upcast_modules = foreign->tree;
        lua_newtable(L);
        vm->upcast_modules_ref = vm_ref(L);
    }
    vm_push_chunk(L, vm, foreign->source);
    vm->decoding = true;
    vm_lua_call(L, vm, 0, 1);
    vm->decoding = false;
    if (!lua_istable(L, 1) || vm_push_field(L, 1, STR("type")) != LUA_TSTRING)
        vm_throw(L, "%s: is no aggregate any more", foreign->source->path);

    struct str type = vm_str(L, 2);

    keep_upcasts(L, vm, type);
    return 0;
}

bool vm_load_upcasts(struct vm *vm, const struct source *source,
                     const struct source_tree *tree, struct err *err)
{
    struct foreign foreign = {source, tree};

    return vm_enter(vm, foreign_body, &foreign, vm->load_timeout_ms, err);
}

static int know_body(lua_State *L, struct vm *vm, void *context)
{
    const struct str *type = context;

    vm_push_ref(L, vm->upcasts_ref);
    vm_push_str(L, *type);
    lua_newtable(L);
    lua_rawset(L, -3);
    return 0;
}

bool vm_know_aggregate(struct vm *vm, struct str type, struct err *err)
{
    return vm_enter(vm, know_body, &type, vm->load_timeout_ms, err);
}
