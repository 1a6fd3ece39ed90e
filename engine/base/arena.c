#include "base/arena.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

/*
 * Under AddressSanitizer what is not handed out is poisoned, so that reading a
 * slice after the reset of its arena, or behind its end, is found.
 */
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(ptr, size)   ASAN_POISON_MEMORY_REGION((ptr), (size))
#define UNPOISON(ptr, size) ASAN_UNPOISON_MEMORY_REGION((ptr), (size))
#else
#define POISON(ptr, size)   ((void)(ptr), (void)(size))
#define UNPOISON(ptr, size) ((void)(ptr), (void)(size))
#endif

#define FIRST_BLOCK ((size_t)4 * 1024)
/* Blocks double up to here; only what is larger itself gets a larger one. */
#define LARGEST_BLOCK ((size_t)1024 * 1024)
#define ALIGNMENT     _Alignof(max_align_t)

struct arena_block {
    struct arena_block *next;
    size_t capacity;
    size_t used;
    _Alignas(max_align_t) char bytes[];
};

static struct arena_block *block_new(size_t capacity)
{
    struct arena_block *block = mem_alloc(sizeof(*block) + capacity);

    *block = (struct arena_block){.capacity = capacity};
    POISON(block->bytes, capacity);
    return block;
}

static void block_free(struct arena_block *block)
{
    UNPOISON(block->bytes, block->capacity);
    mem_free(block);
}

/* A block with `need` bytes free.  An oversized one goes behind the first, so
 * that the room left in the first is still used. */
static struct arena_block *add_block(struct arena *arena, size_t need)
{
    struct arena_block *first = arena->blocks;
    size_t usual = first != NULL ? first->capacity * 2 : FIRST_BLOCK;
    struct arena_block *block;

    usual = MIN(usual, LARGEST_BLOCK);
    block = block_new(MAX(usual, need));
    if (first != NULL && need > usual) {
        block->next = first->next;
        first->next = block;
    } else {
        block->next = first;
        arena->blocks = block;
    }
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    struct arena_block *block = arena->blocks;
    size_t need;
    char *ptr;

    CHECK(size < SIZE_MAX / 4);
    /* Nothing still takes a place: each allocation has its own address. */
    need = (MAX(size, 1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (block == NULL || block->capacity - block->used < need)
        block = add_block(arena, need);
    ptr = block->bytes + block->used;
    block->used += need;
    arena->used += need;
    UNPOISON(ptr, size);
    return ptr;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

struct str arena_str(struct arena *arena, struct str s)
{
    char *copy;

    if (str_is_none(s))
        return STR_NONE;
    copy = arena_alloc(arena, s.len + 1);
    memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return str_n(copy, s.len);
}

const char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(len >= 0);
    text = arena_alloc(arena, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

/* Keeps the first block that is not oversized: one huge batch must not hold
 * its memory for ever. */
void arena_reset(struct arena *arena)
{
    struct arena_block *kept = NULL;
    struct arena_block *block = arena->blocks;

    while (block != NULL) {
        struct arena_block *next = block->next;

        if (kept == NULL && block->capacity <= LARGEST_BLOCK)
            kept = block;
        else
            block_free(block);
        block = next;
    }
    *arena = (struct arena){.blocks = kept};
    if (kept != NULL) {
        POISON(kept->bytes, kept->capacity);
        kept->next = NULL;
        kept->used = 0;
    }
}

void arena_done(struct arena *arena)
{
    arena_reset(arena);
    if (arena->blocks != NULL)
        block_free(arena->blocks);
    *arena = (struct arena){0};
}
