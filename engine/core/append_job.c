#include "core/append_job.h"

#include "base/clock.h"
#include "base/mem.h"

/* NULL stays NULL. */
static const struct append_key *copy_key(struct arena *arena,
                                         const struct append_key *from)
{
    struct append_key *key;

    if (from == NULL)
        return NULL;
    key = ARENA_NEW(arena, struct append_key);
    *key = *from;
    key->key.token = arena_str(arena, from->key.token);
    key->key.tenant = arena_str(arena, from->key.tenant);
    key->key.key = arena_str(arena, from->key.key);
    return key;
}

struct append_job *append_job_new(const struct append_request *request)
{
    struct append_job *job = NEW(struct append_job);
    struct append_request *own = &job->request;

    list_init(&job->link);
    *own = *request;
    own->aggregate_type = arena_str(&job->arena, request->aggregate_type);
    own->aggregate_id = arena_str(&job->arena, request->aggregate_id);
    job->events = ARENA_ARRAY(&job->arena, struct event, request->count);
    for (size_t i = 0; i < request->count; i++) {
        event_copy(&job->events[i], &request->events[i], &job->arena);
        job->events[i].aggregate_type = own->aggregate_type;
        job->events[i].aggregate_id = own->aggregate_id;
    }
    own->events = job->events;
    own->key = copy_key(&job->arena, request->key);
    job->bytes = job->arena.used;
    job->posted_us = clock_us();
    return job;
}

void append_job_free(struct append_job *job)
{
    arena_done(&job->arena);
    mem_free(job);
}
