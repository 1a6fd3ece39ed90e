#pragma once
/*
 * Inside of the append queue: what its files share.
 *
 *   append_queue    callers: posting and waiting; the queue's life
 *   append_job      one append on its way: copied, freed
 *   append_writer   the writer thread: one group commit after another
 *   append_answer   jobs leave with an answer, or go back to wait
 *   append_trouble  the store does not do it: who is told, how long to wait
 *   append_settle   a commit whose answer was lost
 *   append_decide   decisions in memory
 *
 * Life of the data.  A job is made by its caller and stands in `waiting` until
 * the writer closes a batch; then it moves to `batch`, is decided, and is
 * answered when the batch has committed, or goes back to the front of
 * `waiting` when the transaction did not.  Rows, questions and deltas live in
 * the batch's arena, which is reset when the batch is over.  Rows point into
 * their jobs: whoever needs them after the first answer copies them.
 *
 * Every way back to `waiting` either is bounded (stale, split, a guess that was
 * wrong) or looks for jobs whose time is over and pauses, so a store that
 * begins but never commits neither spins nor keeps anybody waiting, and a stop
 * ends.
 */
#include "base/log.h"
#include "core/append_decide.h"

#define APPEND_RETRY_FIRST_MS 20

struct append_queue {
    /* --- set before start, then read only --- */
    struct store *store; /* borrowed: closed after us */
    struct head *head;   /* borrowed likewise */
    size_t max_waiting;
    struct thread *thread;
    struct heartbeat beat; /* atomic inside */

    /* --- any thread, atomic; the writer's to change --- */
    uint64_t lineage; /* see append_lineage */

    /* --- any thread, under lock --- */
    struct lock lock;
    struct signal work;
    struct list waiting;
    size_t count;   /* waiting, and in the writer's hands */
    size_t callers; /* inside of append_submit */
    bool stopping;
    uint64_t stop_us;        /* give up what could not be stored by then */
    uint64_t trouble_ms;     /* since when nothing was stored; 0: all is well,
                                or nobody has tried for a while */
    uint64_t trouble_end_ms; /* when it failed last */
    struct err trouble;      /* why */

    /* --- writer thread --- */
    struct store_writer *writer;
    struct stream_heads *heads;
    struct log_place known; /* the head as we last saw it committed */
    struct arena arena;
    struct list batch;
    uint32_t stale_count;
    uint32_t quiet; /* batches in a row that met nobody else's events */
    bool ask_every_id;
    uint32_t retry_ms; /* the next pause; grows until a batch is answered */
    struct log_throttle throttle;
};

/* ---- append_writer.c ---- */

/* The writer thread's life; ends when the queue stops and nothing waits. */
void append_writer_main(void *queue);

/* The store's functions, with the heartbeat told that they may take long. */
bool append_begin(struct append_queue *queue, struct append_delta *delta,
                  struct err *err) MUST_USE;
/* Likewise; asks nothing when there are no questions. */
bool append_lookup(struct append_queue *queue, struct append_lookup *questions,
                   struct err *err) MUST_USE;

/* ---- append_answer.c ---- */

/* `done` is called, and the job is gone.  Any thread that has the job in hand:
 * the writer, or a caller who took it out of `waiting`. */
void append_fail(struct append_queue *queue, struct append_job *job,
                 const struct err *err);
/* Every job of a list. */
void append_fail_all(struct append_queue *queue, struct list *jobs,
                     const struct err *err);
/* The batch is committed: everybody in it gets what was decided, and the head
 * moves; those put off go back to wait. */
void append_answer_batch(struct append_queue *queue,
                         const struct decision *decision);
/* The store set the time of the batch's rows; repetitions have none. */
void append_note_time(struct append_queue *queue, int64_t recorded_at_us);
/* Nothing of the batch was stored: back to the front of `waiting`, in order. */
void append_put_back(struct append_queue *queue);

/* ---- append_trouble.c ---- */

/* Answers those of `jobs` whose time is over; all of them past the stop's
 * deadline. */
void append_fail_late(struct append_queue *queue, struct list *jobs,
                      const struct err *err);
/* The store is in trouble and nothing of what waits was stored: tells those
 * whose time is over, then gives the store a little. */
void append_wait_out(struct append_queue *queue, const char *what,
                     struct err *err);
/* The same for a batch: it comes again, after the pause. */
void append_try_later(struct append_queue *queue, const char *what,
                      struct err *err);
/* A batch was stored: pauses are short again, health is told. */
void append_recovered(struct append_queue *queue);

/* ---- append_settle.c ---- */

/* After a COMMIT whose answer was lost: waits the old transaction out, then
 * answers or puts the jobs back. */
void append_settle(struct append_queue *queue, const struct decision *decision);
