#pragma once
/*
 * Bump memory with one end: a batch or a request allocates what it needs and
 * forgets all of it at once.  Zeroed memory is an empty arena.  Not for
 * anything that outlives the batch: that is copied out by a `*_copy` function.
 * One thread at a time.
 */
#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used; /* bytes handed out since the last reset */
};

/* Aligned for any type; never NULL. */
void *arena_alloc(struct arena *arena, size_t size);
/* The same, filled with zeros. */
void *arena_zalloc(struct arena *arena, size_t size);
/* A copy that is followed by a NUL (not counted).  STR_NONE stays STR_NONE. */
struct str arena_str(struct arena *arena, struct str s);
/* Formatted text, NUL-terminated. */
const char *arena_printf(struct arena *arena, const char *format, ...)
    PRINTF_LIKE(2, 3);

#define ARENA_NEW(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, n)                                            \
    ((type *)arena_zalloc((arena), sizeof(type) * (n)))

/* Forgets everything; keeps one block for the next round. */
void arena_reset(struct arena *arena);
/* Frees everything and leaves an empty arena. */
void arena_done(struct arena *arena);
