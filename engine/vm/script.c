/*
 * Life of a declaration: the script's chunk runs in its state, the table it
 * returns is read into C structures in the caller's arena (faults are collected
 * on the way), and when there is no fault the functions are kept by reference
 * as a struct vm_script.
 */
#define _GNU_SOURCE /* memmem */
#include "vm/script_read.h"

#include "base/mem.h"
#include "vm/vm_json.h"
#include "vm/vm_keys.h"
#include "vm/vm_lib.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- where a name stands in the text ---- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* True when what follows makes the name a key: `name =`, `["name"] =`. */
static bool is_key_before(struct str rest)
{
    size_t i = 0;

    while (i < rest.len && strchr("\"'] \t", rest.ptr[i]) != NULL)
        i++;
    return i < rest.len && rest.ptr[i] == '=' &&
           (i + 1 == rest.len || rest.ptr[i + 1] != '=');
}

/* Finds `name` as a word from `from` on, as a key when `as_key`. */
static size_t find_word(struct str text, size_t from, struct str name,
                        bool as_key)
{
    while (from < text.len && name.len > 0) {
        const char *at =
            memmem(text.ptr + from, text.len - from, name.ptr, name.len);

        if (at == NULL)
            break;

        size_t start = (size_t)(at - text.ptr);
        size_t end = start + name.len;
        bool whole = (start == 0 || !is_word(text.ptr[start - 1])) &&
                     (end == text.len || !is_word(text.ptr[end]));

        if (whole &&
            (!as_key || is_key_before(str_n(text.ptr + end, text.len - end))))
            return start;
        from = start + 1;
    }
    return SIZE_MAX;
}

static size_t find_name(struct str text, size_t from, struct str name)
{
    size_t found = find_word(text, from, name, true);

    if (found == SIZE_MAX)
        found = find_word(text, from, name, false);
    return found == SIZE_MAX ? from : found;
}

static int find_line(const struct reader *r, struct str key)
{
    struct str text = str_n(r->source->text, r->source->text_len);
    size_t at = 0;
    int line = 1;

    for (size_t i = 0; i < r->depth; i++)
        at = find_name(text, at, r->path[i]);
    at = find_name(text, at, key);
    for (size_t i = 0; i < at; i++)
        line += text.ptr[i] == '\n';
    return line;
}

/* ---- faults ---- */

void reader_enter(struct reader *r, struct str name)
{
    CHECK(r->depth < READER_MAX_DEPTH);
    r->path[r->depth++] = name;
}

void reader_leave(struct reader *r)
{
    r->depth--;
}

static void first_fault(struct reader *r, int line, const char *text)
{
    const char *path = r->source->path;
    struct buf file = {0};

    err_set(r->err, ERR_SCRIPT, "%s:%d: %s", path, line, text);
    json_quote(&file, str_of(path));
    err_extra(r->err, "\"file\":%s,\"line\":%d", file.ptr, line);
    buf_done(&file);
}

static void next_fault(struct reader *r, int line, const char *text)
{
    size_t len = strlen(r->err->text);
    size_t space = sizeof(r->err->text) - len;

    if (snprintf(NULL, 0, "; line %d: %s", line, text) < (int)space)
        snprintf(r->err->text + len, space, "; line %d: %s", line, text);
}

void reader_fault(struct reader *r, struct str key, const char *format, ...)
{
    struct err fault = {0};
    va_list args;

    va_start(args, format);
    err_vset(&fault, ERR_SCRIPT, format, args);
    va_end(args);
    reader_fault_err(r, key, &fault);
}

void reader_fault_err(struct reader *r, struct str key, const struct err *err)
{
    int line = find_line(r, key);

    if (r->faults++ == 0)
        first_fault(r, line, err->text);
    else
        next_fault(r, line, err->text);
}

/* ---- tables ---- */

static bool is_listed(struct str name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (str_eq(name, str_of(*list)))
            return true;
    return false;
}

void reader_allow(struct reader *r, int table, const char *const *allowed)
{
    size_t count;
    struct str *keys = reader_keys(r, table, &count);
    char list[256] = "";
    size_t len = 0;

    for (const char *const *name = allowed; *name != NULL; name++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                len > 0 ? ", " : "", *name);
    for (size_t i = 0; i < count; i++)
        if (!is_listed(keys[i], allowed))
            reader_fault(r, keys[i], "unknown key '%.*s' (allowed: %s)",
                         STR_ARG(keys[i]), list);
}

struct str *reader_keys(struct reader *r, int table, size_t *count_out)
{
    struct vm_keys *keys = &r->vm->keys;
    size_t from = vm_keys_collect(r->L, r->vm, table);
    struct str *out = ARENA_ARRAY(r->arena, struct str, keys->count - from + 1);
    size_t count = 0;

    for (size_t i = from; i < keys->count; i++) {
        if (keys->items[i].type == LUA_TSTRING)
            out[count++] = arena_str(r->arena, keys->items[i].text);
        else
            reader_fault(r, STR_NONE, "keys must be names, this table has a %s",
                         lua_typename(r->L, keys->items[i].type));
    }
    keys->count = from;
    *count_out = count;
    return out;
}

struct str reader_text(struct reader *r, int index)
{
    return arena_str(r->arena, vm_str(r->L, index));
}

bool reader_field(struct reader *r, int table, const char *name, int type,
                  enum reader_need need)
{
    int given = vm_push_field(r->L, table, str_of(name));

    if (given == type)
        return true;
    if (given != LUA_TNIL)
        reader_fault(r, str_of(name), "'%s' must be a %s, not a %s", name,
                     lua_typename(r->L, type), lua_typename(r->L, given));
    else if (need == REQUIRED)
        reader_fault(r, STR_NONE, "'%s' is missing (a %s)", name,
                     lua_typename(r->L, type));
    return false;
}

bool reader_integer(struct reader *r, int table, const char *name, double min,
                    double max, double *out)
{
    bool given = reader_field(r, table, name, LUA_TNUMBER, OPTIONAL);
    double value = given ? lua_tonumber(r->L, -1) : 0;

    lua_pop(r->L, 1);
    if (!given)
        return false;
    if (!(value >= min && value <= max) || value != trunc(value)) {
        reader_fault(r, str_of(name),
                     "'%s' is %g, allowed are whole numbers from %.0f to %.0f",
                     name, value, min, max);
        return false;
    }
    *out = value;
    return true;
}

struct str *reader_list(struct reader *r, int table, const char *name,
                        size_t *count_out)
{
    struct str *items = NULL;
    size_t count = 0;

    if (reader_field(r, table, name, LUA_TTABLE, OPTIONAL)) {
        count = lua_objlen(r->L, -1);
        items = ARENA_ARRAY(r->arena, struct str, count + 1);
        if (count == 0)
            reader_fault(r, str_of(name), "'%s' must list one name or more",
                         name);
    }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(r->L, -1, (int)i + 1);
        if (lua_type(r->L, -1) == LUA_TSTRING)
            items[i] = reader_text(r, -1);
        else
            reader_fault(r, str_of(name), "'%s' must be a list of strings",
                         name);
        lua_pop(r->L, 1);
    }
    lua_pop(r->L, 1);
    *count_out = count;
    return items;
}

/* ---- words of inputs ---- */

/* clang-format off */
static const char *const input_names[] = {
    [INPUT_STRING] = "string",   [INPUT_NUMBER] = "number",
    [INPUT_INTEGER] = "integer", [INPUT_BOOLEAN] = "boolean",
    [INPUT_DECIMAL] = "decimal", [INPUT_UUID] = "uuid",
    [INPUT_DATE] = "date",       [INPUT_TIMESTAMP] = "timestamp",
    [INPUT_TABLE] = "table",     [INPUT_LIST] = "list",
};
/* clang-format on */

const char *input_word(enum input_kind kind)
{
    return input_names[kind];
}

bool read_input_word(struct str word, struct input_decl *out)
{
    out->optional = str_ends(word, STR("?"));
    if (out->optional)
        word.len--;
    for (size_t i = 0; i < COUNT(input_names); i++) {
        if (!str_eq(word, str_of(input_names[i])))
            continue;
        out->kind = (enum input_kind)i;
        return true;
    }
    return false;
}

void input_words(struct buf *out)
{
    for (size_t i = 0; i < COUNT(input_names); i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", input_names[i]);
}

/* ---- which events a projection wants ---- */

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool has_name(const struct str *sorted, size_t count, struct str name)
{
    return count > 0 &&
           bsearch(&name, sorted, count, sizeof(*sorted), compare_str) != NULL;
}

bool script_wants(const struct projection_decl *decl, const struct event *event)
{
    const struct filter_decl *filter = &decl->filter;

    if (!decl->handles_any &&
        !has_name(decl->handlers, decl->handler_count, event->event_type))
        return false;
    if (filter->event_type_count > 0 &&
        !has_name(filter->event_types, filter->event_type_count,
                  event->event_type))
        return false;
    if (filter->aggregate_type_count > 0 &&
        !has_name(filter->aggregate_types, filter->aggregate_type_count,
                  event->aggregate_type))
        return false;
    return str_is_none(filter->tenant_id) ||
           str_eq(filter->tenant_id, event->tenant_id);
}

/* ---- loading ---- */

struct load {
    struct reader reader;
    struct vm_script *script;
    void *out; /* the caller's declaration */
};

/* A reference to a field of the table at index 1. */
static int keep_field(lua_State *L, const char *name)
{
    if (vm_push_field(L, 1, str_of(name)) == LUA_TNIL) {
        lua_pop(L, 1);
        return LUA_NOREF;
    }
    return vm_ref(L);
}

static void finish_aggregate(lua_State *L, struct load *load)
{
    struct vm_script *script = load->script;
    struct reader own = load->reader;

    /* Read once more, into memory that lives as long as the state. */
    own.arena = &own.vm->arena;
    read_aggregate(&own, 1, &script->aggregate);
    script->initial_ref = keep_field(L, "initial");
    script->commands_ref = keep_field(L, "commands");
    script->apply_ref = keep_field(L, "apply");
    keep_upcasts(L, own.vm, script->aggregate.type);
}

static void finish_projection(lua_State *L, struct load *load)
{
    load->script->on_ref = keep_field(L, "on");
    vm_push_db(L, load->script, load->out);
    load->script->db_ref = vm_ref(L);
}

static int load_body(lua_State *L, struct vm *vm, void *context)
{
    struct load *load = context;
    struct reader *r = &load->reader;
    bool aggregate = load->script->kind == SCRIPT_AGGREGATE;

    r->L = L;
    lua_settop(L, 0);
    vm_push_chunk(L, vm, r->source);
    vm_lua_call(L, vm, 0, 1);
    if (!lua_istable(L, 1)) {
        reader_fault(r, STR("return"), "a script returns one table, not a %s",
                     luaL_typename(L, 1));
        return 0;
    }
    if (aggregate)
        read_aggregate(r, 1, load->out);
    else
        read_projection(r, 1, load->out);
    if (r->faults == 0 && aggregate)
        finish_aggregate(L, load);
    else if (r->faults == 0)
        finish_projection(L, load);
    return 0;
}

static void hash_script(const struct vm *vm, const struct source *source,
                        char hash[SHA256_TEXT_SIZE])
{
    struct buf text = {0};

    buf_text(&text, source->hash);
    if (vm->modules != NULL)
        buf_text(&text, vm->modules->modules_hash);
    hash_sha256_text(buf_as_str(&text), hash);
    buf_done(&text);
}

static int add_script(struct vm *vm, struct vm_script *script)
{
    GROW(vm->scripts, vm->script_capacity, vm->script_count + 1);
    vm->scripts[vm->script_count] = script;
    return (int)vm->script_count++;
}

static int load_script(struct vm *vm, enum script_kind kind,
                       const struct source *source, struct arena *arena,
                       void *out, struct err *err)
{
    struct load load = {
        .reader = {.vm = vm, .source = source, .arena = arena, .err = err},
        .script = ARENA_NEW(&vm->arena, struct vm_script),
        .out = out,
    };

    load.script->kind = kind;
    load.script->path = arena_str(&vm->arena, str_of(source->path)).ptr;
    if (vm_enter(vm, load_body, &load, vm->load_timeout_ms, err) &&
        load.reader.faults == 0)
        return add_script(vm, load.script);
    vm->broken = true;
    return -1;
}

int vm_load_aggregate(struct vm *vm, const struct source *source,
                      struct arena *arena, struct aggregate_decl *out,
                      struct err *err)
{
    *out = (struct aggregate_decl){0};
    out->path = arena_str(arena, str_of(source->path));
    hash_script(vm, source, out->hash);

    int number = load_script(vm, SCRIPT_AGGREGATE, source, arena, out, err);

    if (out->state_version > 0)
        snprintf(out->shape, sizeof(out->shape), "state_version:%" PRIu32,
                 out->state_version);
    else
        snprintf(out->shape, sizeof(out->shape), "hash:%s", out->hash);
    return number;
}

int vm_load_projection(struct vm *vm, const struct source *source,
                       struct arena *arena, struct projection_decl *out,
                       struct err *err)
{
    *out = (struct projection_decl){0};
    out->path = arena_str(arena, str_of(source->path));
    hash_script(vm, source, out->hash);
    return load_script(vm, SCRIPT_PROJECTION, source, arena, out, err);
}
