/*
 * What scripts get of the world: time and ids that are the event's wherever a
 * replay must give the same again, a way to refuse, and the log.
 */
#include "base/clock.h"
#include "base/log.h"
#include "vm/vm_decimal.h"
#include "vm/vm_json.h"
#include "vm/vm_keys.h"
#include "vm/vm_lib.h"
#include "vm/vm_run.h"

#include <inttypes.h>
#include <stdio.h>

#define LOG_LINES_PER_SECOND 100
#define LOG_FIELDS_MAX       16
#define LOG_TEXT_MAX         1024

/* ---- time, uuid ---- */

/* time(): RFC 3339 with microseconds. */
int vm_time(lua_State *L)
{
    struct vm *vm = vm_of(L);
    char text[CLOCK_TEXT_SIZE];

    if (vm->moment.kind == MOMENT_NONE)
        vm_throw(L, "time() is not available while a script loads");
    clock_format(vm->moment.kind == MOMENT_EVENT
                     ? vm->moment.event->occurred_at_us
                     : clock_wall_us(),
                 text);
    lua_pushstring(L, text);
    return 1;
}

/* The same at each replay: of the event's id and the number of the call. */
static struct uuid event_uuid(struct vm_moment *moment)
{
    char number[16];

    snprintf(number, sizeof(number), "%" PRIu32, ++moment->uuids);
    return uuid_derive(moment->event->event_id, str_of(number));
}

/* uuid() */
int vm_uuid(lua_State *L)
{
    struct vm *vm = vm_of(L);
    char text[UUID_TEXT_SIZE];

    if (vm->moment.kind == MOMENT_NONE)
        vm_throw(L, "uuid() is not available while a script loads");
    uuid_format(vm->moment.kind == MOMENT_EVENT ? event_uuid(&vm->moment)
                                                : uuid_new(),
                text);
    lua_pushstring(L, text);
    return 1;
}

/* ---- reject ---- */

/* reject(message): ends the command, also out of a pcall. */
int vm_reject(lua_State *L)
{
    const char *message = luaL_checkstring(L, 1);

    vm_run_check(L, "reject");
    vm_stop(L, ERR_REJECTED, "%s", message);
}

/* ---- log ---- */

/* A state may write so many lines a second; `held` tells of the rest. */
static bool may_log(struct vm *vm, uint64_t *held)
{
    uint64_t second = clock_ms() / 1000;

    if (second != vm->log.second) {
        vm->log.second = second;
        vm->log.lines = 0;
    }
    if (vm->log.lines >= LOG_LINES_PER_SECOND) {
        vm->log.held++;
        return false;
    }
    vm->log.lines++;
    *held = vm->log.held;
    vm->log.held = 0;
    return true;
}

/* Leaves a text on the stack where the field needs one, so that it lives as
 * long as the line is made. */
static struct log_field read_field(lua_State *L, struct vm *vm, const char *key)
{
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
        return LOG_DOUBLE(key, lua_tonumber(L, -1));
    case LUA_TBOOLEAN:
        return LOG_BOOL(key, lua_toboolean(L, -1));
    case LUA_TTABLE:
        vm_push_str(L, vm_json_text(L, vm, -1));
        lua_replace(L, -2);
        return LOG_JSON(key, vm_str(L, -1));
    default:
        vm_push_tostring(L, vm, -1);
        lua_replace(L, -2);
        return LOG_STR(key, vm_str(L, -1));
    }
}

/* A name stands in the line as it is. */
static bool is_field_name(const struct vm_key *key)
{
    if (key->type != LUA_TSTRING || key->text.len == 0)
        return false;
    for (size_t i = 0; i < key->text.len; i++)
        if (key->text.ptr[i] <= ' ' || key->text.ptr[i] > '~' ||
            strchr("\"=\\", key->text.ptr[i]) != NULL)
            return false;
    return true;
}

/* Pushes the names of the table at index 2.  They stay on the stack until the
 * line is written, whatever a script does to the table meanwhile: a value may
 * be the event, whose upcasts run when it is encoded. */
static size_t push_names(lua_State *L, struct vm *vm)
{
    size_t from = vm_keys_collect(L, vm, 2);
    size_t count = MIN(vm->keys.count - from, LOG_FIELDS_MAX);

    for (size_t i = 0; i < count; i++) {
        if (!is_field_name(&vm->keys.items[from + i]))
            vm_throw(L, "log: names of fields must be words");
        vm_push_key(L, &vm->keys.items[from + i]);
    }
    vm->keys.count = from;
    return count;
}

/* Reads the table at index 2 into `fields`, by name; gives back how many. */
static size_t read_fields(lua_State *L, struct vm *vm, struct log_field *fields)
{
    int name = lua_gettop(L) + 1;
    size_t count;

    if (lua_isnoneornil(L, 2))
        return 0;
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checkstack(L, 2 * LOG_FIELDS_MAX + 4, "log");
    count = push_names(L, vm);
    for (size_t i = 0; i < count; i++, name++) {
        lua_pushvalue(L, name);
        lua_rawget(L, 2);
        fields[i] = read_field(L, vm, lua_tostring(L, name));
    }
    return count;
}

/* Where the line comes from: ids, never payloads. */
struct origin {
    struct vm_where where;
    char event_id[UUID_TEXT_SIZE];
};

static size_t add_origin(struct vm *vm, struct log_field *fields, size_t count,
                         struct origin *origin)
{
    vm_find_where(vm, &origin->where);
    fields[count++] = LOG_TEXT("script", origin->where.file);
    if (vm->event != NULL) {
        uuid_format(vm->event->event_id, origin->event_id);
        fields[count++] = LOG_TEXT("event_id", origin->event_id);
    }
    return count;
}

/* The text at index 1 on one line: data in it cannot pass for another one. */
static void read_text(lua_State *L, char text[LOG_TEXT_MAX])
{
    snprintf(text, LOG_TEXT_MAX, "%s", luaL_checkstring(L, 1));
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
}

static int log_line(lua_State *L, enum log_level level)
{
    struct vm *vm = vm_of(L);
    struct log_field fields[LOG_FIELDS_MAX + 4];
    struct origin origin;
    char text[LOG_TEXT_MAX];
    uint64_t held;

    read_text(L, text);
    if (!log_is_on(level))
        return 0;

    size_t count = read_fields(L, vm, fields);

    if (!may_log(vm, &held))
        return 0;
    count = add_origin(vm, fields, count, &origin);
    if (held > 0)
        fields[count++] = LOG_U64("held_back", held);
    fields[count] = (struct log_field){.kind = LOG_KIND_END};
    log_write(level, "script", text, fields);
    return 0;
}

static int log_at_debug(lua_State *L)
{
    return log_line(L, LOG_DEBUG);
}

static int log_at_info(lua_State *L)
{
    return log_line(L, LOG_INFO);
}

static int log_at_warning(lua_State *L)
{
    return log_line(L, LOG_WARNING);
}

static int log_at_error(lua_State *L)
{
    return log_line(L, LOG_ERROR);
}

const luaL_Reg vm_log_functions[] = {
    {"debug", log_at_debug},
    {"error", log_at_error},
    {"info", log_at_info},
    {"warning", log_at_warning},
    {NULL, NULL},
};
