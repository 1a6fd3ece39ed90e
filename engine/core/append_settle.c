#include "core/append_writer.h"

/*
 * Only rows can be looked for: a batch that was to store nothing but keys is
 * put back, and finds its keys when it is decided again.
 */

/* What a COMMIT would have left in the log, in the batch's arena: some of its
 * jobs may be gone before it is known. */
struct lost_rows {
    uint64_t first_position;
    struct uuid *ids;
    size_t count;
};

static struct lost_rows lost_rows(struct append_queue *queue,
                                  const struct decision *decision)
{
    struct lost_rows lost = {
        .first_position = decision->rows[0].event->position,
        .ids = ARENA_ARRAY(&queue->arena, struct uuid, decision->row_count),
        .count = decision->row_count,
    };

    for (size_t i = 0; i < lost.count; i++)
        lost.ids[i] = decision->rows[i].event->event_id;
    return lost;
}

/* All of them, in their places.  One would not do: its producer may have sent
 * it to another instance meanwhile, which stored it at the same position. */
static bool is_in_page(const struct lost_rows *lost,
                       const struct event_page *page)
{
    if (page == NULL || page->count != lost->count)
        return false;
    for (size_t i = 0; i < lost->count; i++)
        if (page->events[i].position != lost->first_position + i ||
            !uuid_eq(page->events[i].event_id, lost->ids[i]))
            return false;
    return true;
}

/* Were the rows of a lost COMMIT stored?  The transaction that asks holds the
 * lock, so the old one is over.  The events themselves are asked for, since
 * those of a guess have a time that only the store knows. */
static bool is_stored(struct append_queue *queue, const struct lost_rows *lost,
                      bool *stored_out, struct err *err)
{
    struct append_lookup ask = {.ids = lost->ids, .id_count = lost->count};

    if (!append_lookup(queue, &ask, err))
        return false;
    *stored_out = is_in_page(lost, ask.found);
    if (*stored_out)
        append_note_time(queue, ask.found->events[0].recorded_at_us);
    event_page_unref(ask.found);
    return true;
}

/* While an outcome is unknown: those of the batch may have been stored, those
 * that wait were not. */
static void wait_for_outcome(struct append_queue *queue, struct err *err)
{
    struct err unknown;

    (void)err_set(&unknown, ERR_STORE,
                  "the outcome is not known; the same event ids tell it later");
    append_fail_late(queue, &queue->batch, &unknown);
    append_wait_out(queue, "the outcome of a commit is not known yet", err);
}

/* Once nobody waits for the answer there is nothing to settle: the next begin
 * finds what is there, as it finds what others appended behind it. */
static void settle_rows(struct append_queue *queue,
                        const struct decision *decision)
{
    struct lost_rows lost = lost_rows(queue, decision);
    struct append_delta delta;
    struct err err;
    bool stored = false;

    while (!append_begin(queue, &delta, &err) ||
           !is_stored(queue, &lost, &stored, &err)) {
        store_append_abort(queue->writer);
        wait_for_outcome(queue, &err);
        if (list_is_empty(&queue->batch))
            return;
    }
    store_append_abort(queue->writer);
    if (stored) {
        log_info("append", "a commit whose answer was lost had succeeded",
                 LOG_U64("position", decision->last.position));
        append_answer_batch(queue, decision);
    } else {
        append_put_back(queue);
    }
}

void append_settle(struct append_queue *queue, const struct decision *decision)
{
    if (decision->row_count > 0)
        settle_rows(queue, decision);
    else
        append_put_back(queue);
}
