#include "core/head.h"

#include "base/clock.h"
#include "base/mem.h"
#include "run/thread.h"

#define MAX_WATCHERS 8

struct head {
    /* --- any thread, atomic --- */
    uint64_t position;
    /* --- any thread, under lock: who listens, and the sleep of head_wait ---
     */
    struct lock lock;
    struct signal moved;
    struct {
        void (*moved)(void *arg, uint64_t position);
        void *arg;
    } watchers[MAX_WATCHERS];
    size_t watcher_count;
    bool released;
};

struct head *head_new(void)
{
    struct head *head = NEW(struct head);

    lock_init(&head->lock);
    signal_init(&head->moved);
    return head;
}

void head_free(struct head *head)
{
    if (head == NULL)
        return;
    signal_done(&head->moved);
    lock_done(&head->lock);
    mem_free(head);
}

uint64_t head_position(const struct head *head)
{
    return __atomic_load_n(&head->position, __ATOMIC_ACQUIRE);
}

/* False when it stood there, or further, already. */
static bool raise_to(struct head *head, uint64_t position)
{
    uint64_t now = head_position(head);

    while (now < position)
        if (__atomic_compare_exchange_n(&head->position, &now, position, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return true;
    return false;
}

/* Watchers are called under the lock, so that one that has stopped to watch is
 * not called any more.  For waiters it closes the gap between their look at
 * the number and their sleep. */
void head_move(struct head *head, uint64_t position)
{
    if (!raise_to(head, position))
        return;

    lock_take(&head->lock);
    signal_all(&head->moved);
    for (size_t i = 0; i < head->watcher_count; i++)
        head->watchers[i].moved(head->watchers[i].arg, position);
    lock_give(&head->lock);
}

void head_watch(struct head *head, void (*moved)(void *arg, uint64_t position),
                void *arg)
{
    lock_take(&head->lock);
    CHECK(head->watcher_count < MAX_WATCHERS);
    head->watchers[head->watcher_count].moved = moved;
    head->watchers[head->watcher_count].arg = arg;
    head->watcher_count++;
    lock_give(&head->lock);
}

void head_unwatch(struct head *head, const void *arg)
{
    lock_take(&head->lock);
    for (size_t i = 0; i < head->watcher_count; i++)
        if (head->watchers[i].arg == arg)
            head->watchers[i--] = head->watchers[--head->watcher_count];
    lock_give(&head->lock);
}

uint64_t head_wait(struct head *head, uint64_t position, uint32_t timeout_ms)
{
    uint64_t deadline_us = clock_us() + (uint64_t)timeout_ms * 1000;

    lock_take(&head->lock);
    while (!head->released && head_position(head) <= position)
        if (!signal_wait_until(&head->moved, &head->lock, deadline_us))
            break;
    lock_give(&head->lock);
    return head_position(head);
}

void head_release(struct head *head)
{
    lock_take(&head->lock);
    head->released = true;
    signal_all(&head->moved);
    lock_give(&head->lock);
}
