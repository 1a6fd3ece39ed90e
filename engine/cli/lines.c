#include "cli/lines.h"

#include "base/mem.h"
#include "cli/interrupt.h"

#include <errno.h>
#include <sys/stat.h>

static uint64_t size_of(FILE *file)
{
    struct stat about;

    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode))
        return 0;
    return (uint64_t)about.st_size;
}

bool lines_open(struct lines *lines, const char *path, size_t max,
                struct err *err)
{
    bool is_input = strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "re");

    if (file == NULL)
        return err_set(err, ERR_USAGE, "%s: %s", path, strerror(errno));
    *lines = (struct lines){
        .file = file,
        .name = mem_strdup(is_input ? "standard input" : path),
        .max = max,
        .size = size_of(file),
    };
    return true;
}

/* The next byte, or EOF: also when an interrupt broke off the waiting for
 * it. */
static int next_byte(struct lines *lines)
{
    return interrupted() ? EOF : getc_unlocked(lines->file);
}

enum lines_end lines_next(struct lines *lines, struct err *err)
{
    struct buf *line = &lines->line;
    int c;

    lines->number++;
    buf_clear(line);
    while ((c = next_byte(lines)) != EOF && c != '\n') {
        if (line->len == lines->max) {
            err_set(err, ERR_TOO_LARGE, "the line is longer than %zu bytes",
                    lines->max);
            return LINES_FAILED;
        }
        buf_char(line, (char)c);
    }
    if (interrupted())
        return LINES_END;
    if (ferror(lines->file)) {
        err_set(err, ERR_INTERNAL, "cannot be read: %s", strerror(errno));
        return LINES_FAILED;
    }
    lines->bytes += line->len + (c == '\n');
    return c == '\n' || line->len > 0 ? LINES_READ : LINES_END;
}

void lines_close(struct lines *lines)
{
    if (lines->file != NULL && lines->file != stdin)
        fclose(lines->file);
    mem_free(lines->name);
    buf_done(&lines->line);
    *lines = (struct lines){0};
}
