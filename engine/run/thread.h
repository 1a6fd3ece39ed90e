#pragma once
/*
 * Threads with names and roles.
 *
 * A role is a clang capability: a prototype marked ON_WRITER may only be
 * called from the writer thread, and `clang -Wthread-safety` reports a call
 * from elsewhere.  A thread's entry point and each callback begin with
 * on_writer_thread() and so on.  The table of threads is in ARCHITECTURE.md.
 *
 * Locks are pthread mutexes behind `struct lock`, so that ACQUIRE, RELEASE and
 * REQUIRES can be checked; conditions wait on the monotonic clock.
 */
#include "base/err.h"

#include <pthread.h>

#if defined(__clang__)
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif

struct TSA(capability("role")) thread_role {
    int unused;
};
extern struct thread_role loop_role, writer_role, worker_role, keeper_role;

#define ON_LOOP   TSA(requires_capability(loop_role))
#define ON_WRITER TSA(requires_capability(writer_role))
#define ON_WORKER TSA(requires_capability(worker_role))
#define ON_KEEPER TSA(requires_capability(keeper_role))

/* Says that this is the thread of the one loop. */
void on_loop_thread(void) TSA(assert_capability(loop_role));
/* Says that this is the writer of the append queue. */
void on_writer_thread(void) TSA(assert_capability(writer_role));
/* Says that this is a worker, which runs projections. */
void on_worker_thread(void) TSA(assert_capability(worker_role));
/* Says that this is the keeper of leases and of the head. */
void on_keeper_thread(void) TSA(assert_capability(keeper_role));

/* ---- threads ---- */

struct thread;
/* Starts a thread with every signal blocked; `name` shows in ps and gdb (15
 * bytes).  It must be joined. */
struct thread *thread_start(const char *name, void (*run)(void *arg), void *arg,
                            struct err *err) MUST_USE;
/* Waits for its end and frees it; NULL is fine. */
void thread_join(struct thread *thread);

/* ---- locks ---- */

struct TSA(capability("mutex")) lock {
    pthread_mutex_t mutex;
};
#define ACQUIRE(l)  TSA(acquire_capability(l))
#define RELEASE(l)  TSA(release_capability(l))
#define REQUIRES(l) TSA(requires_capability(l))

/* The caller's memory; nobody may hold it when it is done. */
void lock_init(struct lock *lock);
/* The end of lock_init. */
void lock_done(struct lock *lock);
/* Waits for it.  Not recursive, and two are never held at once. */
void lock_take(struct lock *lock) ACQUIRE(*lock);
/* Gives it back, on the thread that took it. */
void lock_give(struct lock *lock) RELEASE(*lock);

struct signal { /* a condition variable */
    pthread_cond_t cond;
};
/* The caller's memory; nobody may wait when it is done. */
void signal_init(struct signal *signal);
/* The end of signal_init. */
void signal_done(struct signal *signal);
/* Wakes one of those who wait. */
void signal_one(struct signal *signal);
/* Wakes all who wait. */
void signal_all(struct signal *signal);
/* Waits, the lock given back meanwhile; may wake without a signal. */
void signal_wait(struct signal *signal, struct lock *lock) REQUIRES(*lock);
/* Until `deadline_us` of clock_us(); false when the time is over. */
bool signal_wait_until(struct signal *signal, struct lock *lock,
                       uint64_t deadline_us) REQUIRES(*lock);

/* ---- heartbeats ---- */

/* What the liveness probe reads: when a thread last moved, and whether it is
 * in a wait that it declared (on the store, or for work), during which it need
 * not move. */
struct heartbeat {
    uint64_t moved_ms; /* atomic */
    int waiting;       /* atomic */
};
void heartbeat_moved(struct heartbeat *beat);
void heartbeat_wait(struct heartbeat *beat);   /* a declared wait begins */
void heartbeat_resume(struct heartbeat *beat); /* and ends: moved now */
/* True when it has not moved for `limit_ms` outside of a declared wait. */
bool heartbeat_is_stalled(const struct heartbeat *beat, uint64_t limit_ms);
