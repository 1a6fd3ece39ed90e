#include "core/append_writer.h"

#include "base/clock.h"
#include "run/thread.h"

#define RETRY_MAX_MS 1000

static bool is_stopping(struct append_queue *queue, uint64_t *stop_us_out)
{
    bool stopping;

    lock_take(&queue->lock);
    stopping = queue->stopping;
    *stop_us_out = queue->stop_us;
    lock_give(&queue->lock);
    return stopping;
}

void append_fail_late(struct append_queue *queue, struct list *jobs,
                      const struct err *err)
{
    uint64_t now_us = clock_us();
    uint64_t stop_us;
    bool all = is_stopping(queue, &stop_us) && now_us > stop_us;
    struct list late;

    list_init(&late);
    lock_take(&queue->lock);
    list_each_safe (jobs, item, after) {
        if (!all &&
            LIST_ITEM(item, struct append_job, link)->deadline_us > now_us)
            continue;
        list_remove(item);
        list_append(&late, item);
    }
    lock_give(&queue->lock);
    append_fail_all(queue, &late, err);
}

static void note_trouble(struct append_queue *queue, const char *what,
                         const struct err *err)
{
    uint64_t now_ms = clock_ms();
    uint64_t held;

    lock_take(&queue->lock);
    if (queue->trouble_ms == 0)
        queue->trouble_ms = now_ms;
    queue->trouble_end_ms = now_ms;
    queue->trouble = *err;
    lock_give(&queue->lock);
    if (log_may(&queue->throttle, 10000, &held))
        log_warning("append", what, LOG_ERR(err), LOG_U64("held_back", held));
}

/* Sleeps a little longer each time, never past the stop's deadline. */
static void pause_writing(struct append_queue *queue)
{
    uint64_t until_us = clock_us() + (uint64_t)queue->retry_ms * 1000;
    bool time_left = true;

    heartbeat_wait(&queue->beat);
    lock_take(&queue->lock);
    while (time_left) {
        if (queue->stopping)
            until_us = MIN(until_us, queue->stop_us);
        time_left = signal_wait_until(&queue->work, &queue->lock, until_us);
    }
    lock_give(&queue->lock);
    heartbeat_resume(&queue->beat);
    queue->retry_ms = MIN(queue->retry_ms * 2, RETRY_MAX_MS);
}

void append_wait_out(struct append_queue *queue, const char *what,
                     struct err *err)
{
    note_trouble(queue, what, err);
    (void)err_wrap(err, "nothing was stored");
    append_fail_late(queue, &queue->waiting, err);
    pause_writing(queue);
}

void append_try_later(struct append_queue *queue, const char *what,
                      struct err *err)
{
    append_put_back(queue);
    append_wait_out(queue, what, err);
}

void append_recovered(struct append_queue *queue)
{
    queue->retry_ms = APPEND_RETRY_FIRST_MS;
    lock_take(&queue->lock);
    queue->trouble_ms = 0;
    lock_give(&queue->lock);
}
