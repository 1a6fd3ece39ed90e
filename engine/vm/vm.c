/*
 * Life of a state: LuaJIT's own state with its own allocator, over which the
 * counting one is put; then, below a protected call, everything a script may
 * see is built (sandbox.c).  vm_free puts the first allocator back, because
 * only that one knows where its arena is.
 *
 * Deadlines: the interpreter calls on_count every so many instructions.  An
 * instruction is quick unless it walks through a large string, so while there
 * are large blocks the hook comes twenty times as often.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "vm/sandbox.h"
#include "vm/vm_keys.h"
#include "vm/vm_state.h"

#include <luajit.h>
#include <stdio.h>

#define INTERVAL       1000 /* VM instructions between two looks at the clock */
#define INTERVAL_LARGE 50
#define LARGE_BLOCK    ((size_t)256 * 1024)
#define LARGE_TOTAL    ((size_t)1024 * 1024)
#define GC_PAUSE       120 /* measured: 80 % of the ceiling can be live */
#define GC_STEPMUL     400

/* ---- time ---- */

void vm_look(lua_State *L, struct vm *vm)
{
    if (clock_us() < vm->deadline_us)
        return;
    vm_stop(L, ERR_SCRIPT_TIMEOUT, "stopped: not done after %g s",
            vm->timeout_ms / 1000.0);
}

static int interval(const struct vm *vm)
{
    return vm->large > LARGE_TOTAL ? INTERVAL_LARGE : INTERVAL;
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = vm_of(L);

    (void)ar;
    if (lua_gethookcount(L) != interval(vm))
        lua_sethook(L, on_count, LUA_MASKCOUNT, interval(vm));
    vm_look(L, vm);
}

/* ---- memory ---- */

size_t vm_memory_bytes(const struct vm *vm)
{
    return vm->used + vm->text.capacity +
           vm->keys.capacity * sizeof(vm->keys.items[0]);
}

bool vm_has_room(const struct vm *vm, size_t more)
{
    size_t held = vm_memory_bytes(vm);

    return held <= vm->limit && more <= vm->limit - held;
}

static void count_large(struct vm *vm, size_t freed, size_t taken)
{
    bool was = vm->large > LARGE_TOTAL;

    if (freed >= LARGE_BLOCK)
        vm->large -= freed;
    if (taken >= LARGE_BLOCK)
        vm->large += taken;
    /* Setting a hook is safe at any moment, even inside an allocation. */
    if (!was && vm->large > LARGE_TOTAL)
        lua_sethook(vm->L, on_count, LUA_MASKCOUNT, INTERVAL_LARGE);
}

/* The refusal becomes LuaJIT's "not enough memory", which has no position, so
 * the position is noted here. */
static void *refuse(struct vm *vm)
{
    if (!vm->stopped)
        vm_find_where(vm, &vm->where);
    return NULL;
}

static void *count_alloc(void *context, void *block, size_t old_size,
                         size_t size)
{
    struct vm *vm = context;
    size_t freed = block != NULL ? old_size : 0;

    if (size > freed && !vm_has_room(vm, size - freed))
        return refuse(vm);

    void *got = vm->inner_alloc(vm->inner_context, block, old_size, size);

    if (got == NULL && size > 0)
        return refuse(vm);
    vm->used = vm->used - freed + size;
    if ((freed | size) >= LARGE_BLOCK)
        count_large(vm, freed, size);
    return got;
}

/* LuaJIT does not tell what it allocated before the count began. */
static void count_from_here(struct vm *vm)
{
    vm->inner_alloc = lua_getallocf(vm->L, &vm->inner_context);
    vm->used = (size_t)lua_gc(vm->L, LUA_GCCOUNT, 0) * 1024 +
               (size_t)lua_gc(vm->L, LUA_GCCOUNTB, 0);
    lua_setallocf(vm->L, count_alloc, vm);
}

/* ---- where the script is ---- */

void vm_find_where(struct vm *vm, struct vm_where *out)
{
    lua_Debug ar;

    out->file[0] = '\0';
    for (int level = 0; lua_getstack(vm->L, level, &ar); level++) {
        lua_getinfo(vm->L, "Sl", &ar);
        if (ar.currentline <= 0 || ar.source[0] != '@')
            continue;
        snprintf(out->file, sizeof(out->file), "%s", ar.source + 1);
        out->line = ar.currentline;
        return;
    }
}

/* ---- the life of a state ---- */

static int open_body(lua_State *L)
{
    struct vm *vm = vm_of(L);

    vm_call_open(L, vm);
    sandbox_open(L, vm);
    return 0;
}

static bool start(struct vm *vm)
{
    vm->L = luaL_newstate();
    if (vm->L == NULL)
        return false;
    luaJIT_setmode(vm->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lua_gc(vm->L, LUA_GCSETPAUSE, GC_PAUSE);
    lua_gc(vm->L, LUA_GCSETSTEPMUL, GC_STEPMUL);
    count_from_here(vm);
    vm->deadline_us = UINT64_MAX;
    lua_sethook(vm->L, on_count, LUA_MASKCOUNT, INTERVAL);
    return lua_cpcall(vm->L, open_body, NULL) == 0;
}

struct vm *vm_new(const struct vm_options *options, struct err *err)
{
    struct vm *vm = NEW(struct vm);

    vm->modules = options->modules;
    vm->any_events = options->any_events;
    vm->load_timeout_ms = options->load_timeout_ms;
    vm->limit = options->memory_bytes;
    decimal_init(&vm->sum);
    decimal_init(&vm->other);
    if (start(vm))
        return vm;
    err_set(err, ERR_SCRIPT_MEMORY, "%zu bytes are not enough for a state",
            options->memory_bytes);
    vm_free(vm);
    return NULL;
}

void vm_free(struct vm *vm)
{
    if (vm == NULL)
        return;
    if (vm->L != NULL) {
        lua_setallocf(vm->L, vm->inner_alloc, vm->inner_context);
        lua_close(vm->L);
    }
    decimal_done(&vm->sum);
    decimal_done(&vm->other);
    buf_done(&vm->text);
    vm_keys_trim(vm, 0);
    arena_done(&vm->arena);
    mem_free(vm->scripts);
    mem_free(vm);
}

bool vm_is_broken(const struct vm *vm)
{
    return vm->broken;
}

static int collect_body(lua_State *L, struct vm *vm, void *context)
{
    (void)vm;
    (void)context;
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

void vm_rest(struct vm *vm)
{
    struct err err = {0};

    if (vm->broken || vm->used < vm->limit / 2)
        return;
    if (!vm_enter(vm, collect_body, NULL, vm->load_timeout_ms, &err))
        vm->broken = true;
}

const char *vm_lua_version(void)
{
    return LUAJIT_VERSION;
}
