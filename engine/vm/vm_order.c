/*
 * `order`, the first argument of a command's `run`: one table a state, empty,
 * that reads from the command that is running.
 *
 * Life of order.state: a copy, made when it is first read and made anew when
 * an event was applied since; the command's end lets go of it.  The state
 * itself is never in a command's hands: later commands decide on it, so only
 * events may change it.
 *
 * Life of an emitted event: its data is encoded, copied into the arena,
 * decoded again from there and applied, so the script meets at once whatever
 * would not survive being stored.
 */
#include "base/clock.h"
#include "vm/vm_copy.h"
#include "vm/vm_event.h"
#include "vm/vm_json.h"
#include "vm/vm_run.h"

struct vm_run *vm_run_check(lua_State *L, const char *what)
{
    struct vm *vm = vm_of(L);

    if (vm->run == NULL)
        vm_throw(L, "%s: only while a command runs", what);
    if (vm->run->applying)
        vm_throw(L, "%s: not inside `apply`, which cannot refuse or decide",
                 what);
    return vm->run;
}

static struct vm_run *check_self(lua_State *L, const char *usage)
{
    struct vm *vm = vm_of(L);

    vm_push_ref(L, vm->order_ref);
    if (!lua_rawequal(L, 1, -1))
        vm_throw(L, "usage: %s", usage);
    lua_pop(L, 1);
    return vm_run_check(L, "order");
}

void vm_check_arena(lua_State *L, struct vm *vm, const struct arena *arena,
                    size_t used)
{
    if (arena->used > used && arena->used - used > vm->limit)
        vm_stop_memory(L);
}

/* ---- emit ---- */

static void check_type(lua_State *L, const struct vm_run *run, struct str type)
{
    const struct aggregate_decl *decl = &run->script->aggregate;

    for (size_t i = 0; i < decl->event_type_count; i++)
        if (str_eq(decl->event_types[i], type))
            return;
    vm_throw(L, "order:emit: '%.*s' is not in `apply` of %.*s", STR_ARG(type),
             STR_ARG(decl->type));
}

static struct event *next_event(lua_State *L, struct vm_run *run)
{
    if (run->count == RUN_MAX_EVENTS)
        vm_throw(L, "order:emit: a command may emit %d events", RUN_MAX_EVENTS);
    if (run->count == run->capacity) {
        size_t capacity = run->capacity == 0 ? 4 : 2 * run->capacity;
        struct event *events = ARENA_ARRAY(run->arena, struct event, capacity);

        if (run->count > 0)
            memcpy(events, run->events, run->count * sizeof(*events));
        run->events = events;
        run->capacity = capacity;
    }
    return &run->events[run->count];
}

/* The value at `index` as JSON in the arena. */
static struct str keep_json(lua_State *L, struct vm *vm, int index)
{
    return arena_str(vm->run->arena, vm_json_text(L, vm, index));
}

/* The command's metadata with the members given to emit over them. */
static struct str merge_metadata(lua_State *L, struct vm *vm, int index)
{
    struct str base = vm->run->pattern.metadata;

    if (lua_isnoneornil(L, index))
        return base;
    luaL_checktype(L, index, LUA_TTABLE);
    vm_push_json(L, vm, base);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2); /* stack: merged, key, key, value */
        lua_rawset(L, -4);
    }
    return keep_json(L, vm, -1);
}

static void apply_emitted(lua_State *L, struct vm *vm, struct vm_run *run,
                          const struct event *event)
{
    struct vm_moment held = vm->moment;

    run->applying = true;
    vm->moment = (struct vm_moment){MOMENT_EVENT, event, 0};
    vm_apply(L, vm, run->script, run->state, event);
    vm->moment = held;
    vm->event = NULL;
    run->applying = false;
}

/* order:emit(type, data[, metadata]) */
static int order_emit(lua_State *L)
{
    static const char usage[] =
        "order:emit(type: string, data: table[, metadata: table])";
    struct vm *vm = vm_of(L);
    struct vm_run *run = check_self(L, usage);
    struct event event = run->pattern;

    if (lua_type(L, 2) != LUA_TSTRING || !lua_istable(L, 3))
        vm_throw(L, "usage: %s", usage);
    lua_settop(L, 4);
    event.event_type = vm_str(L, 2);
    check_type(L, run, event.event_type);
    event.event_type = arena_str(run->arena, event.event_type);
    event.data = keep_json(L, vm, 3);
    if (event.data.ptr[0] != '{')
        vm_throw(L, "order:emit: data must have names for keys, not a list");
    event.metadata = merge_metadata(L, vm, 4);
    event.event_id = uuid_new();
    event.event_version =
        vm_event_shape(L, vm, event.aggregate_type, event.event_type);
    event.aggregate_version = run->version + 1;
    event.occurred_at_us = clock_wall_us();
    vm_check_arena(L, vm, run->arena, run->arena_used);

    *next_event(L, run) = event;
    run->count++;
    run->version++;
    apply_emitted(L, vm, run, &run->events[run->count - 1]);
    return 0;
}

/* ---- refusals ---- */

/* order:reject(message) */
static int order_reject(lua_State *L)
{
    static const char usage[] = "order:reject(message: string)";

    check_self(L, usage);
    if (lua_type(L, 2) != LUA_TSTRING)
        vm_throw(L, "usage: %s", usage);
    vm_stop(L, ERR_REJECTED, "%s", lua_tostring(L, 2));
}

/* order:reject_if(condition, message) */
static int order_reject_if(lua_State *L)
{
    static const char usage[] =
        "order:reject_if(condition: boolean, message: string)";

    check_self(L, usage);
    if (lua_gettop(L) < 3 || lua_type(L, 3) != LUA_TSTRING)
        vm_throw(L, "usage: %s", usage);
    if (lua_toboolean(L, 2))
        vm_stop(L, ERR_REJECTED, "%s", lua_tostring(L, 3));
    return 0;
}

/* ---- the table ---- */

static void push_state(lua_State *L, struct vm *vm, struct vm_run *run)
{
    vm_push_ref(L, vm->seen_ref);
    if (lua_istable(L, -1) && run->seen_version == run->version)
        return;
    vm_push_ref(L, run->state);
    vm_push_copy(L, vm, -1, "the state");
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, vm->seen_ref);
    run->seen_version = run->version;
}

void vm_order_forget(struct vm *vm)
{
    lua_pushboolean(vm->L, false); /* keeps the place, needs no memory */
    lua_rawseti(vm->L, LUA_REGISTRYINDEX, vm->seen_ref);
}

/* order.field; upvalue: the methods. */
static int order_index(lua_State *L)
{
    struct vm_run *run = vm_run_check(L, "order");
    struct str field;

    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1))
        return 1;
    field = lua_type(L, 2) == LUA_TSTRING ? vm_str(L, 2) : STR("?");
    if (str_eq(field, STR("state")))
        push_state(L, vm_of(L), run);
    else if (str_eq(field, STR("version")))
        lua_pushnumber(L, (lua_Number)run->version);
    else if (str_eq(field, STR("id")))
        vm_push_str(L, run->command->aggregate_id);
    else
        vm_throw(L,
                 "no field '%.*s' (there are: id, state, version, emit, "
                 "reject, reject_if)",
                 STR_ARG(field));
    return 1;
}

static int order_newindex(lua_State *L)
{
    return vm_throw(L, "a command changes nothing itself: emit an event");
}

static const luaL_Reg methods[] = {
    {"emit", order_emit},
    {"reject", order_reject},
    {"reject_if", order_reject_if},
    {NULL, NULL},
};

void vm_order_open(lua_State *L, struct vm *vm)
{
    lua_newtable(L); /* order */
    lua_newtable(L); /* its metatable */
    lua_newtable(L);
    vm_set_functions(L, methods);
    lua_pushcclosure(L, order_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, order_newindex);
    lua_setfield(L, -2, "__newindex");
    vm_close_metatable(L);
    lua_setmetatable(L, -2);
    vm->order_ref = vm_ref(L);
    lua_pushboolean(L, false);
    vm->seen_ref = vm_ref(L);
}
