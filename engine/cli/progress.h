#pragma once
/*
 * One line on stderr that tells how far long work has come, rewritten a few
 * times a second; nothing at all when stderr is no terminal.
 */
#include "base/str.h"

struct progress {
    bool shown; /* stderr is a terminal */
    uint64_t began_us;
    uint64_t next_us; /* when the line is written again */
};

/* Begins to measure; nothing is shown yet. */
void progress_begin(struct progress *progress);
/* `items` were done, and `part` of `total` bytes (0: not known). */
void progress_show(struct progress *progress, uint64_t items, uint64_t part,
                   uint64_t total);
/* Clears the line; seconds since the beginning. */
double progress_end(struct progress *progress);
