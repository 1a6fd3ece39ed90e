#pragma once
/*
 * A slice of bytes that somebody else owns: pointer and length, passed by
 * value, not NUL-terminated.  `ptr == NULL` means "absent", which is not the
 * same as empty: optional fields (a tenant, an actor) use the difference.
 *
 * `const char *` elsewhere in the engine always means NUL-terminated text.
 */
#include "base/base.h"

#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NONE     ((struct str){NULL, 0})
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).ptr

/* The slice of a NUL-terminated text; NULL gives STR_NONE. */
static inline struct str str_of(const char *text)
{
    return (struct str){text, text != NULL ? strlen(text) : 0};
}

static inline struct str str_n(const char *ptr, size_t len)
{
    return (struct str){ptr, len};
}

static inline bool str_is_none(struct str s)
{
    return s.ptr == NULL;
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Byte order, as COLLATE "C" has it: <0, 0, >0. */
int str_cmp(struct str a, struct str b) MUST_USE;

/* Whether `s` begins, or ends, with the other; everything does with nothing. */
bool str_starts(struct str s, struct str prefix) MUST_USE;
bool str_ends(struct str s, struct str suffix) MUST_USE;

/* Cuts `*rest` at the first `sep`: returns what stood before it, leaves what
 * stood behind it; without a separator everything is returned and `*rest`
 * becomes STR_NONE. */
struct str str_cut(struct str *rest, char sep);

/* The whole slice as a decimal number; false when it is anything else or does
 * not fit, and `*out` is untouched then. */
bool str_to_u64(struct str s, uint64_t *out) MUST_USE;
bool str_to_i64(struct str s, int64_t *out) MUST_USE;

/* True for well-formed UTF-8 (no surrogates, no overlong forms). */
bool str_is_utf8(struct str s) MUST_USE;
/* Length of the well-formed sequence at the start of `s`, which is not empty,
 * or 0. */
size_t str_utf8_len(struct str s) MUST_USE;

/* Value of a hexadecimal digit in either case, or -1. */
int str_hex_digit(char c);

/* FNV-1a, 64 bits: for hash tables in memory, never stored. */
uint64_t str_hash(struct str s);
