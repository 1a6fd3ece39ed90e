#include "base/err.h"

#include "base/buf.h"
#include "base/json.h"

#include <stdio.h>

struct row {
    const char *name;
    int status;
    const char *title;
    bool again;
};

static const struct row rows[ERR_CODES] = {
#define X(constant, name, status, title, again) {name, status, title, again},
    ERR_TABLE(X)
#undef X
};

static const struct row *row_of(enum err_code code)
{
    CHECK((unsigned)code < ERR_CODES);
    return &rows[code];
}

const char *err_name(enum err_code code)
{
    return row_of(code)->name;
}

int err_status(enum err_code code)
{
    return row_of(code)->status;
}

const char *err_title(enum err_code code)
{
    return row_of(code)->title;
}

bool err_may_retry(enum err_code code)
{
    return row_of(code)->again;
}

/* "none" is no answer: whoever reads a problem has a problem. */
enum err_code err_code_of(struct str name)
{
    for (int code = ERR_NONE + 1; code < ERR_CODES; code++) {
        if (str_eq(str_of(rows[code].name), name))
            return (enum err_code)code;
    }
    return ERR_INTERNAL;
}

/* Keeps the text one line and, where it is cut, never within a character. */
static void put_text(struct err *err, struct str text)
{
    size_t len = MIN(text.len, sizeof(err->text) - 1);

    if (len < text.len) {
        while (len > 0 && ((uint8_t)text.ptr[len] & 0xC0) == 0x80)
            len--;
    }
    for (size_t i = 0; i < len; i++)
        err->text[i] = (uint8_t)text.ptr[i] < ' ' ? ' ' : text.ptr[i];
    err->text[len] = '\0';
}

bool err_set(struct err *err, enum err_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    err_vset(err, code, format, args);
    va_end(args);
    return false;
}

bool err_vset(struct err *err, enum err_code code, const char *format,
              va_list args)
{
    struct buf text = {0};

    buf_vprintf(&text, format, args);
    put_text(err, buf_as_str(&text));
    buf_done(&text);
    err->code = code;
    err->extra[0] = '\0';
    return false;
}

bool err_wrap(struct err *err, const char *format, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    buf_text(&text, ": ");
    buf_text(&text, err->text);
    put_text(err, buf_as_str(&text));
    buf_done(&text);
    return false;
}

/* Puts `text` in place of what `extra` has from `at` on, or leaves it alone. */
static void replace_extra(struct err *err, size_t at, const struct buf *text)
{
    if (at + text->len < sizeof(err->extra))
        memcpy(err->extra + at, text->ptr, text->len + 1);
}

void err_extra(struct err *err, const char *format, ...)
{
    size_t len = strlen(err->extra);
    struct buf text = {0};
    va_list args;

    if (len > 0)
        buf_char(&text, ',');
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    replace_extra(err, len, &text);
    buf_done(&text);
}

/* Inside a JSON string these quotes would be escaped: finding the opening of
 * the list is enough to know that it is there. */
#define LIST_OPENING "\"errors\":["

static void write_field(struct buf *out, struct str field, struct str message)
{
    buf_text(out, "{\"field\":");
    json_quote(out, field);
    buf_text(out, ",\"message\":");
    json_quote(out, message);
    buf_text(out, "}]");
}

void err_field(struct err *err, struct str field, const char *format, ...)
{
    bool has_list = strstr(err->extra, LIST_OPENING) != NULL;
    size_t len = strlen(err->extra);
    struct buf message = {0};
    struct buf text = {0};
    va_list args;

    va_start(args, format);
    buf_vprintf(&message, format, args);
    va_end(args);
    if (len > 0)
        buf_char(&text, ',');
    if (!has_list)
        buf_text(&text, LIST_OPENING);
    write_field(&text, field, buf_as_str(&message));
    /* A list that is there is continued where its bracket was. */
    replace_extra(err, has_list ? len - 1 : len, &text);
    buf_done(&message);
    buf_done(&text);
}
