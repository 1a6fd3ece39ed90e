/*
 * Life of a field: `event` is an empty table; reading a field it does not have
 * calls event_index, which makes the value from the C event and puts it into
 * the table, where the next read finds it without a call.
 *
 * A table is tied to its event by being the one in the registry at event_ref;
 * when the handler ends vm->event is NULL, and every table is a stale one.
 */
#include "vm/vm_event.h"

#include "base/clock.h"
#include "vm/vm_json.h"
#include "vm/vm_script.h"

#include <inttypes.h>
#include <stdio.h>

/* The first two are not known yet when an aggregate applies what it has just
 * emitted, so `apply` never sees them: a fold must always give the same. */
enum field {
    FIELD_NONE,
    FIELD_POSITION,
    FIELD_RECORDED_AT,
    FIELD_EVENT_ID,
    FIELD_EVENT_TYPE,
    FIELD_EVENT_VERSION,
    FIELD_AGGREGATE_TYPE,
    FIELD_AGGREGATE_ID,
    FIELD_AGGREGATE_VERSION,
    FIELD_DATA,
    FIELD_METADATA,
    FIELD_TENANT_ID,
    FIELD_ACTOR_ID,
    FIELD_CORRELATION_ID,
    FIELD_CAUSATION_ID,
    FIELD_OCCURRED_AT,
    FIELD_COUNT
};

/* clang-format off */
static const char *const field_names[FIELD_COUNT] = {
    [FIELD_POSITION] = "position",
    [FIELD_RECORDED_AT] = "recorded_at",
    [FIELD_EVENT_ID] = "event_id",
    [FIELD_EVENT_TYPE] = "event_type",
    [FIELD_EVENT_VERSION] = "event_version",
    [FIELD_AGGREGATE_TYPE] = "aggregate_type",
    [FIELD_AGGREGATE_ID] = "aggregate_id",
    [FIELD_AGGREGATE_VERSION] = "aggregate_version",
    [FIELD_DATA] = "data",
    [FIELD_METADATA] = "metadata",
    [FIELD_TENANT_ID] = "tenant_id",
    [FIELD_ACTOR_ID] = "actor_id",
    [FIELD_CORRELATION_ID] = "correlation_id",
    [FIELD_CAUSATION_ID] = "causation_id",
    [FIELD_OCCURRED_AT] = "occurred_at",
};
/* clang-format on */

/* ---- upcasts ---- */

/* Pushes the chain of functions for an event type, or nil. */
static bool push_chain(lua_State *L, struct vm *vm, struct str aggregate_type,
                       struct str event_type)
{
    int top = lua_gettop(L);

    vm_push_ref(L, vm->upcasts_ref);
    if (vm_push_field(L, -1, aggregate_type) == LUA_TTABLE)
        vm_push_field(L, -1, event_type);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return lua_istable(L, -1);
}

uint32_t vm_event_shape(lua_State *L, struct vm *vm, struct str aggregate_type,
                        struct str event_type)
{
    uint32_t shape = 1;

    if (push_chain(L, vm, aggregate_type, event_type))
        shape += (uint32_t)lua_objlen(L, -1);
    lua_pop(L, 1);
    return shape;
}

/* Data of a shape that is not known yet, as after a newer engine wrote beside
 * this one, would be read as if it were of a known one: no handler sees it.  A
 * type without a script has no shapes. */
static void check_shape(lua_State *L, struct vm *vm, const struct event *event)
{
    int top = lua_gettop(L);
    uint32_t newest = 1;
    bool known;

    vm_push_ref(L, vm->upcasts_ref);
    known = vm_push_field(L, -1, event->aggregate_type) == LUA_TTABLE;
    if (known && vm_push_field(L, -1, event->event_type) == LUA_TTABLE)
        newest += (uint32_t)lua_objlen(L, -1);
    else if (vm->any_events)
        known = false;
    lua_settop(L, top);
    if (known && event->event_version > newest)
        vm_stop(L, ERR_SCRIPT,
                "%.*s has event_version %" PRIu32 ", and the script of %.*s "
                "knows up to %" PRIu32 ": load the script that wrote it",
                STR_ARG(event->event_type), event->event_version,
                STR_ARG(event->aggregate_type), newest);
}

/* Brings the data on top of the stack up to date. */
static void upcast(lua_State *L, struct vm *vm, const struct event *event)
{
    int data = lua_gettop(L);
    int version = (int)event->event_version;

    if (!push_chain(L, vm, event->aggregate_type, event->event_type)) {
        lua_pop(L, 1);
        return;
    }
    for (;; version++) {
        lua_rawgeti(L, data + 1, version);
        if (lua_isnil(L, -1))
            break;
        lua_pushvalue(L, data);
        vm_lua_call(L, vm, 1, 1);
        if (!lua_istable(L, -1))
            vm_throw(L,
                     "upcast.%.*s[%d] must return the data, a table, not a %s",
                     STR_ARG(event->event_type), version, luaL_typename(L, -1));
        lua_replace(L, data);
    }
    lua_settop(L, data);
}

/* ---- fields ---- */

static void push_number(lua_State *L, uint64_t value)
{
    lua_pushnumber(L, (lua_Number)value);
}

static void push_uuid(lua_State *L, struct uuid id)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    lua_pushlstring(L, text, UUID_TEXT_SIZE - 1);
}

static void push_time(lua_State *L, int64_t wall_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(wall_us, text);
    lua_pushstring(L, text);
}

static void push_optional(lua_State *L, struct str s)
{
    if (str_is_none(s))
        lua_pushnil(L);
    else
        vm_push_str(L, s);
}

static void push_shape(lua_State *L, struct vm *vm, const struct event *event)
{
    uint32_t shape =
        vm_event_shape(L, vm, event->aggregate_type, event->event_type);

    push_number(L, MAX(event->event_version, shape));
}

static void push_data(lua_State *L, struct vm *vm, const struct event *event)
{
    if (vm->decoding)
        vm_throw(L, "event.data was read by its own upcast");
    vm->decoding = true;
    vm_push_json(L, vm, event->data);
    upcast(L, vm, event);
    vm->decoding = false;
}

static void push_metadata(lua_State *L, struct vm *vm,
                          const struct event *event)
{
    vm_push_json(L, vm, event->metadata.len > 0 ? event->metadata : STR("{}"));
}

static void push_event_field(lua_State *L, struct vm *vm,
                             const struct event *event, enum field field)
{
    switch (field) {
    case FIELD_POSITION:
        push_number(L, event->position);
        break;
    case FIELD_RECORDED_AT:
        push_time(L, event->recorded_at_us);
        break;
    case FIELD_EVENT_ID:
        push_uuid(L, event->event_id);
        break;
    case FIELD_EVENT_TYPE:
        vm_push_str(L, event->event_type);
        break;
    case FIELD_EVENT_VERSION:
        push_shape(L, vm, event);
        break;
    case FIELD_AGGREGATE_TYPE:
        vm_push_str(L, event->aggregate_type);
        break;
    case FIELD_AGGREGATE_ID:
        vm_push_str(L, event->aggregate_id);
        break;
    case FIELD_AGGREGATE_VERSION:
        push_number(L, event->aggregate_version);
        break;
    case FIELD_DATA:
        push_data(L, vm, event);
        break;
    case FIELD_METADATA:
        push_metadata(L, vm, event);
        break;
    case FIELD_TENANT_ID:
        push_optional(L, event->tenant_id);
        break;
    case FIELD_ACTOR_ID:
        push_optional(L, event->actor_id);
        break;
    case FIELD_CORRELATION_ID:
        push_optional(L, event->correlation_id);
        break;
    case FIELD_CAUSATION_ID:
        push_optional(L, event->causation_id);
        break;
    case FIELD_OCCURRED_AT:
        push_time(L, event->occurred_at_us);
        break;
    case FIELD_NONE:
    case FIELD_COUNT:
        lua_pushnil(L);
    }
}

static enum field first_field(const struct vm *vm)
{
    return vm->event_script->kind == SCRIPT_AGGREGATE ? FIELD_EVENT_ID
                                                      : FIELD_POSITION;
}

/* ---- the table ---- */

static bool is_current(lua_State *L, struct vm *vm, int index)
{
    bool same;

    if (vm->event == NULL)
        return false;
    index = vm_abs(L, index);
    vm_push_ref(L, vm->event_ref);
    same = lua_rawequal(L, index, -1);
    lua_pop(L, 1);
    return same;
}

static void refuse_field(lua_State *L)
{
    char list[320];
    size_t len = 0;

    for (size_t i = FIELD_POSITION; i < FIELD_COUNT; i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                i > FIELD_POSITION ? ", " : "", field_names[i]);
    vm_throw(L, "an event has no field '%s' (it has: %s)",
             lua_isstring(L, 2) ? lua_tostring(L, 2) : luaL_typename(L, 2),
             list);
}

/* event.field, the first time.  Upvalue: field by name. */
static int event_index(lua_State *L)
{
    struct vm *vm = vm_of(L);
    enum field field;

    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    field = (enum field)lua_tointeger(L, 3);
    if (field == FIELD_NONE)
        refuse_field(L);
    if (!is_current(L, vm, 1))
        vm_throw(L,
                 "event.%s was read after its handler ended: keep the fields "
                 "you need, not the event",
                 field_names[field]);
    if (field < first_field(vm))
        vm_throw(L, "event.%s is not known inside `apply`", field_names[field]);
    push_event_field(L, vm, vm->event, field);
    if (!lua_isnil(L, -1)) {
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
    }
    return 1;
}

static int event_newindex(lua_State *L)
{
    return vm_throw(L, "an event is read-only");
}

static void fill_field(lua_State *L, struct vm *vm, int index, enum field field)
{
    if (vm_push_field(L, index, str_of(field_names[field])) == LUA_TNIL) {
        lua_pushstring(L, field_names[field]);
        push_event_field(L, vm, vm->event, field);
        lua_rawset(L, index);
    }
    lua_pop(L, 1);
}

void vm_event_fill(lua_State *L, struct vm *vm, int index)
{
    if (!is_current(L, vm, index))
        return;
    index = vm_abs(L, index);
    for (enum field f = first_field(vm); f < FIELD_COUNT; f++)
        fill_field(L, vm, index, f);
}

void vm_event_settle(lua_State *L, struct vm *vm)
{
    if (vm->event == NULL || vm->event_settled || vm->decoding)
        return;
    vm_push_ref(L, vm->event_ref);
    fill_field(L, vm, vm_abs(L, -1), FIELD_DATA);
    fill_field(L, vm, vm_abs(L, -1), FIELD_METADATA);
    lua_pop(L, 1);
    vm->event_settled = true;
}

void vm_push_event(lua_State *L, struct vm *vm, const struct event *event,
                   const struct vm_script *script)
{
    lua_createtable(L, 0, 4);
    vm_push_ref(L, vm->event_meta_ref);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, vm->event_ref);
    vm->event = event;
    vm->event_script = script;
    vm->event_settled = false;
    vm->decoding = false;
    if (event->event_version > 1)
        check_shape(L, vm, event);
}

void vm_event_open(lua_State *L, struct vm *vm)
{
    lua_newtable(L); /* metatable */
    lua_newtable(L); /* field by name */
    for (int i = FIELD_POSITION; i < FIELD_COUNT; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, field_names[i]);
    }
    lua_pushcclosure(L, event_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, event_newindex);
    lua_setfield(L, -2, "__newindex");
    vm_close_metatable(L);
    vm->event_meta_ref = vm_ref(L);
    lua_pushboolean(L, false); /* keeps the place for vm_push_event */
    vm->event_ref = vm_ref(L);
}
