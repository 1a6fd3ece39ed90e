#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_CAPACITY 8

/* Formats on the stack: there is no memory for anything else. */
static void out_of_memory(size_t size) NORETURN;
static void out_of_memory(size_t size)
{
    char text[80];
    int len = snprintf(text, sizeof(text),
                       "perigee: out of memory (%zu bytes wanted)\n", size);

    if (write(STDERR_FILENO, text, (size_t)len) < 0) {
        /* Nobody is left to tell. */
    }
    _exit(EXIT_FAILURE);
}

void mem_setup(void)
{
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_ARENA_MAX, 2);
}

void *mem_alloc(size_t size)
{
    void *ptr = malloc(MAX(size, 1));

    if (ptr == NULL)
        out_of_memory(size);
    return ptr;
}

void *mem_zalloc(size_t size)
{
    void *ptr = calloc(1, MAX(size, 1));

    if (ptr == NULL)
        out_of_memory(size);
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    void *moved = realloc(ptr, MAX(size, 1));

    if (moved == NULL)
        out_of_memory(size);
    return moved;
}

char *mem_strdup(const char *text)
{
    return mem_str_copy(str_of(text));
}

char *mem_str_copy(struct str s)
{
    char *copy = mem_alloc(s.len + 1);

    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

void mem_free(void *ptr)
{
    free(ptr);
}

void *mem_grow(void *array, size_t *capacity, size_t want, size_t size)
{
    size_t grown = MAX(*capacity, FIRST_CAPACITY);

    if (want <= *capacity)
        return array;
    CHECK(want <= SIZE_MAX / 2 / size);
    while (grown < want)
        grown *= 2;
    *capacity = grown;
    return mem_realloc(array, grown * size);
}
