/*
 * find, match, gmatch and gsub with Lua 5.1's patterns.
 *
 * The well-known backtracking matcher, with what LuaJIT's lacks: every step is
 * counted, and after some tens of thousands the clock is looked at, so a
 * pattern that takes exponential time is stopped like a loop in Lua.  Its
 * depth of recursion is bounded by the length of the pattern, and limited.
 *
 * Subject and pattern are arguments of the running function, so they stay
 * where they are.
 */
#define _GNU_SOURCE /* memmem */
#include "vm/vm_lib.h"

#include <ctype.h>
#include <string.h>

#define MAX_CAPTURES 32
#define MAX_DEPTH    200
#define SPECIALS     "^$*+?.([%-"

enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

struct capture {
    const char *start;
    ptrdiff_t len; /* or one of the above */
};

struct match {
    lua_State *L;
    struct vm *vm;
    const char *subject;
    const char *subject_end;
    const char *pattern_end;
    int depth;
    int level; /* captures, open or closed */
    struct capture captures[MAX_CAPTURES];
};

static const char *match(struct match *m, const char *s, const char *p);

/* ---- captures ---- */

static int closed_capture(struct match *m, int digit)
{
    int index = digit - '1';

    if (index < 0 || index >= m->level ||
        m->captures[index].len == CAPTURE_OPEN)
        vm_throw(m->L, "invalid capture index %%%d in the pattern", index + 1);
    return index;
}

static int open_capture(struct match *m)
{
    for (int level = m->level - 1; level >= 0; level--)
        if (m->captures[level].len == CAPTURE_OPEN)
            return level;
    vm_throw(m->L, "invalid pattern: ')' without '('");
}

static void push_capture(struct match *m, int index, const char *s,
                         const char *end)
{
    const struct capture *capture = &m->captures[index];

    if (index >= m->level) {
        if (index > 0)
            vm_throw(m->L, "invalid capture index %%%d", index + 1);
        lua_pushlstring(m->L, s, (size_t)(end - s)); /* the whole match */
        return;
    }
    if (capture->len == CAPTURE_OPEN)
        vm_throw(m->L, "invalid pattern: '(' without ')'");
    if (capture->len == CAPTURE_POSITION)
        lua_pushinteger(m->L, capture->start - m->subject + 1);
    else
        lua_pushlstring(m->L, capture->start, (size_t)capture->len);
}

/* `s` NULL: no whole match stands in when there are no captures. */
static int push_captures(struct match *m, const char *s, const char *end)
{
    int count = m->level == 0 && s != NULL ? 1 : m->level;

    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(m, i, s, end);
    return count;
}

/* ---- single characters and classes ---- */

static const char *class_end(struct match *m, const char *p)
{
    char c = *p++;

    if (c == '%') {
        if (p >= m->pattern_end)
            vm_throw(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (c != '[')
        return p;
    if (p < m->pattern_end && *p == '^')
        p++;
    do { /* a `]` that comes first is an ordinary character */
        if (p >= m->pattern_end)
            vm_throw(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < m->pattern_end)
            p++;
    } while (p >= m->pattern_end || *p != ']');
    return p + 1;
}

static bool class_has(int c, int class_letter)
{
    bool result;

    switch (tolower(class_letter)) {
    case 'a':
        result = isalpha(c);
        break;
    case 'c':
        result = iscntrl(c);
        break;
    case 'd':
        result = isdigit(c);
        break;
    case 'g':
        result = isgraph(c);
        break;
    case 'l':
        result = islower(c);
        break;
    case 'p':
        result = ispunct(c);
        break;
    case 's':
        result = isspace(c);
        break;
    case 'u':
        result = isupper(c);
        break;
    case 'w':
        result = isalnum(c);
        break;
    case 'x':
        result = isxdigit(c);
        break;
    case 'z':
        result = c == 0;
        break;
    default:
        return class_letter == c;
    }
    return isupper(class_letter) ? !result : result;
}

/* `p` at the `[`, `end` at its `]`. */
static bool set_has(int c, const char *p, const char *end)
{
    bool found = true;

    if (p[1] == '^') {
        found = false;
        p++;
    }
    while (++p < end) {
        if (*p == '%') {
            p++;
            if (class_has(c, (unsigned char)*p))
                return found;
        } else if (p[1] == '-' && p + 2 < end) {
            p += 2;
            if ((unsigned char)p[-2] <= c && c <= (unsigned char)*p)
                return found;
        } else if ((unsigned char)*p == c) {
            return found;
        }
    }
    return !found;
}

/* Does the single item from `p` to `item_end` take the character at `s`? */
static bool takes(struct match *m, const char *s, const char *p,
                  const char *item_end)
{
    vm_charge(m->L, m->vm, 1);
    if (s >= m->subject_end)
        return false;

    int c = (unsigned char)*s;

    switch (*p) {
    case '.':
        return true;
    case '%':
        return class_has(c, (unsigned char)p[1]);
    case '[':
        return set_has(c, p, item_end - 1);
    default:
        return (unsigned char)*p == c;
    }
}

/* ---- items ---- */

static const char *match_balance(struct match *m, const char *s, const char *p)
{
    int nesting = 1;

    if (p + 1 >= m->pattern_end)
        vm_throw(m->L, "malformed pattern (missing arguments of '%%b')");
    if (s >= m->subject_end || *s != p[0])
        return NULL;
    while (++s < m->subject_end) {
        vm_charge(m->L, m->vm, 1);
        if (*s == p[1]) {
            if (--nesting == 0)
                return s + 1;
        } else if (*s == p[0]) {
            nesting++;
        }
    }
    return NULL;
}

static const char *expand_most(struct match *m, const char *s, const char *p,
                               const char *item_end)
{
    ptrdiff_t count = 0;

    while (takes(m, s + count, p, item_end))
        count++;
    for (; count >= 0; count--) {
        const char *end = match(m, s + count, item_end + 1);

        if (end != NULL)
            return end;
    }
    return NULL;
}

static const char *expand_least(struct match *m, const char *s, const char *p,
                                const char *item_end)
{
    for (;; s++) {
        const char *end = match(m, s, item_end + 1);

        if (end != NULL)
            return end;
        if (!takes(m, s, p, item_end))
            return NULL;
    }
}

static const char *start_capture(struct match *m, const char *s, const char *p,
                                 ptrdiff_t kind)
{
    if (m->level >= MAX_CAPTURES)
        vm_throw(m->L, "too many captures in the pattern");
    m->captures[m->level++] = (struct capture){s, kind};

    const char *end = match(m, s, p);

    if (end == NULL)
        m->level--;
    return end;
}

static const char *end_capture(struct match *m, const char *s, const char *p)
{
    int level = open_capture(m);

    m->captures[level].len = s - m->captures[level].start;

    const char *end = match(m, s, p);

    if (end == NULL)
        m->captures[level].len = CAPTURE_OPEN;
    return end;
}

/* %1: what the capture took, once more. */
static const char *match_again(struct match *m, const char *s, int digit)
{
    const struct capture *capture = &m->captures[closed_capture(m, digit)];
    size_t len = capture->len > 0 ? (size_t)capture->len : 0;

    vm_charge(m->L, m->vm, 1 + len / 16);
    if ((size_t)(m->subject_end - s) < len ||
        memcmp(capture->start, s, len) != 0)
        return NULL;
    return s + len;
}

/* %f[set]: between a character outside of the set and one inside; both ends
 * of the subject count as a NUL. */
static bool at_frontier(struct match *m, const char *s, const char *set,
                        const char *set_end)
{
    int before = s == m->subject ? 0 : (unsigned char)s[-1];
    int after = s < m->subject_end ? (unsigned char)*s : 0;

    return !set_has(before, set, set_end - 1) &&
           set_has(after, set, set_end - 1);
}

/* A single item and what may follow it (`*`, `+`, `?`, `-`).  Gives back true
 * with `*s` and `*p` moved on when the rest is still to be matched, else false
 * with the result in `*end`. */
static bool match_item(struct match *m, const char **s, const char **p,
                       const char **end)
{
    const char *item_end = class_end(m, *p);
    char suffix = item_end < m->pattern_end ? *item_end : '\0';

    switch (suffix) {
    case '*':
        *end = expand_most(m, *s, *p, item_end);
        return false;
    case '+':
        *end = takes(m, *s, *p, item_end) ? expand_most(m, *s + 1, *p, item_end)
                                          : NULL;
        return false;
    case '-':
        *end = expand_least(m, *s, *p, item_end);
        return false;
    case '?':
        if (takes(m, *s, *p, item_end)) {
            *end = match(m, *s + 1, item_end + 1);
            if (*end != NULL)
                return false;
        }
        *p = item_end + 1;
        return true;
    default:
        *end = NULL;
        if (!takes(m, *s, *p, item_end))
            return false;
        (*s)++;
        *p = item_end;
        return true;
    }
}

/* What begins with `%` and is no class: %b, %f, %1; as match_item.  Sets
 * `*known` when it was one of them. */
static bool match_escape(struct match *m, const char **s, const char **p,
                         const char **end, bool *known)
{
    char letter = *p + 1 < m->pattern_end ? (*p)[1] : '\0';

    *known = true;
    *end = NULL;
    if (letter == 'b') {
        *s = match_balance(m, *s, *p + 2);
        *p += 4;
        return *s != NULL;
    }
    if (letter == 'f') {
        const char *set = *p + 2;

        if (set >= m->pattern_end || *set != '[')
            vm_throw(m->L, "missing '[' after '%%f' in the pattern");
        *p = class_end(m, set);
        return at_frontier(m, *s, set, *p);
    }
    if (isdigit((unsigned char)letter)) {
        *s = match_again(m, *s, letter);
        *p += 2;
        return *s != NULL;
    }
    *known = false;
    return true;
}

/* One step at the front of the pattern; as match_item. */
static bool match_step(struct match *m, const char **s, const char **p,
                       const char **end)
{
    bool known;

    switch (**p) {
    case '(':
        *end = *p + 1 < m->pattern_end && (*p)[1] == ')'
                   ? start_capture(m, *s, *p + 2, CAPTURE_POSITION)
                   : start_capture(m, *s, *p + 1, CAPTURE_OPEN);
        return false;
    case ')':
        *end = end_capture(m, *s, *p + 1);
        return false;
    case '$':
        if (*p + 1 == m->pattern_end) {
            *end = *s == m->subject_end ? *s : NULL;
            return false;
        }
        break;
    case '%': {
        bool more = match_escape(m, s, p, end, &known);

        if (known)
            return more;
        break;
    }
    default:
        break;
    }
    return match_item(m, s, p, end);
}

/* The end of the match of `p` at `s`, or NULL. */
static const char *match(struct match *m, const char *s, const char *p)
{
    const char *end = NULL;
    bool more = true;

    if (++m->depth > MAX_DEPTH)
        vm_throw(m->L, "pattern too complex");
    vm_charge(m->L, m->vm, 1);
    while (more && p < m->pattern_end)
        more = match_step(m, &s, &p, &end);
    m->depth--;
    return more ? s : end;
}

static void match_init(struct match *m, lua_State *L, struct str subject,
                       struct str pattern)
{
    *m = (struct match){
        .L = L,
        .vm = vm_of(L),
        .subject = subject.ptr,
        .subject_end = subject.ptr + subject.len,
        .pattern_end = pattern.ptr + pattern.len,
    };
}

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
        return push_captures(m, s, end);
    lua_pushinteger(m->L, s - m->subject + 1);
    lua_pushinteger(m->L, end - m->subject);
    return 2 + push_captures(m, NULL, NULL);
}

static int find_pattern(lua_State *L, enum want want, struct str subject,
                        struct str pattern, size_t from)
{
    bool anchored = cut_anchor(&pattern);
    const char *s = subject.ptr + from;
    struct match m;

    match_init(&m, L, subject, pattern);
    do {
        m.level = 0;

        const char *end = match(&m, s, pattern.ptr);

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
        m.level = 0;

        const char *end = match(&m, s, pattern.ptr);

        if (end == NULL)
            continue;
        /* After an empty match the next one begins a character further. */
        lua_pushinteger(L, end - subject.ptr + (end == s));
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(&m, s, end);
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
            push_capture(m, c - '1', s, end);
            luaL_addvalue(out);
        }
    }
}

/* Pushes what a table or a function says of this match. */
static void push_replacement(struct match *m, const char *s, const char *end)
{
    lua_State *L = m->L;

    if (lua_istable(L, 3)) {
        push_capture(m, 0, s, end);
        vm_deeper(L, m->vm); /* __index may be a function of the script */
        lua_gettable(L, 3);
        m->vm->depth--;
        return;
    }
    lua_pushvalue(L, 3);
    vm_lua_call(L, m->vm, push_captures(m, s, end), 1);
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
static lua_Number replace_all(struct match *m, struct str pattern,
                              bool anchored, lua_Number max, luaL_Buffer *out)
{
    const char *s = m->subject;
    lua_Number count = 0;

    while (count < max) {
        m->level = 0;

        const char *end = match(m, s, pattern.ptr);

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

    lua_Number count = replace_all(&m, pattern, anchored, max, &out);

    luaL_pushresult(&out);
    lua_pushnumber(L, count);
    return 2;
}
