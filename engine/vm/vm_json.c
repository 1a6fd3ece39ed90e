/*
 * Decoding walks a text that base/json.h has checked, so it meets no fault but
 * the memory's; strings without escapes, which are nearly all, go to Lua as
 * they stand.  Encoding appends to vm->text, which belongs to the state and
 * counts against its ceiling, so an error on the way leaks nothing.
 */
#include "vm/vm_json.h"

#include "vm/vm_decimal.h"
#include "vm/vm_event.h"
#include "vm/vm_keys.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define EXACT_INTEGER 9007199254740992.0 /* 2^53 */
#define EXACT_DIGITS  15                 /* any such integer is a double */

/* ---- decoding ---- */

struct decoder {
    lua_State *L;
    struct vm *vm;
    const char *at;
    const char *end;
};

static void push_value(struct decoder *d);

static void skip_space(struct decoder *d)
{
    while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' ||
                              *d->at == '\t' || *d->at == '\r'))
        d->at++;
}

/* The raw string at the front, with its quotes; the text is moved behind. */
static struct str cut_string(struct decoder *d, bool *escaped_out)
{
    const char *start = d->at++;

    *escaped_out = false;
    while (*d->at != '"') {
        if (*d->at == '\\') {
            *escaped_out = true;
            d->at++;
        }
        d->at++;
    }
    d->at++;
    return str_n(start, (size_t)(d->at - start));
}

static void push_string(struct decoder *d)
{
    bool escaped;
    struct str raw = cut_string(d, &escaped);

    if (!escaped) {
        lua_pushlstring(d->L, raw.ptr + 1, raw.len - 2);
        return;
    }
    buf_clear(&d->vm->text);
    json_unescape((struct json){JSON_STRING, raw}, &d->vm->text);
    vm_push_str(d->L, buf_as_str(&d->vm->text));
}

static struct str cut_number(struct decoder *d)
{
    const char *start = d->at;

    while (d->at < d->end &&
           ((*d->at >= '0' && *d->at <= '9') || *d->at == '-' ||
            *d->at == '+' || *d->at == '.' || *d->at == 'e' || *d->at == 'E'))
        d->at++;
    return str_n(start, (size_t)(d->at - start));
}

/* Numbers as they mostly are: up to 15 digits with a point or without.  Both
 * the digits and the power of ten are exact, so the quotient is the nearest
 * double. */
static bool plain_number(struct str text, double *out)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3, 1e4,  1e5,
                                    1e6,  1e7,  1e8,  1e9, 1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15};
    bool negative = text.ptr[0] == '-';
    size_t digits = 0, scale = 0;
    bool fraction = false;
    int64_t value = 0;

    for (size_t i = negative; i < text.len; i++) {
        char c = text.ptr[i];

        if (c == '.') {
            fraction = true;
            continue;
        }
        if (c < '0' || c > '9' || ++digits > EXACT_DIGITS)
            return false;
        scale += fraction;
        value = value * 10 + (c - '0');
    }
    *out = (double)value / powers[scale];
    if (negative)
        *out = -*out;
    return true;
}

static bool is_integer_text(struct str text)
{
    for (size_t i = text.ptr[0] == '-'; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return true;
}

/* The number as a double, unless that would be another integer or none. */
static bool double_number(struct str text, double *out)
{
    int64_t whole;

    if (is_integer_text(text)) {
        if (!str_to_i64(text, &whole) || whole > (int64_t)EXACT_INTEGER ||
            whole < -(int64_t)EXACT_INTEGER)
            return false;
        *out = (double)whole;
        return true;
    }
    return json_double((struct json){JSON_NUMBER, text}, out) && isfinite(*out);
}

/* What not even a decimal holds is given as its text: the log keeps numbers of
 * any size, and an event must not be unreadable for one that nobody adds up. */
static void push_number(struct decoder *d)
{
    struct str text = cut_number(d);
    struct err ignored = {0};
    double value;

    if (plain_number(text, &value) || double_number(text, &value))
        lua_pushnumber(d->L, value);
    else if (decimal_parse(&d->vm->sum, text, &ignored))
        vm_push_decimal(d->L, d->vm, &d->vm->sum);
    else
        vm_push_str(d->L, text);
}

static void push_array(struct decoder *d)
{
    lua_State *L = d->L;
    int place = 0;

    lua_newtable(L);
    vm_push_ref(L, d->vm->array_ref);
    lua_setmetatable(L, -2);
    d->at++;
    skip_space(d);
    while (*d->at != ']') {
        push_value(d);
        lua_rawseti(L, -2, ++place);
        skip_space(d);
        if (*d->at == ',')
            d->at++;
    }
    d->at++;
}

static void push_object(struct decoder *d)
{
    lua_State *L = d->L;

    lua_createtable(L, 0, 4);
    d->at++;
    skip_space(d);
    while (*d->at != '}') {
        push_string(d);
        skip_space(d);
        d->at++; /* the colon */
        push_value(d);
        lua_rawset(L, -3);
        skip_space(d);
        if (*d->at == ',') {
            d->at++;
            skip_space(d);
        }
    }
    d->at++;
}

static void push_value(struct decoder *d)
{
    luaL_checkstack(d->L, 4, "json");
    vm_charge(d->L, d->vm, 2);
    skip_space(d);
    switch (*d->at) {
    case '{':
        push_object(d);
        break;
    case '[':
        push_array(d);
        break;
    case '"':
        push_string(d);
        break;
    case 't':
        d->at += 4;
        lua_pushboolean(d->L, true);
        break;
    case 'f':
        d->at += 5;
        lua_pushboolean(d->L, false);
        break;
    case 'n':
        d->at += 4;
        lua_pushlightuserdata(d->L, NULL);
        break;
    default:
        push_number(d);
    }
}

void vm_push_json(lua_State *L, struct vm *vm, struct str checked)
{
    struct decoder d = {L, vm, checked.ptr, checked.ptr + checked.len};

    push_value(&d);
}

static bool number_fits(struct decoder *d)
{
    struct str text = cut_number(d);
    struct err ignored = {0};
    double value;

    return plain_number(text, &value) || double_number(text, &value) ||
           decimal_parse(&d->vm->sum, text, &ignored);
}

bool vm_json_fits(lua_State *L, struct vm *vm, struct str checked)
{
    struct decoder d = {L, vm, checked.ptr, checked.ptr + checked.len};
    bool escaped;

    while (d.at < d.end) {
        vm_charge(L, vm, 1);
        if (*d.at == '"')
            cut_string(&d, &escaped);
        else if (*d.at != '-' && (*d.at < '0' || *d.at > '9'))
            d.at++;
        else if (!number_fits(&d))
            return false;
    }
    return true;
}

/* ---- encoding ---- */

struct encoder {
    lua_State *L;
    struct vm *vm;
    int depth;
    struct vm_key path[JSON_MAX_DEPTH]; /* of the value, for messages */
};

static void encode_value(struct encoder *e, int index);

/* The place of a fault, as `items[3].price`. */
static const char *path_text(const struct encoder *e, char text[256])
{
    size_t len = 0;

    text[0] = '\0';
    for (int i = 0; i < e->depth && len < 255; i++) {
        const struct vm_key *key = &e->path[i];
        int added = key->type == LUA_TNUMBER
                        ? snprintf(text + len, 256 - len, "[%.0f]", key->number)
                        : snprintf(text + len, 256 - len, "%s%.*s",
                                   i > 0 ? "." : "", STR_ARG(key->text));

        len += (size_t)MAX(added, 0);
    }
    return text;
}

static void refuse(struct encoder *e, const char *what) NORETURN;

static void refuse(struct encoder *e, const char *what)
{
    char path[256];

    if (e->depth == 0)
        vm_throw(e->L, "json: %s", what);
    vm_throw(e->L, "json: %s (at '%s')", what, path_text(e, path));
}

/* Space for `more` bytes, below the state's ceiling. */
static struct buf *room(struct encoder *e, size_t more)
{
    struct buf *text = &e->vm->text;

    if (text->capacity - text->len <= more &&
        !vm_has_room(e->vm, 2 * (text->len + more)))
        vm_stop_memory(e->L);
    vm_charge(e->L, e->vm, 2 + more / 16);
    return text;
}

static void encode_string(struct encoder *e, struct str s)
{
    struct buf *out = room(e, 6 * s.len + 2);
    bool ascii = true, plain = true;

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        ascii = ascii && c < 0x80;
        plain = plain && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
        if (c == '\0')
            refuse(e, "a string with a NUL byte cannot be stored");
    }
    if (!ascii && !str_is_utf8(s))
        refuse(e, "a string that is not UTF-8 cannot be stored");
    if (!plain) {
        json_quote(out, s);
        return;
    }
    buf_char(out, '"');
    buf_str(out, s);
    buf_char(out, '"');
}

static void encode_integer(struct buf *out, double value)
{
    char digits[24];
    char *at = digits + sizeof(digits);
    uint64_t rest = (uint64_t)fabs(value);

    do
        *--at = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (value < 0)
        *--at = '-';
    buf_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

static void encode_number(struct encoder *e, double value)
{
    struct buf *out = room(e, 32);
    char text[32];

    if (!isfinite(value))
        refuse(e, "NaN and infinity have no JSON");
    if (value == trunc(value) && fabs(value) <= EXACT_INTEGER)
        encode_integer(out, value);
    else
        buf_add(out, text, decimal_double_text(value, text));
}

static void encode_items(struct encoder *e, int table, size_t count)
{
    buf_char(room(e, 1), '[');
    for (size_t i = 1; i <= count; i++) {
        e->path[e->depth - 1] =
            (struct vm_key){LUA_TNUMBER, {.number = (double)i}};
        if (i > 1)
            buf_char(room(e, 1), ',');
        lua_rawgeti(e->L, table, (int)i);
        encode_value(e, lua_gettop(e->L));
        lua_pop(e->L, 1);
    }
    buf_char(room(e, 1), ']');
}

/* `from` is where the table's sorted keys begin in vm->keys, whose array may
 * move while values are encoded. */
static void encode_members(struct encoder *e, int table, size_t from,
                           size_t count)
{
    buf_char(room(e, 1), '{');
    for (size_t i = 0; i < count; i++) {
        struct vm_key key = e->vm->keys.items[from + i];

        if (key.type != LUA_TSTRING)
            refuse(e, "keys of an object must all be strings");
        e->path[e->depth - 1] = key;
        if (i > 0)
            buf_char(room(e, 1), ',');
        encode_string(e, key.text);
        buf_char(room(e, 1), ':');
        vm_push_field(e->L, table, key.text);
        encode_value(e, lua_gettop(e->L));
        lua_pop(e->L, 1);
    }
    buf_char(room(e, 1), '}');
}

/* Keys 1 to count; anything else in an array would be lost. */
static void check_items(struct encoder *e, size_t from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct vm_key *key = &e->vm->keys.items[from + i];

        if (key->type != LUA_TNUMBER)
            refuse(e, "a table with numbers and other keys is neither an "
                      "array nor an object");
        if (key->number != (double)(i + 1))
            refuse(e, "an array with holes cannot be stored");
    }
}

static void encode_table(struct encoder *e, int table)
{
    struct vm *vm = e->vm;

    if (e->depth == JSON_MAX_DEPTH)
        refuse(e, "nested deeper than 64 levels");
    luaL_checkstack(e->L, 6, "json");
    vm_event_fill(e->L, vm, table);

    size_t from = vm_keys_collect(e->L, vm, table);
    size_t count = vm->keys.count - from;
    bool array = vm_is_array(e->L, vm, table) ||
                 (count > 0 && vm->keys.items[from].type == LUA_TNUMBER);

    if (array)
        check_items(e, from, count);
    e->depth++;
    if (array)
        encode_items(e, table, count);
    else
        encode_members(e, table, from, count);
    e->depth--;
    vm->keys.count = from;
}

static void encode_userdata(struct encoder *e, int index)
{
    if (!vm_is_decimal(e->L, e->vm, index))
        refuse(e, "this value has no JSON");
    buf_char(room(e, DECIMAL_MAX_DIGITS + 4), '"');
    vm_decimal_text(e->L, index, &e->vm->text);
    buf_char(&e->vm->text, '"');
}

static void encode_value(struct encoder *e, int index)
{
    switch (lua_type(e->L, index)) {
    case LUA_TBOOLEAN:
        buf_text(room(e, 5), lua_toboolean(e->L, index) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        encode_number(e, lua_tonumber(e->L, index));
        break;
    case LUA_TSTRING:
        encode_string(e, vm_str(e->L, index));
        break;
    case LUA_TTABLE:
        encode_table(e, index);
        break;
    case LUA_TLIGHTUSERDATA:
        buf_text(room(e, 4), "null");
        break;
    case LUA_TUSERDATA:
        encode_userdata(e, index);
        break;
    case LUA_TFUNCTION:
        refuse(e, "a function has no JSON");
    default:
        refuse(e, "nil has no JSON (json.null has)");
    }
}

struct str vm_json_text(lua_State *L, struct vm *vm, int index)
{
    struct encoder e = {.L = L, .vm = vm};

    vm_event_settle(L, vm);
    buf_clear(&vm->text);
    encode_value(&e, vm_abs(L, index));
    return buf_as_str(&vm->text);
}

/* ---- the library ---- */

bool vm_is_null(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TLIGHTUSERDATA;
}

bool vm_is_array(lua_State *L, struct vm *vm, int index)
{
    bool same;

    if (!lua_getmetatable(L, index))
        return false;
    vm_push_ref(L, vm->array_ref);
    same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* json.encode(value) */
static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    vm_push_str(L, vm_json_text(L, vm_of(L), 1));
    return 1;
}

/* json.decode(text) */
static int decode(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct err err = {0};
    struct str text;

    text.ptr = luaL_checklstring(L, 1, &text.len);
    if (!vm_has_room(vm, text.len))
        vm_stop_memory(L);
    vm_charge(L, vm, text.len / 4);
    if (!json_check(text, NULL, &err))
        vm_throw_err(L, &err);
    vm_push_json(L, vm, text);
    return 1;
}

/* json.array([table]) */
static int array(lua_State *L)
{
    struct vm *vm = vm_of(L);

    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1) && !vm_is_array(L, vm, 1))
        vm_throw(L, "json.array: the table has a metatable already");
    lua_settop(L, 1);
    vm_push_ref(L, vm->array_ref);
    lua_setmetatable(L, 1);
    return 1;
}

const luaL_Reg vm_json_functions[] = {
    {"array", array},
    {"decode", decode},
    {"encode", encode},
    {NULL, NULL},
};

void vm_json_open(lua_State *L, struct vm *vm)
{
    lua_newtable(L);
    vm_close_metatable(L);
    vm->array_ref = vm_ref(L);
}

void vm_json_add_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
}
