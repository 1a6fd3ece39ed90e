#pragma once
/*
 * The inside of a state, for the files of vm/ only.
 *
 * Host functions find their `struct vm` through the allocator's pointer
 * (vm_of), so nothing a script can reach leads to it.
 *
 * Two rules keep an error of Lua, which unwinds the C stack, from leaking or
 * from leaving something half done:
 *   - whatever calls an API function that can throw runs below vm_enter;
 *   - memory outside of Lua that lives across such a call belongs to the
 *     struct vm (`text`, `keys`, `sum`, `other`) or to an arena, never to a
 * function.
 *
 * One thread at a time.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/decimal.h"
#include "base/event.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <lua.h>

struct vm_script;
struct vm_run;

/* The nesting of C and Lua: each level costs C stack, which nobody else
 * limits. */
#define VM_MAX_DEPTH 150

struct vm_where {
    char file[256]; /* empty when no line of a script is known */
    int line;
};

/* What uuid() and time() answer. */
struct vm_moment {
    enum { MOMENT_NONE, MOMENT_EVENT, MOMENT_NOW } kind;
    const struct event *event;
    uint32_t uuids; /* how many were asked for */
};

/* A key of a table, for putting keys into an order; `text` stays valid while
 * the table holds the key. */
struct vm_key {
    int type; /* of lua_type */
    union {
        double number;
        struct str text;
        bool flag;
    };
};

struct vm_keys {
    struct vm_key *items;
    size_t count;
    size_t capacity;
};

struct vm {
    lua_State *L;
    const struct source_tree *modules;        /* borrowed, may be NULL */
    const struct source_tree *upcast_modules; /* the same, for upcasts that came
                                                 from another tree */
    bool any_events;
    uint32_t load_timeout_ms;

    /* ---- memory ---- */
    lua_Alloc inner_alloc; /* LuaJIT's own, under the ceiling */
    void *inner_context;
    size_t limit;
    size_t used;
    size_t large; /* of `used`: in blocks that are slow to walk through */

    /* ---- the call that is running ---- */
    uint64_t deadline_us;
    uint32_t timeout_ms;
    uint32_t work;  /* done by host functions since they looked at the clock */
    unsigned depth; /* of C calling Lua */
    bool stopped;   /* nothing of the script runs any more; `stop` says why */
    struct err stop;
    struct vm_where where;
    const char *outermost_file; /* of the function that C called first, or NULL;
                                   belongs to that function */
    int outermost_line;
    struct vm_moment moment;
    const struct event *event; /* that a handler sees, or NULL */
    const struct vm_script *event_script;
    bool event_settled; /* its data and metadata are made */
    bool decoding;      /* its data is being made: upcasts run */
    struct vm_run *run; /* the command, or NULL */
    int (*body)(lua_State *L, struct vm *vm, void *context);
    void *context;

    /* ---- memory for host functions, counted in `used` when it is large ----
     */
    struct buf text;
    struct vm_keys keys;
    struct decimal sum, other; /* of operations on decimals */

    /* ---- scripts, until the state's end ---- */
    bool broken;
    struct arena arena;
    struct vm_script **scripts;
    size_t script_count;
    size_t script_capacity;
    struct {
        uint64_t second;
        uint32_t lines;
        uint64_t held;
    } log;

    /* ---- references in Lua's registry ---- */
    int enter_ref, handler_ref, describe_ref, env_ref, modules_ref;
    int upcast_modules_ref; /* LUA_NOREF until there are such upcasts */
    int array_ref, decimal_ref, event_meta_ref, event_ref;
    int order_ref, seen_ref, upcasts_ref;
};

static inline struct vm *vm_of(lua_State *L)
{
    void *vm;

    lua_getallocf(L, &vm);
    return (struct vm *)vm;
}

/* ---- vm.c ---- */

/* True when `more` bytes beside what is used stay below the ceiling. */
bool vm_has_room(const struct vm *vm, size_t more);
/* Looks at the clock and ends the call when its time is up. */
void vm_look(lua_State *L, struct vm *vm);
/* The line of a script that is nearest to the top of the stack. */
void vm_find_where(struct vm *vm, struct vm_where *out);

#define VM_WORK_PER_LOOK 50000

/* Host functions say how much they did, in steps of some nanoseconds. */
static inline void vm_charge(lua_State *L, struct vm *vm, size_t work)
{
    if (work > VM_WORK_PER_LOOK || vm->work + work > VM_WORK_PER_LOOK) {
        vm->work = 0;
        vm_look(L, vm);
    } else {
        vm->work += (uint32_t)work;
    }
}

/* ---- vm_call.c ---- */

typedef int vm_body(lua_State *L, struct vm *vm, void *context);

/* The one door into Lua: runs `body` on an empty stack below a protected call,
 * for at most `timeout_ms`.  On failure the error has the script's file and
 * line where they are known. */
bool vm_enter(struct vm *vm, vm_body *body, void *context, uint32_t timeout_ms,
              struct err *err) MUST_USE;

/* One level more of C that calls Lua, limited; `vm->depth--` when it is over
 * (after an error whoever catches it sets it back). */
void vm_deeper(lua_State *L, struct vm *vm);
/* lua_call for host functions, with the nesting limited. */
void vm_lua_call(lua_State *L, struct vm *vm, int nargs, int nresults);

/* Ends the whole call, whatever the script does to catch it. */
void vm_stop(lua_State *L, enum err_code code, const char *format, ...) NORETURN
    PRINTF_LIKE(3, 4);
void vm_stop_err(lua_State *L, const struct err *err) NORETURN;
void vm_stop_memory(lua_State *L) NORETURN;

/* Raises an error that a script may catch, as a text with its line; when it
 * does not, the caller of vm_enter gets ERR_SCRIPT, whatever the code was: what
 * the host does not take is the script's mistake, not its client's. */
int vm_throw_err(lua_State *L, const struct err *err) NORETURN;
int vm_throw(lua_State *L, const char *format, ...) NORETURN PRINTF_LIKE(2, 3);

/* A reference to the value on top of the stack, which is popped. */
int vm_ref(lua_State *L);
/* Pushes what a reference stands for; cannot fail. */
static inline void vm_push_ref(lua_State *L, int ref)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

/* Part of making a state. */
void vm_call_open(lua_State *L, struct vm *vm);

/* ---- small helpers over the stack ---- */

/* The string at `index`, valid while it is referred to; a number there becomes
 * one. */
struct str vm_str(lua_State *L, int index);
/* Pushes a copy; not for STR_NONE. */
void vm_push_str(lua_State *L, struct str s);
/* Pushes the raw field of a table: no metamethod of a script runs. */
int vm_push_field(lua_State *L, int table, struct str name);
/* The index counted from the bottom, which later pushes do not move. */
int vm_abs(lua_State *L, int index);
/* Registers functions in the table on top of the stack. */
void vm_set_functions(lua_State *L, const luaL_Reg *functions);
/* Closes the metatable on top of the stack to scripts. */
void vm_close_metatable(lua_State *L);
