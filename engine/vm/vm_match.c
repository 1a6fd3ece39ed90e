/*
 * find, match, gmatch and gsub over the matcher of vm_pattern.c.  A search for
 * a text without specials goes to memmem.
 */
#define _GNU_SOURCE /* memmem */
#include "vm/vm_lib.h"
#include "vm/vm_pattern.h"

#include <ctype.h>
#include <string.h>

#define SPECIALS "^$*+?.([%-"

/* Cuts a leading `^` off. */
static bool cut_anchor(struct str *pattern)
{
    if (!str_starts(*pattern, STR("^")))
        return false;
    *pattern = str_n(pattern->ptr + 1, pattern->len - 1);
    return true;
}

/* ---- find and match ---- */

static struct str check_str(lua_State *L, int index)
{
    struct str s;

    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

/* The place to begin at, from 0, out of an argument that counts from 1 or
 * from the end. */
static size_t start_place(lua_State *L, int index, size_t len)
{
    lua_Number init = luaL_optnumber(L, index, 1);

    if (init < 0)
        init += (lua_Number)len + 1;
    if (!(init >= 1))
        return 0;
    return init > (lua_Number)len ? len : (size_t)init - 1;
}

static bool has_specials(struct str pattern)
{
    for (size_t i = 0; i < pattern.len; i++)
        if (pattern.ptr[i] != '\0' && strchr(SPECIALS, pattern.ptr[i]) != NULL)
            return true;
    return false;
}

static int find_plain(lua_State *L, struct str subject, struct str needle,
                      size_t from)
{
    const char *at =
        memmem(subject.ptr + from, subject.len - from, needle.ptr, needle.len);

    vm_charge(L, vm_of(L), subject.len / 32);
    if (at == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, at - subject.ptr + 1);
    lua_pushinteger(L, at - subject.ptr + (ptrdiff_t)needle.len);
    return 2;
}

enum want { WANT_PLACE, WANT_TEXT };

static int push_found(struct match *m, enum want want, const char *s,
                      const char *end)
{
    if (want == WANT_TEXT)
        return match_push_all(m, s, end);
    lua_pushinteger(m->L, s - m->subject + 1);
    lua_pushinteger(m->L, end - m->subject);
    return 2 + match_push_all(m, NULL, NULL);
}

static int find_pattern(lua_State *L, enum want want, struct str subject,
                        struct str pattern, size_t from)
{
    bool anchored = cut_anchor(&pattern);
    const char *s = subject.ptr + from;
    struct match m;

    match_init(&m, L, subject, pattern);
    do {
        const char *end = match_at(&m, s);

        if (end != NULL)
            return push_found(&m, want, s, end);
    } while (s++ < m.subject_end && !anchored);
    lua_pushnil(L);
    return 1;
}

int vm_string_find(lua_State *L)
{
    struct str subject = check_str(L, 1);
    struct str pattern = check_str(L, 2);
    size_t from = start_place(L, 3, subject.len);

    if (lua_toboolean(L, 4) || !has_specials(pattern))
        return find_plain(L, subject, pattern, from);
    return find_pattern(L, WANT_PLACE, subject, pattern, from);
}

int vm_string_match(lua_State *L)
{
    struct str subject = check_str(L, 1);
    struct str pattern = check_str(L, 2);

    return find_pattern(L, WANT_TEXT, subject, pattern,
                        start_place(L, 3, subject.len));
}

/* ---- gmatch ---- */

/* Upvalues: subject, pattern, where to go on. */
static int gmatch_next(lua_State *L)
{
    struct str subject = vm_str(L, lua_upvalueindex(1));
    struct str pattern = vm_str(L, lua_upvalueindex(2));
    const char *s = subject.ptr + lua_tointeger(L, lua_upvalueindex(3));
    struct match m;

    match_init(&m, L, subject, pattern);
    for (; s <= m.subject_end; s++) {
        const char *end = match_at(&m, s);

        if (end == NULL)
            continue;
        /* After an empty match the next one begins a character further. */
        lua_pushinteger(L, end - subject.ptr + (end == s));
        lua_replace(L, lua_upvalueindex(3));
        return match_push_all(&m, s, end);
    }
    lua_pushinteger(L, (ptrdiff_t)subject.len + 1);
    lua_replace(L, lua_upvalueindex(3));
    return 0;
}

int vm_string_gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

/* ---- gsub ---- */

/* "%0" to "%9" and "%%" in a replacement text. */
static void add_template(struct match *m, luaL_Buffer *out, const char *s,
                         const char *end)
{
    struct str text = vm_str(m->L, 3);

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c != '%' || i + 1 == text.len) {
            luaL_addchar(out, c);
            continue;
        }
        c = text.ptr[++i];
        if (!isdigit((unsigned char)c)) {
            luaL_addchar(out, c);
        } else if (c == '0') {
            luaL_addlstring(out, s, (size_t)(end - s));
        } else {
            match_push(m, c - '1', s, end);
            luaL_addvalue(out);
        }
    }
}

/* Pushes what a table or a function says of this match. */
static void push_replacement(struct match *m, const char *s, const char *end)
{
    lua_State *L = m->L;

    if (lua_istable(L, 3)) {
        match_push(m, 0, s, end);
        vm_deeper(L, m->vm); /* __index may be a function of the script */
        lua_gettable(L, 3);
        m->vm->depth--;
        return;
    }
    lua_pushvalue(L, 3);
    vm_lua_call(L, m->vm, match_push_all(m, s, end), 1);
}

static void add_replacement(struct match *m, luaL_Buffer *out, const char *s,
                            const char *end)
{
    lua_State *L = m->L;

    if (lua_isstring(L, 3)) {
        add_template(m, out, s, end);
        return;
    }
    push_replacement(m, s, end);
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, s, (size_t)(end - s));
    } else if (!lua_isstring(L, -1)) {
        vm_throw(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    luaL_addvalue(out);
}

static void check_replacement(lua_State *L)
{
    int type = lua_type(L, 3);

    if (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TTABLE &&
        type != LUA_TFUNCTION)
        vm_throw(L, "string.gsub: the replacement must be a string, a table "
                    "or a function");
}

/* Replaces up to `max` matches into `out`; gives back how many. */
static lua_Number replace_all(struct match *m, bool anchored, lua_Number max,
                              luaL_Buffer *out)
{
    const char *s = m->subject;
    lua_Number count = 0;

    while (count < max) {
        const char *end = match_at(m, s);

        if (end != NULL) {
            count++;
            add_replacement(m, out, s, end);
        }
        if (end != NULL && end > s)
            s = end;
        else if (s < m->subject_end)
            luaL_addchar(out, *s++);
        else
            break;
        if (anchored)
            break;
    }
    luaL_addlstring(out, s, (size_t)(m->subject_end - s));
    return count;
}

int vm_string_gsub(lua_State *L)
{
    struct str subject = check_str(L, 1);
    struct str pattern = check_str(L, 2);
    struct match m;
    luaL_Buffer out;

    check_replacement(L);

    lua_Number max = luaL_optnumber(L, 4, (lua_Number)subject.len + 1);
    bool anchored = cut_anchor(&pattern);

    lua_settop(L, 3);
    match_init(&m, L, subject, pattern);
    luaL_buffinit(L, &out);

    lua_Number count = replace_all(&m, anchored, max, &out);

    luaL_pushresult(&out);
    lua_pushnumber(L, count);
    return 2;
}
