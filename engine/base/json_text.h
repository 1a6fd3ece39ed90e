#pragma once
/*
 * The letters of JSON, for the three files that read and write it and for
 * nobody else: json_check.c (the door), json.c (the walk), json_out.c
 * (writing).
 */
#include "base/str.h"

/* Bytes that stand for themselves in a string: ASCII without control
 * characters, quote and backslash. */
extern const bool json_is_plain[256];

static inline bool json_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *json_skip_plain(const char *at, const char *end)
{
    while (at < end && json_is_plain[(unsigned char)*at])
        at++;
    return at;
}

static inline const char *json_skip_space(const char *at, const char *end)
{
    while (at < end && json_is_space(*at))
        at++;
    return at;
}

/* The UTF-16 unit of the `\uXXXX` at `at`, or -1 when that is not there. */
int32_t json_hex_unit(const char *at, const char *end) MUST_USE;

static inline bool json_is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static inline bool json_is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}
