#include "run/fault.h"

#ifdef PERIGEE_FAULTS

#include "base/str.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * The points armed by PERIGEE_FAULT, parsed at the first pass of any point.
 * Texts are those of the environment, which nobody changes after start.
 */
struct point {
    struct str name;
    uint64_t at;     /* the pass that hits; 1 is the first */
    uint64_t passes; /* atomic */
};

#define MAX_POINTS 16

static struct point points[MAX_POINTS];
static size_t point_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void arm(struct str rule)
{
    struct str rest = rule;
    struct point point = {.name = str_cut(&rest, ':'), .at = 1};

    if (!str_is_none(rest) && !str_to_u64(rest, &point.at))
        check_failed(__FILE__, __LINE__, "PERIGEE_FAULT is name:pass,…");
    CHECK(point_count < MAX_POINTS);
    points[point_count++] = point;
}

static void read_environment(void)
{
    struct str rest = str_of(getenv("PERIGEE_FAULT"));

    while (rest.len > 0)
        arm(str_cut(&rest, ','));
}

bool fault_hit(const char *name)
{
    pthread_once(&once, read_environment);
    for (size_t i = 0; i < point_count; i++) {
        if (!str_eq(points[i].name, str_of(name)))
            continue;
        if (__atomic_add_fetch(&points[i].passes, 1, __ATOMIC_RELAXED) ==
            points[i].at)
            return true;
    }
    return false;
}

void fault_kill(const char *name)
{
    if (fault_hit(name))
        kill(getpid(), SIGKILL);
}

#else

/* A translation unit must declare something. */
extern int fault_points_are_compiled_out;

#endif
