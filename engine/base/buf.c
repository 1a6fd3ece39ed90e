#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>

#define FIRST_CAPACITY 64

/* Room for `more` bytes and the NUL behind them. */
static void reserve(struct buf *buf, size_t more)
{
    size_t grown = MAX(buf->capacity, FIRST_CAPACITY);
    size_t want;

    CHECK(more < SIZE_MAX / 4 && buf->len < SIZE_MAX / 4);
    want = buf->len + more + 1;
    if (want <= buf->capacity)
        return;
    while (grown < want)
        grown *= 2;
    buf->ptr = mem_realloc(buf->ptr, grown);
    buf->capacity = grown;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    reserve(buf, len);
    if (len > 0)
        memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
    buf->ptr[buf->len] = '\0';
}

void buf_str(struct buf *buf, struct str s)
{
    buf_add(buf, s.ptr, s.len);
}

void buf_text(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_char(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

/* Formats into the room there is, and only when that was too small again. */
void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    size_t room;
    int len;

    reserve(buf, 0);
    room = buf->capacity - buf->len;
    va_copy(again, args);
    len = vsnprintf(buf->ptr + buf->len, room, format, args);
    CHECK(len >= 0);
    if ((size_t)len >= room) {
        reserve(buf, (size_t)len);
        vsnprintf(buf->ptr + buf->len, (size_t)len + 1, format, again);
    }
    va_end(again);
    buf->len += (size_t)len;
}

char *buf_room(struct buf *buf, size_t more)
{
    reserve(buf, more);
    return memset(buf->ptr + buf->len, 0, more + 1);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    if (buf->ptr != NULL)
        buf->ptr[0] = '\0';
}

void buf_done(struct buf *buf)
{
    mem_free(buf->ptr);
    *buf = (struct buf){0};
}

char *buf_take(struct buf *buf)
{
    char *text = buf->ptr != NULL ? buf->ptr : mem_strdup("");

    *buf = (struct buf){0};
    return text;
}
