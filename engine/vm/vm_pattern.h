#pragma once
/*
 * Lua 5.1's patterns: the well-known backtracking matcher, with what LuaJIT's
 * lacks: every step is counted, and after some tens of thousands the clock is
 * looked at, so a pattern that takes exponential time is stopped like a loop in
 * Lua.  Its depth of recursion is bounded by the length of the pattern, and
 * limited.
 *
 * Subject and pattern are arguments of the running function, so they stay
 * where they are.  Faulty patterns are thrown.
 */
#include "vm/vm_state.h"

#define PATTERN_MAX_CAPTURES 32

struct capture {
    const char *start;
    ptrdiff_t len; /* negative: open, or a position */
};

struct match {
    lua_State *L;
    struct vm *vm;
    const char *subject;
    const char *subject_end;
    const char *pattern;
    const char *pattern_end;
    int depth;
    int level; /* captures, open or closed */
    struct capture captures[PATTERN_MAX_CAPTURES];
};

/* Both texts must stay where they are. */
void match_init(struct match *m, lua_State *L, struct str subject,
                struct str pattern);
/* The end of the match that begins at `s`, or NULL. */
const char *match_at(struct match *m, const char *s);

/* Pushes a capture, from 0; without captures 0 is the whole match. */
void match_push(struct match *m, int index, const char *s, const char *end);
/* Pushes all captures and gives back how many; `s` NULL: no whole match stands
 * in when there are none. */
int match_push_all(struct match *m, const char *s, const char *end);
