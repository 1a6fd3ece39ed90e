#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Not through the log: its lock or its memory may be what is broken. */
void check_failed(const char *file, int line, const char *what)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "perigee: %s:%d: check failed: %s\n",
                       file, line, what);
    size_t size = MIN((size_t)MAX(len, 0), sizeof(text) - 1);

    if (write(STDERR_FILENO, text, size) < 0) {
        /* Nobody is left to tell. */
    }
    abort();
}
