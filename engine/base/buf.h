#pragma once
/*
 * Growable bytes.  Zeroed memory is an empty buffer; buf_done frees it and
 * leaves it empty again.  The bytes are always followed by a NUL that does not
 * count, so `buf->ptr` is a C string when no NUL was added.
 */
#include "base/str.h"

#include <stdarg.h>

struct buf {
    char *ptr;
    size_t len;
    size_t capacity;
};

/* Append: bytes, a slice (STR_NONE adds nothing), a C string, one character,
 * formatted text.  None may point into the buffer itself. */
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_str(struct buf *buf, struct str s);
void buf_text(struct buf *buf, const char *text);
void buf_char(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list args)
    PRINTF_LIKE(2, 0);

/* Room for `more` bytes at the end, zeroed, so that a NUL follows whatever is
 * written there; `buf->len` is the caller's to advance. */
char *buf_room(struct buf *buf, size_t more);

/* Empty, memory kept. */
void buf_clear(struct buf *buf);
/* Empty, memory freed. */
void buf_done(struct buf *buf);
/* The bytes as a C string that the caller frees; the buffer is empty then. */
char *buf_take(struct buf *buf);

static inline struct str buf_as_str(const struct buf *buf)
{
    return (struct str){buf->ptr != NULL ? buf->ptr : "", buf->len};
}
