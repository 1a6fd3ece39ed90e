#pragma once
/*
 * One append on its way: the request as it was copied, and its answer.  Made by
 * the caller's thread, owned by the queue until `done` is called on the
 * writer's thread, which frees it afterwards.
 */
#include "base/list.h"
#include "core/append_queue.h"

enum job_state {
    JOB_WAITING,  /* nothing was done yet */
    JOB_DECIDED,  /* rows are in the batch that is being committed */
    JOB_ANSWERED, /* result or err is final once the batch has committed */
    JOB_PUT_OFF,  /* belongs behind another of this batch: next time */
};

struct append_job {
    struct list link;
    struct arena arena; /* owns the copies below */
    struct append_request request;
    struct event *events; /* request.events, writable */
    size_t bytes;         /* of all its texts */
    uint64_t posted_us;
    uint64_t deadline_us;
    void (*done)(void *arg, const struct append_result *result,
                 const struct err *err);
    void *arg;
    /* --- the writer's --- */
    const struct request_ask *ask; /* its key's, in the batch's arena; NULL
                                      without a key */
    enum job_state state;
    bool failed;
    bool alone; /* after data was refused: in a batch of its own */
    struct append_result result;
    struct err err;
};

/* A copy of everything that the request points to, waiting; never NULL. */
struct append_job *append_job_new(const struct append_request *request);
void append_job_free(struct append_job *job);
