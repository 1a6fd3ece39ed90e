#include "cli/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define EVERY_US  200000
#define BAR_CELLS 24

void progress_begin(struct progress *progress)
{
    *progress = (struct progress){
        .shown = isatty(STDERR_FILENO) != 0,
        .began_us = clock_us(),
    };
}

static void write_bar(double done)
{
    int cells = (int)(done * BAR_CELLS);

    fprintf(stderr, "[%.*s%*s] %3.0f %%", cells, "########################",
            BAR_CELLS - cells, "", done * 100);
}

static void write_time_left(double seconds)
{
    unsigned left = (unsigned)seconds;

    fprintf(stderr, "  %u:%02u left", left / 60, left % 60);
}

void progress_show(struct progress *progress, uint64_t items, uint64_t part,
                   uint64_t total)
{
    uint64_t now_us = clock_us();

    if (!progress->shown || now_us < progress->next_us)
        return;
    progress->next_us = now_us + EVERY_US;

    double seconds = (double)(now_us - progress->began_us) / 1e6;
    double done = total > 0 ? MIN((double)part / (double)total, 1.0) : 0;
    fputs("\r\033[K", stderr);
    if (total > 0)
        write_bar(done);
    fprintf(stderr, "  %" PRIu64 " events  %.0f/s", items,
            seconds > 0 ? (double)items / seconds : 0);
    if (done > 0.01)
        write_time_left(seconds / done - seconds);
    fflush(stderr);
}

double progress_end(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    return (double)(clock_us() - progress->began_us) / 1e6;
}
