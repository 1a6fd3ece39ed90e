#pragma once
/*
 * What every file of the engine may rely on: attributes, small macros, and
 * CHECK for our own mistakes.
 *
 * CHECK is never for input: whatever a user can cause is a `struct err`
 * (base/err.h).  It stays on in release builds, because an engine that goes on
 * after a broken invariant writes wrong rows; one that dies is restarted, and
 * nothing is lost by that.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN          __attribute__((noreturn))
#define UNUSED            __attribute__((unused))

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The struct of `type` whose `member` is at `ptr`. */
#define CONTAINER_OF(ptr, type, member)                                        \
    ((type *)(void *)(((char *)(ptr)) - offsetof(type, member)))

/* Ends the process with file, line and text when `cond` does not hold. */
#define CHECK(cond) ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))

/* Writes one line to stderr and aborts.  Called by CHECK only. */
void check_failed(const char *file, int line, const char *what) NORETURN;
