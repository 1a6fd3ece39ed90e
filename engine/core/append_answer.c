#include "core/append_writer.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "run/thread.h"

static void forget_job(struct append_queue *queue)
{
    lock_take(&queue->lock);
    queue->count--;
    lock_give(&queue->lock);
}

static void answer(struct append_queue *queue, struct append_job *job)
{
    double seconds = (double)(clock_us() - job->posted_us) / 1e6;

    list_remove(&job->link);
    forget_job(queue);
    metric_observe(metric(METRIC_APPEND_DURATION), seconds);
    if (job->failed && job->request.chain != NULL)
        __atomic_store_n(job->request.chain, 1, __ATOMIC_RELEASE);
    job->done(job->arg, job->failed ? NULL : &job->result,
              job->failed ? &job->err : NULL);
    append_job_free(job);
}

void append_fail(struct append_queue *queue, struct append_job *job,
                 const struct err *err)
{
    job->failed = true;
    job->err = *err;
    answer(queue, job);
}

void append_fail_all(struct append_queue *queue, struct list *jobs,
                     const struct err *err)
{
    while (!list_is_empty(jobs))
        append_fail(queue, LIST_ITEM(jobs->next, struct append_job, link), err);
}

void append_note_time(struct append_queue *queue, int64_t recorded_at_us)
{
    list_each (&queue->batch, item) {
        struct append_job *job = LIST_ITEM(item, struct append_job, link);

        if (job->state == JOB_DECIDED)
            job->result.recorded_at_us = recorded_at_us;
    }
}

void append_put_back(struct append_queue *queue)
{
    lock_take(&queue->lock);
    while (!list_is_empty(&queue->batch)) {
        struct list *last = queue->batch.prev;

        list_remove(last);
        LIST_ITEM(last, struct append_job, link)->state = JOB_WAITING;
        list_prepend(&queue->waiting, last);
    }
    lock_give(&queue->lock);
}

void append_answer_batch(struct append_queue *queue,
                         const struct decision *decision)
{
    struct list put_off;
    size_t jobs = 0;

    append_recovered(queue);
    queue->known = decision->last;
    head_move(queue->head, queue->known.position);
    metric_add(metric(METRIC_EVENTS_APPENDED), decision->row_count);

    list_init(&put_off);
    while (!list_is_empty(&queue->batch)) {
        struct append_job *job =
            LIST_ITEM(queue->batch.next, struct append_job, link);

        if (job->state == JOB_PUT_OFF) {
            list_remove(&job->link);
            list_append(&put_off, &job->link);
            continue;
        }
        answer(queue, job);
        jobs++;
    }
    metric_observe(metric(METRIC_APPEND_BATCH), (double)jobs);

    while (!list_is_empty(&put_off)) {
        struct list *item = put_off.next;

        list_remove(item);
        list_append(&queue->batch, item);
    }
    append_put_back(queue);
}
