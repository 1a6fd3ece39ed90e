/*
 * Life of a settings file: it is read whole, run in a state of its own that
 * sees two functions, and the table it returns is walked depth first; the full
 * name of where we are grows and shrinks in one buffer.  Nothing of the state
 * survives: values are shown to `each` and then gone.
 */
#include "vm/vm_settings.h"

#include "base/decimal.h"
#include "vm/sandbox.h"
#include "vm/vm_keys.h"
#include "vm/vm_lib.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_BYTES   ((size_t)16 * 1024 * 1024)
#define TIMEOUT_MS     2000
#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define SECRET_MAX     ((size_t)64 * 1024)
#define MAX_DEPTH      8
#define EXACT_INTEGER  9007199254740992.0 /* 2^53 */

/* ---- what a settings file can call ---- */

/* env "NAME", env("NAME", default) */
static int settings_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *value = getenv(name);

    if (value != NULL)
        lua_pushstring(L, value);
    else if (lua_gettop(L) > 1)
        lua_settop(L, 2);
    else
        vm_throw(L, "the environment has no %s, and no default is given", name);
    return 1;
}

/* Up to `max` bytes of a file into `out`; false with errno. */
static bool read_file(const char *path, struct buf *out, size_t max)
{
    FILE *file = fopen(path, "re");
    size_t got;
    bool good;

    if (file == NULL)
        return false;
    setvbuf(file, NULL, _IONBF, 0); /* nor a copy of a secret in its buffer */
    got = fread(buf_room(out, max + 1), 1, max + 1, file);
    good = ferror(file) == 0;
    if (good && got > max) {
        errno = EFBIG;
        good = false;
    }
    out->len += good ? got : 0;
    fclose(file);
    return good;
}

/* secret_file(path): the file's text without the newline at its end. */
static int settings_secret_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct vm *vm = vm_of(L);
    struct str text;

    buf_clear(&vm->text);
    if (!read_file(path, &vm->text, SECRET_MAX))
        vm_throw(L, "secret_file: cannot read %s: %s", path, strerror(errno));
    text = buf_as_str(&vm->text);
    while (text.len > 0 && strchr("\r\n", text.ptr[text.len - 1]) != NULL &&
           text.ptr[text.len - 1] != '\0')
        text.len--;
    vm_push_str(L, text);
    return 1;
}

static const luaL_Reg functions[] = {
    {"env", settings_env},
    {"secret_file", settings_secret_file},
    {NULL, NULL},
};

/* ---- from tables to scalars ---- */

struct settings {
    const struct source *source;
    void (*each)(void *context, const struct setting_value *value);
    void *context;
    struct buf key;   /* full name of what is being read */
    struct buf value; /* its text */
};

static void read_table(lua_State *L, struct settings *s, int table, int depth);

static void refuse(lua_State *L, struct settings *s, const char *what) NORETURN;

static void refuse(lua_State *L, struct settings *s, const char *what)
{
    vm_stop(L, ERR_CONFIG,
            "%s: '%s' is %s: a setting is a text, a number, a "
            "boolean or a list of those",
            s->source->path, s->key.len > 0 ? s->key.ptr : "return", what);
}

/* Appends the scalar on top of the stack to s->value. */
static void add_scalar(lua_State *L, struct settings *s)
{
    char text[32];
    double number;

    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        buf_str(&s->value, vm_str(L, -1));
        break;
    case LUA_TBOOLEAN:
        buf_text(&s->value, lua_toboolean(L, -1) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        number = lua_tonumber(L, -1);
        if (!isfinite(number))
            refuse(L, s, "not a finite number");
        buf_add(&s->value, text, decimal_double_text(number, text));
        break;
    default:
        refuse(L, s, luaL_typename(L, -1));
    }
}

static void give(lua_State *L, struct settings *s, int type)
{
    struct setting_value value = {.key = s->key.ptr,
                                  .text = buf_as_str(&s->value)};

    if (type == LUA_TNUMBER) {
        value.kind = SETTING_IS_NUMBER;
        value.number = lua_tonumber(L, -1);
    } else if (type == LUA_TBOOLEAN) {
        value.kind = SETTING_IS_BOOL;
        value.flag = lua_toboolean(L, -1);
    } else if (type == LUA_TTABLE) {
        value.kind = SETTING_IS_EMPTY;
    }
    s->each(s->context, &value);
}

static void read_list(lua_State *L, struct settings *s)
{
    size_t count = lua_objlen(L, -1);

    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (int)i);
        if (i > 1)
            buf_char(&s->value, ',');
        add_scalar(L, s);
        lua_pop(L, 1);
    }
    give(L, s, LUA_TSTRING);
}

/* The value on top of the stack, whose name is in s->key. */
static void read_value(lua_State *L, struct settings *s, int depth)
{
    buf_clear(&s->value);
    if (!lua_istable(L, -1)) {
        add_scalar(L, s);
        give(L, s, lua_type(L, -1));
    } else if (lua_objlen(L, -1) > 0) {
        read_list(L, s);
    } else {
        read_table(L, s, lua_gettop(L), depth + 1);
    }
}

static void read_table(lua_State *L, struct settings *s, int table, int depth)
{
    struct vm *vm = vm_of(L);
    size_t from = vm_keys_collect(L, vm, table);
    size_t end = vm->keys.count;
    size_t base = s->key.len;

    if (depth > MAX_DEPTH)
        refuse(L, s, "nested too deep");
    if (from == end && depth > 0)
        give(L, s, LUA_TTABLE);
    luaL_checkstack(L, 8, "settings");
    for (size_t i = from; i < end; i++) {
        struct vm_key key = vm->keys.items[i];

        if (key.type != LUA_TSTRING)
            refuse(L, s, "a table with a key that is no name");
        buf_printf(&s->key, "%s%.*s", base > 0 ? "." : "", STR_ARG(key.text));
        vm_push_field(L, table, key.text);
        read_value(L, s, depth);
        lua_pop(L, 1);
        s->key.len = base;
        s->key.ptr[base] = '\0';
    }
    vm->keys.count = from;
}

/* ---- the file ---- */

static int settings_body(lua_State *L, struct vm *vm, void *context)
{
    struct settings *s = context;

    sandbox_open_only(L, vm, functions);
    lua_settop(L, 0);
    vm_push_chunk(L, vm, s->source);
    vm_lua_call(L, vm, 0, 1);
    if (!lua_istable(L, 1))
        refuse(L, s, luaL_typename(L, 1));
    read_table(L, s, 1, 0);
    return 0;
}

/* Secrets passed through these; the state's own memory goes back to the system
 * with it. */
static void wipe(struct buf *text)
{
    if (text->ptr != NULL)
        explicit_bzero(text->ptr, text->capacity);
}

static bool run_settings(struct settings *s, struct err *err)
{
    struct vm_options options = {.memory_bytes = MEMORY_BYTES,
                                 .load_timeout_ms = TIMEOUT_MS};
    struct vm *vm = vm_new(&options, err);
    bool ok = vm != NULL;

    /* Large enough for all texts: growing would leave a copy behind. */
    buf_room(&s->value, FILE_MAX_BYTES);
    ok = ok && vm_enter(vm, settings_body, s, TIMEOUT_MS, err);
    if (vm != NULL)
        wipe(&vm->text);
    wipe(&s->value);
    vm_free(vm);
    buf_done(&s->key);
    buf_done(&s->value);
    return ok;
}

bool vm_read_settings(const char *path,
                      void (*each)(void *context, const struct setting_value *),
                      void *context, struct err *err)
{
    struct buf text = {0};
    struct source_tree *tree;
    struct settings s = {.each = each, .context = context};
    bool ok;

    if (!read_file(path, &text, FILE_MAX_BYTES)) {
        buf_done(&text);
        return err_set(err, ERR_CONFIG, "%s: %s", path, strerror(errno));
    }
    tree = source_tree_of(path, buf_as_str(&text));
    s.source = &tree->sources[0];
    ok = run_settings(&s, err);
    source_tree_free(tree);
    buf_done(&text);
    if (!ok)
        err->code = ERR_CONFIG;
    return ok;
}
