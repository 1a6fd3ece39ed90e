/*
 * One function a kind and direction.  To C: the value is looked at, never
 * converted in place (lua_next walks the table it is in), and texts are copied
 * into the arena.  To Lua: canonical texts are made in vm->text.
 */
#include "vm/vm_value.h"

#include "base/clock.h"
#include "vm/vm_decimal.h"
#include "vm/vm_json.h"

#include <math.h>

#define EXACT_INTEGER 9007199254740992.0 /* 2^53 */

/* Each of these gives back false when the value does not fit the kind. */

static bool to_text(lua_State *L, int index, struct arena *arena,
                    struct value *out)
{
    struct str text;

    if (lua_type(L, index) != LUA_TSTRING)
        return false;
    text = vm_str(L, index);
    if (!str_is_utf8(text) || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    out->text = arena_str(arena, text);
    return true;
}

static bool to_uuid(lua_State *L, int index, struct value *out)
{
    return lua_type(L, index) == LUA_TSTRING &&
           uuid_parse(vm_str(L, index), &out->uuid);
}

static bool to_integer(lua_State *L, struct vm *vm, int index, int64_t min,
                       int64_t max, struct value *out)
{
    int64_t value;

    if (lua_type(L, index) == LUA_TNUMBER) {
        double number = lua_tonumber(L, index);

        if (number != trunc(number) || !(fabs(number) <= EXACT_INTEGER))
            return false;
        value = (int64_t)number;
    } else if (vm_is_decimal(L, vm, index)) {
        struct decimal view = vm_decimal_view(L, index);

        if (!decimal_to_i64(&view, &value))
            return false;
    } else {
        return false;
    }
    out->i64 = value;
    return value >= min && value <= max;
}

static size_t count_digits(struct str text, size_t from)
{
    size_t count = 0;

    while (from + count < text.len && text.ptr[from + count] >= '0' &&
           text.ptr[from + count] <= '9')
        count++;
    return count;
}

/* True for a text that is canonical already ("-12.50"), as nearly all are: no
 * integer needs to be made of it.  Minus zero is left to the long way. */
static bool is_plain_number(struct str text)
{
    size_t start = str_starts(text, STR("-"));
    size_t whole = count_digits(text, start);
    size_t fraction, end = start + whole;

    if (whole == 0 || (whole > 1 && text.ptr[start] == '0') ||
        text.len > DECIMAL_MAX_DIGITS || (start > 0 && text.ptr[start] == '0'))
        return false;
    if (end == text.len)
        return true;
    fraction = count_digits(text, end + 1);
    return text.ptr[end] == '.' && fraction > 0 &&
           end + 1 + fraction == text.len;
}

static bool to_plain_numeric(lua_State *L, int index, struct arena *arena,
                             struct value *out)
{
    int type = lua_type(L, index);
    char digits[32];
    struct str text;

    if (type == LUA_TSTRING)
        text = vm_str(L, index);
    else if (type == LUA_TNUMBER && isfinite(lua_tonumber(L, index)))
        text =
            str_n(digits, decimal_double_text(lua_tonumber(L, index), digits));
    else
        return false;
    if (!is_plain_number(text))
        return false;
    out->text = arena_str(arena, text);
    return true;
}

static bool to_numeric(lua_State *L, struct vm *vm, int index,
                       struct arena *arena, struct value *out)
{
    struct err ignored = {0};

    if (to_plain_numeric(L, index, arena, out))
        return true;
    if (!vm_to_decimal(L, vm, index, &vm->sum, &ignored))
        return false;
    buf_clear(&vm->text);
    decimal_format(&vm->sum, &vm->text);
    out->text = arena_str(arena, buf_as_str(&vm->text));
    return true;
}

static bool to_double(lua_State *L, struct vm *vm, int index, struct value *out)
{
    if (lua_type(L, index) == LUA_TNUMBER)
        out->number = lua_tonumber(L, index);
    else if (vm_is_decimal(L, vm, index))
        out->number = vm_decimal_number(L, index);
    else
        return false;
    return isfinite(out->number);
}

static bool to_boolean(lua_State *L, int index, struct value *out)
{
    out->flag = lua_toboolean(L, index);
    return lua_isboolean(L, index);
}

static bool to_date(lua_State *L, int index, struct value *out)
{
    return lua_type(L, index) == LUA_TSTRING &&
           clock_date_parse(vm_str(L, index), &out->days);
}

static bool to_timestamp(lua_State *L, int index, struct value *out)
{
    return lua_type(L, index) == LUA_TSTRING &&
           clock_parse(vm_str(L, index), &out->wall_us);
}

static bool to_json(lua_State *L, struct vm *vm, int index, struct arena *arena,
                    struct value *out)
{
    out->text = arena_str(arena, vm_json_text(L, vm, index));
    return true;
}

static bool to_kind(lua_State *L, struct vm *vm, int index,
                    enum value_kind kind, struct arena *arena,
                    struct value *out)
{
    switch (kind) {
    case VALUE_TEXT:
        return to_text(L, index, arena, out);
    case VALUE_UUID:
        return to_uuid(L, index, out);
    case VALUE_BIGINT:
        return to_integer(L, vm, index, INT64_MIN, INT64_MAX, out);
    case VALUE_INTEGER:
        return to_integer(L, vm, index, INT32_MIN, INT32_MAX, out);
    case VALUE_NUMERIC:
        return to_numeric(L, vm, index, arena, out);
    case VALUE_DOUBLE:
        return to_double(L, vm, index, out);
    case VALUE_BOOLEAN:
        return to_boolean(L, index, out);
    case VALUE_DATE:
        return to_date(L, index, out);
    case VALUE_TIMESTAMP:
        return to_timestamp(L, index, out);
    case VALUE_JSON:
        return to_json(L, vm, index, arena, out);
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        break;
    }
    return false;
}

/* "a table", "a text of 3 bytes", or what a number says: this reaches the log,
 * where no texts of an event belong. */
static const char *given_text(lua_State *L, struct vm *vm, int index)
{
    if (vm_is_decimal(L, vm, index)) {
        buf_clear(&vm->text);
        vm_decimal_text(L, index, &vm->text);
        return vm->text.ptr;
    }
    buf_clear(&vm->text);
    if (lua_type(L, index) == LUA_TSTRING) {
        buf_printf(&vm->text, "a text of %zu bytes", lua_objlen(L, index));
        return vm->text.ptr;
    }
    if (lua_type(L, index) != LUA_TNUMBER)
        return luaL_typename(L, index);
    lua_pushvalue(L, index); /* lua_tostring converts in place */
    buf_printf(&vm->text, "'%.60s'", lua_tostring(L, -1));
    lua_pop(L, 1);
    return vm->text.ptr;
}

bool vm_to_value(lua_State *L, struct vm *vm, int index,
                 const struct column_def *column, struct arena *arena,
                 struct value *out, struct err *err)
{
    index = vm_abs(L, index);
    out->kind = column->kind;
    if (vm_is_null(L, index)) {
        out->kind = VALUE_NULL;
        if (column->nullable)
            return true;
        return err_set(err, ERR_INVALID_INPUT, "column '%.*s' must not be null",
                       STR_ARG(column->name));
    }
    if (to_kind(L, vm, index, column->kind, arena, out))
        return true;
    return err_set(err, ERR_INVALID_INPUT,
                   "column '%.*s' takes a value of kind %s, not %s",
                   STR_ARG(column->name), value_word(column->kind),
                   given_text(L, vm, index));
}

/* ---- to Lua ---- */

static void push_i64(lua_State *L, struct vm *vm, int64_t value)
{
    if (value <= (int64_t)EXACT_INTEGER && value >= -(int64_t)EXACT_INTEGER) {
        lua_pushnumber(L, (lua_Number)value);
        return;
    }
    decimal_from_i64(&vm->sum, value);
    vm_push_decimal(L, vm, &vm->sum);
}

/* Kinds that scripts read as their canonical text. */
static void push_text_of(lua_State *L, struct vm *vm, const struct value *value)
{
    buf_clear(&vm->text);
    value_to_text(value, &vm->text);
    vm_push_str(L, buf_as_str(&vm->text));
}

void vm_push_value(lua_State *L, struct vm *vm, const struct value *value)
{
    switch (value->kind) {
    case VALUE_TEXT:
        vm_push_str(L, value->text);
        break;
    case VALUE_BIGINT:
    case VALUE_INTEGER:
        push_i64(L, vm, value->i64);
        break;
    case VALUE_NUMERIC:
        vm_push_decimal_text(L, vm, value->text);
        break;
    case VALUE_DOUBLE:
        lua_pushnumber(L, value->number);
        break;
    case VALUE_BOOLEAN:
        lua_pushboolean(L, value->flag);
        break;
    case VALUE_UUID:
    case VALUE_DATE:
    case VALUE_TIMESTAMP:
        push_text_of(L, vm, value);
        break;
    case VALUE_JSON:
        vm_push_json(L, vm, value->text);
        break;
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        lua_pushnil(L);
    }
}
