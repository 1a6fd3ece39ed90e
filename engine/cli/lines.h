#pragma once
/*
 * A file or standard input, line by line, in constant memory.  Lines are
 * counted from 1, as editors do.
 */
#include "base/buf.h"
#include "base/err.h"

#include <stdio.h>

struct lines {
    FILE *file;      /* owned, unless it is standard input */
    char *name;      /* of the file, or "standard input" */
    size_t max;      /* bytes a line may have */
    uint64_t size;   /* of the file; 0: not known */
    uint64_t bytes;  /* read so far */
    uint64_t number; /* of the line in `line` */
    struct buf line; /* without its end */
};

/* `path` "-" reads standard input.  ERR_USAGE when it cannot be opened. */
bool lines_open(struct lines *lines, const char *path, size_t max,
                struct err *err) MUST_USE;
enum lines_end { LINES_FAILED = -1, LINES_END, LINES_READ };
/* Reads the next one.  After a fault `number` is that of the line at fault.
 * An interrupt (cli/interrupt.h) ends the reading as the end of the file
 * does; a line that was not read whole is dropped then. */
enum lines_end lines_next(struct lines *lines, struct err *err) MUST_USE;
/* Zeroed memory is fine. */
void lines_close(struct lines *lines);
