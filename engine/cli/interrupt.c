#include "cli/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t came;

static void note(int number UNUSED)
{
    came = 1;
}

/* Without SA_RESTART: whoever reads from a pipe is to hear of it. */
void interrupt_watch(void)
{
    struct sigaction action = {.sa_handler = note,
                               .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupted(void)
{
    return came != 0;
}

bool interrupt_check(struct err *err)
{
    return !interrupted() ||
           err_set(err, ERR_SHUTTING_DOWN,
                   "interrupted; the same command goes on from there");
}
