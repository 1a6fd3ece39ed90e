#include "base/str.h"

int str_cmp(struct str a, struct str b)
{
    size_t shared = MIN(a.len, b.len);
    int order = shared > 0 ? memcmp(a.ptr, b.ptr, shared) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_n(s.ptr, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    if (s.len < suffix.len)
        return false;
    if (suffix.len == 0)
        return true;
    return str_eq(str_n(s.ptr + (s.len - suffix.len), suffix.len), suffix);
}

struct str str_cut(struct str *rest, char sep)
{
    struct str whole = *rest;
    const char *at = whole.len > 0 ? memchr(whole.ptr, sep, whole.len) : NULL;
    size_t before;

    if (at == NULL) {
        *rest = STR_NONE;
        return whole;
    }
    before = (size_t)(at - whole.ptr);
    *rest = str_n(at + 1, whole.len - before - 1);
    return str_n(whole.ptr, before);
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t value = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.ptr[i] - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool negative = str_starts(s, STR("-"));
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t size;

    if (!str_to_u64(negative ? str_n(s.ptr + 1, s.len - 1) : s, &size) ||
        size > limit)
        return false;
    /* Negated as unsigned: -2^63 has no positive of its own. */
    *out = negative ? (int64_t)(UINT64_C(0) - size) : (int64_t)size;
    return true;
}

bool str_is_utf8(struct str s)
{
    while (s.len > 0) {
        size_t len = str_utf8_len(s);

        if (len == 0)
            return false;
        s = str_n(s.ptr + len, s.len - len);
    }
    return true;
}

/* The bounds of the second byte are those of Unicode's table 3-7: they
 * keep out overlong forms, surrogates and what lies beyond U+10FFFF. */
size_t str_utf8_len(struct str s)
{
    const uint8_t *at = (const uint8_t *)s.ptr;
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    size_t len;

    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xC2 || at[0] > 0xF4)
        return 0;
    len = at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    low = at[0] == 0xE0 ? 0xA0 : at[0] == 0xF0 ? 0x90 : low;
    high = at[0] == 0xED ? 0x9F : at[0] == 0xF4 ? 0x8F : high;
    if (s.len < len || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

int str_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

uint64_t str_hash(struct str s)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < s.len; i++)
        hash = (hash ^ (uint8_t)s.ptr[i]) * UINT64_C(0x100000001b3);
    return hash;
}
