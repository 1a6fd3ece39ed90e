#pragma once
/*
 * A loaded script inside its state: references to its functions, and a copy of
 * the declarations that calls need.  Lives in vm->arena as long as the state.
 */
#include "vm/script.h"
#include "vm/vm_projection.h"
#include "vm/vm_state.h"

enum script_kind { SCRIPT_AGGREGATE, SCRIPT_PROJECTION };

struct vm_script {
    enum script_kind kind;
    const char *path;

    /* ---- aggregates ---- */
    struct aggregate_decl aggregate;
    int initial_ref; /* LUA_NOREF when there is none, as the next two */
    int commands_ref;
    int apply_ref;
    int upcast_ref;

    /* ---- projections ---- */
    int on_ref;
    int db_ref;
    /* Set by vm_bind_db, borrowed; NULL before. */
    const struct projection_decl *projection;
    const struct vm_db *db;
    void *db_context;
    uint64_t db_waited_us; /* of which the deadline knows */
    struct arena *arena;
    size_t arena_used; /* when the handler began */
};

/* Pushes `db` for a projection whose tables are known (vm_projection.c). */
void vm_push_db(lua_State *L, struct vm_script *script,
                const struct projection_decl *decl);
