#include "run/thread.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

/* The analysis follows calls, not bodies: these are where a capability is
 * really taken and given, so clang is told to look away. */
#define UNCHECKED TSA(no_thread_safety_analysis)

struct thread_role loop_role, writer_role, worker_role, keeper_role;

UNCHECKED void on_loop_thread(void)
{
}

UNCHECKED void on_writer_thread(void)
{
}

UNCHECKED void on_worker_thread(void)
{
}

UNCHECKED void on_keeper_thread(void)
{
}

/* ---- threads ---- */

struct thread {
    pthread_t id;
    char name[16];
    void (*run)(void *arg);
    void *arg;
};

static void *thread_main(void *arg)
{
    struct thread *thread = arg;

    prctl(PR_SET_NAME, thread->name);
    thread->run(thread->arg);
    return NULL;
}

/* The new thread inherits the mask, so no signal can slip in before it would
 * have blocked them itself. */
static int create_with_signals_blocked(struct thread *thread)
{
    sigset_t all, before;

    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int failed = pthread_create(&thread->id, NULL, thread_main, thread);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return failed;
}

struct thread *thread_start(const char *name, void (*run)(void *arg), void *arg,
                            struct err *err)
{
    struct thread *thread = NEW(struct thread);

    snprintf(thread->name, sizeof(thread->name), "%s", name);
    thread->run = run;
    thread->arg = arg;
    int failed = create_with_signals_blocked(thread);
    if (failed == 0)
        return thread;

    err_set(err, ERR_INTERNAL, "cannot start thread %s: %s", name,
            strerror(failed));
    mem_free(thread);
    return NULL;
}

void thread_join(struct thread *thread)
{
    if (thread == NULL)
        return;
    CHECK(pthread_join(thread->id, NULL) == 0);
    mem_free(thread);
}

/* ---- locks ---- */

void lock_init(struct lock *lock)
{
    CHECK(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

void lock_done(struct lock *lock)
{
    CHECK(pthread_mutex_destroy(&lock->mutex) == 0);
}

UNCHECKED void lock_take(struct lock *lock)
{
    CHECK(pthread_mutex_lock(&lock->mutex) == 0);
}

UNCHECKED void lock_give(struct lock *lock)
{
    CHECK(pthread_mutex_unlock(&lock->mutex) == 0);
}

void signal_init(struct signal *signal)
{
    pthread_condattr_t attributes;

    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&signal->cond, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

void signal_done(struct signal *signal)
{
    CHECK(pthread_cond_destroy(&signal->cond) == 0);
}

void signal_one(struct signal *signal)
{
    CHECK(pthread_cond_signal(&signal->cond) == 0);
}

void signal_all(struct signal *signal)
{
    CHECK(pthread_cond_broadcast(&signal->cond) == 0);
}

UNCHECKED void signal_wait(struct signal *signal, struct lock *lock)
{
    CHECK(pthread_cond_wait(&signal->cond, &lock->mutex) == 0);
}

UNCHECKED bool signal_wait_until(struct signal *signal, struct lock *lock,
                                 uint64_t deadline_us)
{
    struct timespec until = {
        .tv_sec = (time_t)(deadline_us / 1000000),
        .tv_nsec = (long)(deadline_us % 1000000) * 1000,
    };
    int ended = pthread_cond_timedwait(&signal->cond, &lock->mutex, &until);

    CHECK(ended == 0 || ended == ETIMEDOUT);
    return ended == 0;
}

/* ---- heartbeats ---- */

void heartbeat_moved(struct heartbeat *beat)
{
    __atomic_store_n(&beat->moved_ms, clock_ms(), __ATOMIC_RELAXED);
}

void heartbeat_wait(struct heartbeat *beat)
{
    heartbeat_moved(beat);
    __atomic_store_n(&beat->waiting, 1, __ATOMIC_RELEASE);
}

/* Moved first: a probe between the two lines must not see an old time outside
 * of a wait. */
void heartbeat_resume(struct heartbeat *beat)
{
    heartbeat_moved(beat);
    __atomic_store_n(&beat->waiting, 0, __ATOMIC_RELEASE);
}

bool heartbeat_is_stalled(const struct heartbeat *beat, uint64_t limit_ms)
{
    if (__atomic_load_n(&beat->waiting, __ATOMIC_ACQUIRE) != 0)
        return false;

    uint64_t moved_ms = __atomic_load_n(&beat->moved_ms, __ATOMIC_RELAXED);
    uint64_t now_ms = clock_ms();
    return now_ms > moved_ms && now_ms - moved_ms > limit_ms;
}
