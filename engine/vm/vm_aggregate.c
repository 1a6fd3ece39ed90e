/*
 * Life of a folded state: `initial` makes a Lua table, which is kept in the
 * registry under the number that the engine holds; `apply` changes it in place;
 * vm_state_drop lets the collector have it.
 *
 * Life of a command: the declaration is looked up before Lua is entered;
 * inside, input is checked and pushed, `run` is called, and what it emits
 * gathers in the struct vm_run on the C stack of vm_command_run, whose events
 * are in the caller's arena.
 */
#include "vm/vm_aggregate.h"

#include "vm/vm_copy.h"
#include "vm/vm_event.h"
#include "vm/vm_json.h"
#include "vm/vm_run.h"
#include "vm/vm_tagged.h"

#include <stdio.h>

static const struct vm_script *script_of(const struct vm *vm, int script)
{
    CHECK(script >= 0 && (size_t)script < vm->script_count);
    CHECK(vm->scripts[script]->kind == SCRIPT_AGGREGATE);
    return vm->scripts[script];
}

/* ---- states ---- */

struct new_state {
    const struct vm_script *script;
    struct str id;
    int state;
};

static int new_body(lua_State *L, struct vm *vm, void *context)
{
    struct new_state *new = context;

    if (new->script->initial_ref == LUA_NOREF) {
        lua_newtable(L);
    } else {
        vm_push_ref(L, new->script->initial_ref);
        vm_push_str(L, new->id);
        vm_lua_call(L, vm, 1, 1);
        if (!lua_istable(L, -1))
            vm_stop(L, ERR_SCRIPT, "`initial` must return a table, not %s",
                    luaL_typename(L, -1));
        /* Two aggregates must not share what `initial` kept for itself. */
        vm_push_copy(L, vm, -1, "the state");
    }
    new->state = vm_ref(L);
    return 0;
}

int vm_state_new(struct vm *vm, int script, struct str id, uint32_t timeout_ms,
                 struct err *err)
{
    struct new_state new = {script_of(vm, script), id, LUA_NOREF};

    return vm_enter(vm, new_body, &new, timeout_ms, err) ? new.state : -1;
}

void vm_state_drop(struct vm *vm, int state)
{
    luaL_unref(vm->L, LUA_REGISTRYINDEX, state);
}

struct encode {
    int state;
    struct buf *out;
};

static int encode_body(lua_State *L, struct vm *vm, void *context)
{
    struct encode *encode = context;

    vm_push_ref(L, encode->state);
    buf_str(encode->out, vm_json_text(L, vm, -1));
    return 0;
}

bool vm_state_encode(struct vm *vm, int state, struct buf *out, struct err *err)
{
    struct encode encode = {state, out};

    return vm_enter(vm, encode_body, &encode, vm->load_timeout_ms, err);
}

static int save_body(lua_State *L, struct vm *vm, void *context)
{
    struct encode *encode = context;

    vm_push_ref(L, encode->state);
    buf_str(encode->out, vm_tagged_text(L, vm, -1));
    return 0;
}

bool vm_state_save(struct vm *vm, int state, struct buf *out, struct err *err)
{
    struct encode encode = {state, out};

    return vm_enter(vm, save_body, &encode, vm->load_timeout_ms, err);
}

struct restore {
    struct str text;
    int state;
};

static int restore_body(lua_State *L, struct vm *vm, void *context)
{
    struct restore *restore = context;

    vm_push_tagged(L, vm, restore->text);
    restore->state = vm_ref(L);
    return 0;
}

int vm_state_restore(struct vm *vm, struct str text, uint32_t timeout_ms,
                     struct err *err)
{
    struct restore restore = {text, -1};

    if (!json_check(text, NULL, err) ||
        !vm_enter(vm, restore_body, &restore, timeout_ms, err))
        return -1;
    return restore.state;
}

/* ---- apply ---- */

/* `apply` changes the state it is given: another table that it returns would
 * be lost without a word. */
static void check_result(lua_State *L, const struct event *event, int state)
{
    vm_push_ref(L, state);
    if (!lua_isnil(L, -2) && !lua_rawequal(L, -1, -2))
        vm_throw(L,
                 "apply.%.*s returned a %s: `apply` changes the state it is "
                 "given and returns nothing",
                 STR_ARG(event->event_type), luaL_typename(L, -2));
    lua_pop(L, 2);
}

void vm_apply(lua_State *L, struct vm *vm, const struct vm_script *script,
              int state, const struct event *event)
{
    vm_push_ref(L, script->apply_ref);
    if (vm_push_field(L, -1, event->event_type) != LUA_TFUNCTION) {
        if (vm->any_events) {
            lua_pop(L, 2);
            return;
        }
        vm_stop(L, ERR_SCRIPT, "%s: `apply` has no event type '%.*s'",
                script->path, STR_ARG(event->event_type));
    }
    lua_remove(L, -2);
    vm_push_ref(L, state);
    vm_push_event(L, vm, event, script);
    vm_lua_call(L, vm, 2, 1);
    check_result(L, event, state);
}

struct apply {
    const struct vm_script *script;
    int state;
    const struct event *event;
};

static int apply_body(lua_State *L, struct vm *vm, void *context)
{
    struct apply *apply = context;

    vm->moment = (struct vm_moment){MOMENT_EVENT, apply->event, 0};
    vm_apply(L, vm, apply->script, apply->state, apply->event);
    return 0;
}

bool vm_state_apply(struct vm *vm, int script, int state,
                    const struct event *event, uint32_t timeout_ms,
                    struct err *err)
{
    struct apply apply = {script_of(vm, script), state, event};

    return vm_enter(vm, apply_body, &apply, timeout_ms, err);
}

/* ---- commands ---- */

static const struct command_decl *
find_command(const struct aggregate_decl *decl, struct str name,
             struct err *err)
{
    char list[300] = "none";
    size_t len = 0;

    for (size_t i = 0; i < decl->command_count; i++)
        if (str_eq(decl->commands[i].name, name))
            return &decl->commands[i];
    for (size_t i = 0; i < decl->command_count && len < sizeof(list); i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%.*s",
                                i > 0 ? ", " : "",
                                STR_ARG(decl->commands[i].name));
    err_set(err, ERR_NOT_FOUND, "%.*s has no command '%.*s' (there are: %s)",
            STR_ARG(decl->type), STR_ARG(name), list);
    return NULL;
}

/* What every event of the command has in common. */
static struct event event_pattern(const struct vm_script *script,
                                  const struct vm_command *command,
                                  struct arena *arena)
{
    bool bare = command->metadata.len == 0;

    return (struct event){
        .aggregate_type = arena_str(arena, script->aggregate.type),
        .aggregate_id = arena_str(arena, command->aggregate_id),
        .metadata = bare ? STR("{}") : arena_str(arena, command->metadata),
        .tenant_id = arena_str(arena, command->tenant_id),
        .actor_id = arena_str(arena, command->actor_id),
        .correlation_id = arena_str(arena, command->correlation_id),
        .causation_id = arena_str(arena, command->causation_id),
    };
}

struct command_call {
    const struct command_decl *decl;
    struct vm_run run;
};

/* Pushes the `run` function of a command that the declaration knows. */
static void push_run(lua_State *L, const struct command_call *call)
{
    vm_push_ref(L, call->run.script->commands_ref);
    vm_push_field(L, -1, call->decl->name);
    vm_push_field(L, -1, STR("run"));
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static int command_body(lua_State *L, struct vm *vm, void *context)
{
    struct command_call *call = context;

    push_run(L, call);
    vm_push_ref(L, vm->order_ref);
    vm_push_input(L, vm, call->decl, call->run.command->input);
    vm->moment = (struct vm_moment){MOMENT_NOW, NULL, 0};
    vm->run = &call->run;
    vm_lua_call(L, vm, 2, 0);
    return 0;
}

bool vm_command_run(struct vm *vm, int script, int state,
                    const struct vm_command *command, uint32_t timeout_ms,
                    struct arena *arena, struct event **events_out,
                    size_t *count_out, struct err *err)
{
    const struct vm_script *of = script_of(vm, script);
    struct command_call call = {
        .decl = find_command(&of->aggregate, command->name, err),
        .run = {.script = of,
                .command = command,
                .state = state,
                .version = command->version,
                .arena = arena},
    };
    bool done;

    *count_out = 0;
    if (call.decl == NULL)
        return false;
    call.run.pattern = event_pattern(of, command, arena);
    call.run.arena_used = arena->used;
    done = vm_enter(vm, command_body, &call, timeout_ms, err);
    vm_order_forget(vm);
    *count_out = call.run.count;
    if (done)
        *events_out = call.run.events;
    return done;
}
