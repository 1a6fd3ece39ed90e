/*
 * A watched connection's life: its thread puts it into the list before it may
 * wait for the client and takes it out afterwards.  Meanwhile the cutter's
 * thread may shut its socket down, with the lock held, so that it is never
 * another's; shutdown does not block.
 */
#include "http/cutter.h"

#include "base/clock.h"
#include "base/mem.h"
#include "run/thread.h"

#include <sys/socket.h>

#define LOOK_EVERY_US 1000000

struct cutter {
    struct thread *thread;
    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal stopped;
    struct list watched;
    bool stopping;
};

/* ---- the thread ---- */

static void cut_connection(const struct cut *cut)
{
    int fd = peer_socket(&cut->peer);

    if (fd >= 0)
        shutdown(fd, cut->what == CUT_READING ? SHUT_RD : SHUT_RDWR);
}

static void look(struct cutter *cutter)
{
    uint64_t now_ms = clock_ms();

    list_each (&cutter->watched, item) {
        const struct cut *cut = LIST_ITEM(item, struct cut, in_watch);

        if (cut->at_ms <= now_ms)
            cut_connection(cut);
    }
}

static void run(void *arg)
{
    struct cutter *cutter = arg;

    lock_take(&cutter->lock);
    while (!cutter->stopping) {
        (void)signal_wait_until(&cutter->stopped, &cutter->lock,
                                clock_us() + LOOK_EVERY_US);
        look(cutter);
    }
    lock_give(&cutter->lock);
}

/* ---- public ---- */

struct cutter *cutter_new(struct err *err)
{
    struct cutter *cutter = NEW(struct cutter);

    lock_init(&cutter->lock);
    signal_init(&cutter->stopped);
    list_init(&cutter->watched);
    cutter->thread = thread_start("http-cut", run, cutter, err);
    if (cutter->thread != NULL)
        return cutter;
    cutter_free(cutter);
    return NULL;
}

void cutter_free(struct cutter *cutter)
{
    if (cutter == NULL)
        return;
    lock_take(&cutter->lock);
    cutter->stopping = true;
    signal_all(&cutter->stopped);
    lock_give(&cutter->lock);
    thread_join(cutter->thread);
    signal_done(&cutter->stopped);
    lock_done(&cutter->lock);
    mem_free(cutter);
}

void cutter_watch(struct cutter *cutter, struct cut *cut)
{
    lock_take(&cutter->lock);
    list_append(&cutter->watched, &cut->in_watch);
    lock_give(&cutter->lock);
}

void cutter_forget(struct cutter *cutter, struct cut *cut)
{
    lock_take(&cutter->lock);
    list_remove(&cut->in_watch);
    lock_give(&cutter->lock);
}
