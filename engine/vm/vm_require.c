/*
 * Modules: files whose name begins with `_`, from the tree the state was made
 * with; what upcasts of aggregates require in a projection's state is of the
 * aggregates' tree.  Each runs once a state, in the same frozen environment as
 * scripts; what it returns is kept and shared by reference.
 */
#include "vm/vm_lib.h"

#include <stdio.h>

void vm_push_chunk(lua_State *L, struct vm *vm, const struct source *source)
{
    char name[300];

    snprintf(name, sizeof(name), "@%s", source->path);
    if (luaL_loadbufferx(L, source->text, source->text_len, name, "t") != 0)
        lua_error(L);
    vm_push_ref(L, vm->env_ref);
    lua_setfenv(L, -2);
}

static bool is_upcast(const struct vm *vm)
{
    return vm->decoding && vm->upcast_modules != NULL;
}

static const struct source_tree *tree_of(const struct vm *vm)
{
    return is_upcast(vm) ? vm->upcast_modules : vm->modules;
}

static const struct source *find_module(const struct vm *vm, const char *name)
{
    const struct source_tree *tree = tree_of(vm);

    for (size_t i = 0; tree != NULL && i < tree->count; i++)
        if (tree->sources[i].module != NULL &&
            strcmp(tree->sources[i].module, name) == 0)
            return &tree->sources[i];
    return NULL;
}

static void NORETURN refuse_unknown(lua_State *L, struct vm *vm,
                                    const char *name)
{
    const struct source_tree *tree = tree_of(vm);
    size_t found = 0;

    buf_clear(&vm->text);
    for (size_t i = 0; tree != NULL && i < tree->count; i++)
        if (tree->sources[i].module != NULL)
            buf_printf(&vm->text, "%s%s", found++ > 0 ? ", " : "",
                       tree->sources[i].module);
    vm_throw(L, "no module '%s' (there %s: %s)", name,
             found == 1 ? "is" : "are",
             found > 0 ? vm->text.ptr : "none, a module's file begins with _");
}

/* Runs the module's chunk on top of the stack, which its value replaces.  It
 * has no time and no ids: which event needs it first depends on when the
 * process started.  A module that failed may be tried again: it must not look
 * like one that is loading. */
static void run_module(lua_State *L, struct vm *vm, const struct source *module)
{
    struct vm_moment moment = vm->moment;
    unsigned depth = vm->depth;
    size_t keys = vm->keys.count;

    vm_deeper(L, vm);
    vm->moment.kind = MOMENT_NONE;

    int status = lua_pcall(L, 0, 1, 0);

    vm->moment = moment;
    if (status != 0) {
        vm->keys.count = keys;
        lua_pushnil(L);
        lua_setfield(L, 2, module->module);
        lua_error(L);
    }
    vm->depth = depth;
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, true);
    }
}

/* require(name) */
int vm_require(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *name = luaL_checkstring(L, 1);
    const struct source *module;

    lua_settop(L, 1);
    vm_push_ref(L, is_upcast(vm) ? vm->upcast_modules_ref : vm->modules_ref);
    /* stack: name, modules */
    lua_getfield(L, 2, name);
    if (lua_type(L, 3) == LUA_TBOOLEAN && !lua_toboolean(L, 3))
        vm_throw(L, "module '%s' requires itself, directly or through others",
                 name);
    if (!lua_isnil(L, 3))
        return 1;
    module = find_module(vm, name);
    if (module == NULL)
        refuse_unknown(L, vm, name);
    vm_push_chunk(L, vm, module);
    lua_pushboolean(L, false); /* is being loaded */
    lua_setfield(L, 2, name);
    run_module(L, vm, module);
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}
