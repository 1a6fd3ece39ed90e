#pragma once
/*
 * Memory that is there or ends the process.
 *
 * The log and the read models are in the store and a restart is a tested path,
 * so running out of memory is a clear last line and an exit, not a branch in
 * every function.  Whatever a client controls is bounded before it is
 * allocated.  Scripts do not use this: their states have a counting allocator
 * with a ceiling (vm/sandbox.h).
 */
#include "base/str.h"

/* Before any thread starts.  Large blocks (pages of the log, arenas) come from
 * the kernel and go back to it, and threads share few heaps: with glibc's
 * defaults, which adapt the threshold, one catch-up of a million events left
 * the process 75 MiB larger, with these 30, and flat. */
void mem_setup(void);

/* Never NULL, not even for 0 bytes; mem_zalloc fills with zeros. */
void *mem_alloc(size_t size) __attribute__((malloc));
void *mem_zalloc(size_t size) __attribute__((malloc));
void *mem_realloc(void *ptr, size_t size);
/* NUL-terminated copies; the caller owns them and calls mem_free. */
char *mem_strdup(const char *text) __attribute__((malloc));
char *mem_str_copy(struct str s) __attribute__((malloc));
/* Takes NULL too. */
void mem_free(void *ptr);

#define NEW(type)          ((type *)mem_zalloc(sizeof(type)))
#define NEW_ARRAY(type, n) ((type *)mem_zalloc(sizeof(type) * (n)))

/* Doubles `array` (of items of `size` bytes) until it holds `want`; gives back
 * where it is now. */
void *mem_grow(void *array, size_t *capacity, size_t want,
               size_t size) MUST_USE;
#define GROW(array, capacity, want)                                            \
    ((array) = mem_grow((array), &(capacity), (want), sizeof(*(array))))
