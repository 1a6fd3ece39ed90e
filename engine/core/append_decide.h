#pragma once
/*
 * Decides a batch of appends in memory, under the log's lock: who may append,
 * with which versions and positions; who conflicts; who was stored before.
 *
 * Nothing here talks to the store.  decide_questions says what has to be looked
 * up first; decide_batch then answers every job or gives it rows.  Answers are
 * final only when the batch has committed: a conflict with a neighbour of the
 * same batch is no conflict when that neighbour was rolled back.
 */
#include "core/append_job.h"
#include "core/stream_heads.h"

struct decision {
    /* --- given --- */
    struct stream_heads *heads;
    struct arena *arena;   /* of the batch */
    struct log_place head; /* the last committed event */
    int64_t now_us;        /* the store's clock */
    uint64_t lineage;      /* of the log as it is now: see append_lineage */
    bool ask_every_id;     /* after a unique violation */
    /* --- made --- */
    struct append_row *rows;
    size_t row_count;
    struct request_mark *marks; /* of the jobs with a key that are stored */
    size_t mark_count;
    struct log_place last; /* the head once the rows are committed */
    bool lost;             /* a job was decided on an event that is gone */
};

/* Streams and ids that must be looked up before these jobs can be decided. */
void decide_questions(struct decision *decision, const struct list *jobs,
                      struct append_lookup *out);
/* Notes what the lookup found, then decides job by job, in order. */
void decide_batch(struct decision *decision, struct list *jobs,
                  const struct append_lookup *found);

/* Whether a stored mark is this request's; ERR_IDEMPOTENCY when its key was
 * used for another one.  Any thread. */
bool decide_same_request(const struct append_key *key,
                         const struct request_mark *mark,
                         struct err *err) MUST_USE;

/* The error of an expectation that does not hold: what was expected, in the
 * caller's words, and the version there is.  Always false.  Any thread. */
bool decide_conflict(const struct append_request *request, uint64_t version,
                     struct err *err);
