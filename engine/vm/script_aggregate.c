/*
 * From the table of an aggregate script to its declaration: one function a
 * table, in the order of the file; each leaves the stack as it found it and
 * notes faults without stopping, so that one load tells of all of them.
 */
#include "vm/script_read.h"

#include <stdio.h>

#define SNAPSHOT_EVERY_MAX 1000000
#define STATE_VERSION_MAX  1000000000

static const char *const aggregate_keys[] = {
    "type",     "snapshot_every", "state_version", "initial",
    "commands", "apply",          "upcast",        NULL,
};
static const char *const command_keys[] = {"input", "run", NULL};

static void check_name(struct reader *r, struct str name, const char *what)
{
    struct err err = {0};
    char named[96];

    snprintf(named, sizeof(named), "%s '%.*s'", what, (int)MIN(name.len, 60),
             name.ptr);
    if (!event_check_name(name, named, &err))
        reader_fault_err(r, name, &err);
}

static void read_type(struct reader *r, int table, struct aggregate_decl *out)
{
    if (reader_field(r, table, "type", LUA_TSTRING, REQUIRED)) {
        out->type = reader_text(r, -1);
        check_name(r, out->type, "aggregate type");
    }
    lua_pop(r->L, 1);
}

/* ---- commands ---- */

static void read_input_field(struct reader *r, int table, struct str name,
                             struct input_decl *out)
{
    struct buf words = {0};
    bool known;

    out->name = name;
    vm_push_field(r->L, table, name);
    known = lua_type(r->L, -1) == LUA_TSTRING &&
            read_input_word(vm_str(r->L, -1), out);
    if (!known) {
        input_words(&words);
        reader_fault(r, name,
                     "input '%.*s' must be one of: %s; with ? when it may be "
                     "left out",
                     STR_ARG(name), words.ptr);
        buf_done(&words);
    }
    lua_pop(r->L, 1);
}

static void read_inputs(struct reader *r, int command, struct command_decl *out)
{
    int table = lua_gettop(r->L) + 1;

    out->any_input = vm_push_field(r->L, command, STR("input")) == LUA_TNIL;
    lua_pop(r->L, 1);
    if (reader_field(r, command, "input", LUA_TTABLE, OPTIONAL)) {
        struct str *names = reader_keys(r, table, &out->input_count);

        out->inputs =
            ARENA_ARRAY(r->arena, struct input_decl, out->input_count + 1);
        reader_enter(r, STR("input"));
        for (size_t i = 0; i < out->input_count; i++)
            read_input_field(r, table, names[i], &out->inputs[i]);
        reader_leave(r);
    }
    lua_pop(r->L, 1);
}

static void read_command(struct reader *r, int commands, struct str name,
                         struct command_decl *out)
{
    int table = lua_gettop(r->L) + 1;

    out->name = name;
    check_name(r, name, "command");
    if (vm_push_field(r->L, commands, name) != LUA_TTABLE) {
        reader_fault(r, name,
                     "command '%.*s' must be a table with `run` (and `input`)",
                     STR_ARG(name));
        lua_pop(r->L, 1);
        return;
    }
    reader_enter(r, name);
    reader_allow(r, table, command_keys);
    read_inputs(r, table, out);
    reader_field(r, table, "run", LUA_TFUNCTION, REQUIRED);
    reader_leave(r);
    lua_settop(r->L, table - 1);
}

static void read_commands(struct reader *r, int table,
                          struct aggregate_decl *out)
{
    int commands = lua_gettop(r->L) + 1;

    if (reader_field(r, table, "commands", LUA_TTABLE, OPTIONAL)) {
        struct str *names = reader_keys(r, commands, &out->command_count);

        out->commands =
            ARENA_ARRAY(r->arena, struct command_decl, out->command_count + 1);
        reader_enter(r, STR("commands"));
        for (size_t i = 0; i < out->command_count; i++)
            read_command(r, commands, names[i], &out->commands[i]);
        reader_leave(r);
    }
    lua_pop(r->L, 1);
}

/* ---- events ---- */

static void read_apply(struct reader *r, int table, struct aggregate_decl *out)
{
    int apply = lua_gettop(r->L) + 1;

    if (reader_field(r, table, "apply", LUA_TTABLE, REQUIRED)) {
        out->event_types = reader_keys(r, apply, &out->event_type_count);
        if (out->event_type_count == 0)
            reader_fault(r, STR("apply"), "'apply' has no event type");
    }
    reader_enter(r, STR("apply"));
    for (size_t i = 0; i < out->event_type_count; i++) {
        struct str name = out->event_types[i];

        check_name(r, name, "event type");
        if (vm_push_field(r->L, apply, name) != LUA_TFUNCTION)
            reader_fault(r, name, "'apply.%.*s' must be a function",
                         STR_ARG(name));
        lua_pop(r->L, 1);
    }
    reader_leave(r);
    lua_pop(r->L, 1);
}

void read_aggregate(struct reader *r, int table, struct aggregate_decl *out)
{
    double every = 0, state_version = 0;

    reader_allow(r, table, aggregate_keys);
    read_type(r, table, out);
    reader_integer(r, table, "snapshot_every", 1, SNAPSHOT_EVERY_MAX, &every);
    reader_integer(r, table, "state_version", 1, STATE_VERSION_MAX,
                   &state_version);
    out->snapshot_every = (uint32_t)every;
    out->state_version = (uint32_t)state_version;
    reader_field(r, table, "initial", LUA_TFUNCTION, OPTIONAL);
    lua_pop(r->L, 1);
    read_commands(r, table, out);
    read_apply(r, table, out);
    read_upcasts(r, table, out);
}
