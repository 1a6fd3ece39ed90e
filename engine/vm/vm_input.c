/*
 * The input of a command: a checked JSON object against the declared fields.
 * Every faulty field is noted before the command is refused, so that a client
 * learns of all of them at once.
 */
#include "base/clock.h"
#include "vm/vm_decimal.h"
#include "vm/vm_json.h"
#include "vm/vm_run.h"
#include "vm/vm_value.h"

#include <stdio.h>

struct input {
    lua_State *L;
    struct vm *vm;
    const struct command_decl *decl;
    struct err err; /* the fields that are faulty */
    size_t faults;
};

/* The text names all faults that fit in it, the list of fields too. */
static void add_fault(struct input *in, struct str field, const char *message)
{
    size_t len = strlen(in->err.text);

    if (in->faults++ == 0)
        err_set(&in->err, ERR_INVALID_INPUT, "%.*s: %s", STR_ARG(field),
                message);
    else
        snprintf(in->err.text + len, sizeof(in->err.text) - len, "; %.*s: %s",
                 STR_ARG(field), message);
    err_field(&in->err, field, "%s", message);
}

static const char *kind_name(enum json_kind kind)
{
    static const char *const names[] = {
        [JSON_END] = "nothing",     [JSON_NULL] = "null",
        [JSON_FALSE] = "false",     [JSON_TRUE] = "true",
        [JSON_NUMBER] = "a number", [JSON_STRING] = "a string",
        [JSON_ARRAY] = "a list",    [JSON_OBJECT] = "an object",
    };

    return names[kind];
}

/* Each of these pushes the value, or nothing and gives back false. */

static bool push_if(struct input *in, struct json value, bool fits)
{
    if (fits)
        vm_push_json(in->L, in->vm, value.raw);
    return fits;
}

/* A few bytes (1e999) spell numbers that nobody counts in: what is further
 * than a double reaches is taken for a mistake, in integers too. */
static bool is_in_range(struct json value)
{
    double ignored;

    return json_double(value, &ignored);
}

/* A whole number beyond 64 bits, as a decimal without places. */
static bool push_large_integer(struct input *in, struct json value)
{
    struct decimal *number = &in->vm->sum;
    struct decimal *whole = &in->vm->other;
    struct err ignored = {0};

    if (!decimal_parse(number, value.raw, &ignored) ||
        !decimal_round(whole, number, 0, &ignored) ||
        decimal_cmp(whole, number) != 0)
        return false;
    vm_push_decimal(in->L, in->vm, whole);
    return true;
}

/* Whole by value: 3.0 and 3e2 are. */
static bool push_integer(struct input *in, struct json value)
{
    struct value number = {.kind = VALUE_BIGINT};

    if (!json_i64(value, &number.i64))
        return is_in_range(value) && push_large_integer(in, value);
    vm_push_value(in->L, in->vm, &number);
    return true;
}

/* An object or a list, whose numbers may be any that scripts have. */
static bool push_whole(struct input *in, struct json value, enum json_kind kind)
{
    return push_if(in, value,
                   value.kind == kind &&
                       vm_json_fits(in->L, in->vm, value.raw));
}

static bool push_decimal(struct input *in, struct json value)
{
    struct err ignored = {0};
    struct str text = value.raw;

    if (value.kind == JSON_STRING)
        text = str_n(text.ptr + 1, text.len - 2);
    else if (value.kind != JSON_NUMBER)
        return false;
    if (!decimal_parse(&in->vm->sum, text, &ignored))
        return false;
    vm_push_decimal(in->L, in->vm, &in->vm->sum);
    return true;
}

/* Replaces the string on top of the stack by its canonical form. */
static bool normalise_uuid(lua_State *L)
{
    char text[UUID_TEXT_SIZE];
    struct uuid id;

    if (!uuid_parse(vm_str(L, -1), &id))
        return false;
    uuid_format(id, text);
    lua_pop(L, 1);
    lua_pushstring(L, text);
    return true;
}

static bool normalise_time(lua_State *L)
{
    char text[CLOCK_TEXT_SIZE];
    int64_t wall_us;

    if (!clock_parse(vm_str(L, -1), &wall_us))
        return false;
    clock_format(wall_us, text);
    lua_pop(L, 1);
    lua_pushstring(L, text);
    return true;
}

static bool is_date(lua_State *L)
{
    int32_t days;

    return clock_date_parse(vm_str(L, -1), &days);
}

static bool push_string_as(struct input *in, struct json value,
                           bool (*normalise)(lua_State *L))
{
    if (!push_if(in, value, value.kind == JSON_STRING))
        return false;
    if (normalise(in->L))
        return true;
    lua_pop(in->L, 1);
    return false;
}

static bool push_typed(struct input *in, enum input_kind kind,
                       struct json value)
{
    switch (kind) {
    case INPUT_STRING:
        return push_if(in, value, value.kind == JSON_STRING);
    case INPUT_NUMBER:
        return push_if(in, value, is_in_range(value));
    case INPUT_INTEGER:
        return push_integer(in, value);
    case INPUT_BOOLEAN:
        return push_if(in, value,
                       value.kind == JSON_TRUE || value.kind == JSON_FALSE);
    case INPUT_DECIMAL:
        return push_decimal(in, value);
    case INPUT_UUID:
        return push_string_as(in, value, normalise_uuid);
    case INPUT_DATE:
        return push_string_as(in, value, is_date);
    case INPUT_TIMESTAMP:
        return push_string_as(in, value, normalise_time);
    case INPUT_TABLE:
        return push_whole(in, value, JSON_OBJECT);
    case INPUT_LIST:
        return push_whole(in, value, JSON_ARRAY);
    }
    return false;
}

static bool takes_numbers(enum input_kind kind)
{
    return kind == INPUT_NUMBER || kind == INPUT_INTEGER ||
           kind == INPUT_DECIMAL;
}

/* Says what a field was given; shown as itself where a value of the same type
 * could have been right. */
static struct str given_text(enum input_kind kind, struct json value)
{
    bool whole = (kind == INPUT_TABLE && value.kind == JSON_OBJECT) ||
                 (kind == INPUT_LIST && value.kind == JSON_ARRAY);

    if (whole)
        return STR("one with a number of more than 1,000 digits");
    if (value.kind == JSON_STRING ||
        (value.kind == JSON_NUMBER && takes_numbers(kind)))
        return str_n(value.raw.ptr, MIN(value.raw.len, 40));
    return str_of(kind_name(value.kind));
}

/* Sets a declared field in the table on top of the stack. */
static void take_field(struct input *in, const struct input_decl *decl,
                       struct json value)
{
    char message[160];
    struct str given;

    if (value.kind == JSON_END || value.kind == JSON_NULL) {
        if (decl->optional)
            return;
        snprintf(message, sizeof(message), "%s: %s expected",
                 value.kind == JSON_NULL ? "null" : "missing",
                 input_word(decl->kind));
        add_fault(in, decl->name, message);
        return;
    }
    vm_push_str(in->L, decl->name);
    if (push_typed(in, decl->kind, value)) {
        lua_rawset(in->L, -3);
        return;
    }
    lua_pop(in->L, 1);
    given = given_text(decl->kind, value);
    snprintf(message, sizeof(message), "%s expected, %.*s given",
             input_word(decl->kind), STR_ARG(given));
    add_fault(in, decl->name, message);
}

static bool is_declared(const struct command_decl *decl, struct str raw_key)
{
    for (size_t i = 0; i < decl->input_count; i++)
        if (json_key_is(raw_key, decl->inputs[i].name))
            return true;
    return false;
}

static void refuse_unknown(struct input *in, struct json object)
{
    struct json_in members = json_open(object);
    struct str key;
    struct json value;

    while (json_next(&members, &key, &value))
        if (!is_declared(in->decl, key))
            add_fault(in, key, "no such field");
}

void vm_push_input(lua_State *L, struct vm *vm, const struct command_decl *decl,
                   struct str input)
{
    struct input in = {.L = L, .vm = vm, .decl = decl};
    struct json object = json_value(input);

    if (decl->any_input) {
        if (!vm_json_fits(L, vm, input))
            vm_stop(L, ERR_INVALID_INPUT,
                    "the input has a number of more than 1,000 digits");
        vm_push_json(L, vm, input);
        return;
    }
    lua_createtable(L, 0, (int)decl->input_count);
    for (size_t i = 0; i < decl->input_count; i++)
        take_field(&in, &decl->inputs[i],
                   json_get(object, decl->inputs[i].name));
    refuse_unknown(&in, object);
    if (in.faults > 0)
        vm_stop_err(L, &in.err);
}
