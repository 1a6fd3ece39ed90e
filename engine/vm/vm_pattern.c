/*
 * Life of a match: `match` follows the pattern item by item; what may be taken
 * in more than one way (`*`, `-`, `?`, captures) calls it again for the rest,
 * and takes its choice back when that fails.
 */
#include "vm/vm_pattern.h"

#include <ctype.h>
#include <string.h>

#define MAX_DEPTH 200

enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

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
    if (m->level >= PATTERN_MAX_CAPTURES)
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

/* %1: what the capture took, once more; a position cannot come again. */
static const char *match_again(struct match *m, const char *s, int digit)
{
    const struct capture *capture = &m->captures[closed_capture(m, digit)];
    size_t len = (size_t)capture->len;

    if (capture->len == CAPTURE_POSITION)
        return NULL;
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

void match_init(struct match *m, lua_State *L, struct str subject,
                struct str pattern)
{
    *m = (struct match){
        .L = L,
        .vm = vm_of(L),
        .subject = subject.ptr,
        .subject_end = subject.ptr + subject.len,
        .pattern = pattern.ptr,
        .pattern_end = pattern.ptr + pattern.len,
    };
}

const char *match_at(struct match *m, const char *s)
{
    CHECK(s != NULL); /* as an end of a match it means that there is none */
    m->level = 0;
    return match(m, s, m->pattern);
}

void match_push(struct match *m, int index, const char *s, const char *end)
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

int match_push_all(struct match *m, const char *s, const char *end)
{
    int count = m->level == 0 && s != NULL ? 1 : m->level;

    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        match_push(m, i, s, end);
    return count;
}
