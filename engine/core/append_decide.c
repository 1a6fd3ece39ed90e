#include "core/append_decide.h"

/*
 * The life of a batch here: its jobs come in the order in which they were
 * posted and keep it; rows point to the jobs' events (completed in place) and
 * live in the batch's arena, as the table of ids does.
 *
 *   decide_job
 *     |- one before it in its chain failed            conflict
 *     |- one before it in its chain was put off       put off behind it
 *     |- its key was stored before                    that answer, or mismatch
 *     |- its key is another job's of this batch       put off to the next one
 *     |- an id of the job is in a row of this batch   put off to the next one
 *     |- ids were stored before                       idempotent, or duplicate
 *     |- the log lost what it was decided on          version_conflict
 *     |- the expectation does not hold                version_conflict
 *     '- give_rows                                    versions and positions
 */

#include <stdio.h>

/* Events by id: open addressing, at most half full, in the batch's arena. */
struct id_map {
    const struct event **slots;
    size_t mask;
};

static const struct event **id_slot(const struct id_map *map, struct uuid id)
{
    uint64_t hash = str_hash(str_n((const char *)id.bytes, sizeof(id.bytes)));
    size_t at = (size_t)hash & map->mask;

    while (map->slots[at] != NULL && !uuid_eq(map->slots[at]->event_id, id))
        at = (at + 1) & map->mask;
    return &map->slots[at];
}

static void id_map_init(struct id_map *map, struct arena *arena, size_t items)
{
    size_t size = 16;

    while (size < items * 2)
        size *= 2;
    map->slots = ARENA_ARRAY(arena, const struct event *, size);
    map->mask = size - 1;
}

static const struct event *id_map_find(const struct id_map *map, struct uuid id)
{
    return *id_slot(map, id);
}

/* False when the id is there already. */
static bool id_map_add(struct id_map *map, const struct event *event)
{
    const struct event **slot = id_slot(map, event->event_id);

    if (*slot != NULL)
        return false;
    *slot = event;
    return true;
}

/* A chain that does not go on in this batch. */
struct chain_end {
    struct chain_end *next;
    const int *chain;
    bool put_off; /* else it failed */
};

/* What a job is compared with: ids of the store's events and of this batch's
 * rows, and what became of the jobs before it. */
struct known {
    struct id_map stored;
    struct id_map mine;
    struct chain_end *ends;
};

struct job_counts {
    size_t jobs;
    size_t events;
    size_t keys;
};

static struct job_counts count_jobs(const struct list *jobs)
{
    struct job_counts count = {0};

    list_each (jobs, item) {
        struct append_job *job = LIST_ITEM(item, struct append_job, link);

        count.jobs++;
        count.events += job->request.count;
        count.keys += job->request.key != NULL;
    }
    return count;
}

static bool job_ids_matter(const struct decision *decision,
                           const struct append_job *job)
{
    return job->request.ids_given || decision->ask_every_id;
}

/* A stream is asked for once: a placeholder in the cache marks it. */
static void ask_stream(struct decision *decision, const struct append_job *job,
                       struct append_lookup *out)
{
    const struct append_request *request = &job->request;

    if (stream_heads_find(decision->heads, request->aggregate_type,
                          request->aggregate_id) != NULL)
        return;
    stream_heads_put(decision->heads, request->aggregate_type,
                     request->aggregate_id, 0, 0);
    out->streams[out->stream_count++] =
        (struct append_stream){.aggregate_type = request->aggregate_type,
                               .aggregate_id = request->aggregate_id};
}

static void ask_key(struct append_job *job, struct append_lookup *out)
{
    struct request_ask *ask = NULL;

    if (job->request.key != NULL) {
        ask = &out->keys[out->key_count++];
        *ask = (struct request_ask){.key = job->request.key->key};
    }
    job->ask = ask;
}

void decide_questions(struct decision *decision, const struct list *jobs,
                      struct append_lookup *out)
{
    struct job_counts count = count_jobs(jobs);
    struct uuid *ids = ARENA_ARRAY(decision->arena, struct uuid, count.events);

    *out = (struct append_lookup){.ids = ids};
    out->streams =
        ARENA_ARRAY(decision->arena, struct append_stream, count.jobs);
    out->keys = ARENA_ARRAY(decision->arena, struct request_ask, count.keys);
    list_each (jobs, item) {
        struct append_job *job = LIST_ITEM(item, struct append_job, link);

        ask_stream(decision, job, out);
        ask_key(job, out);
        if (!job_ids_matter(decision, job))
            continue;
        for (size_t i = 0; i < job->request.count; i++)
            ids[out->id_count++] = job->events[i].event_id;
    }
}

static void note_streams(struct decision *decision,
                         const struct append_lookup *found)
{
    for (size_t i = 0; i < found->stream_count; i++) {
        const struct append_stream *stream = &found->streams[i];

        stream_heads_put(decision->heads, stream->aggregate_type,
                         stream->aggregate_id, stream->stream_id,
                         stream->version)
            ->last_id = stream->last_id;
    }
}

static bool same_content(const struct event *a, const struct event *b)
{
    return str_eq(a->event_type, b->event_type) &&
           a->event_version == b->event_version && str_eq(a->data, b->data) &&
           str_eq(event_own_metadata(a->metadata),
                  event_own_metadata(b->metadata));
}

static bool same_stream(const struct append_request *request,
                        const struct event *event)
{
    return str_eq(request->aggregate_type, event->aggregate_type) &&
           str_eq(request->aggregate_id, event->aggregate_id);
}

static void answer_error(struct append_job *job)
{
    job->failed = true;
    job->state = JOB_ANSWERED;
}

static void answer_duplicate(struct append_job *job, const struct event *place)
{
    char id[UUID_TEXT_SIZE];

    uuid_format(place->event_id, id);
    err_set(&job->err, ERR_DUPLICATE_EVENT,
            "event %s is stored already, as %.*s/%.*s version %llu", id,
            STR_ARG(place->aggregate_type), STR_ARG(place->aggregate_id),
            (unsigned long long)place->aggregate_version);
    err_extra(
        &job->err,
        "\"event_id\":\"%s\",\"position\":%llu,\"aggregate_version\":%llu", id,
        (unsigned long long)place->position,
        (unsigned long long)place->aggregate_version);
    answer_error(job);
}

/* All ids present, same stream, contiguous, same order and
 * content.  False for anything else. */
static bool is_repetition(const struct append_job *job,
                          const struct id_map *stored,
                          const struct event *first)
{
    for (size_t i = 0; i < job->request.count; i++) {
        const struct event *event =
            id_map_find(stored, job->events[i].event_id);

        if (event == NULL || !same_stream(&job->request, event) ||
            !same_content(event, &job->events[i]) ||
            event->aggregate_version != first->aggregate_version + i)
            return false;
    }
    return true;
}

/* The first answer again.  The events may have come in several appends: only
 * their versions are contiguous, not their positions. */
static void answer_repetition(struct append_job *job,
                              const struct id_map *stored,
                              const struct event *first)
{
    size_t last = job->request.count - 1;

    job->result = (struct append_result){
        .version = first->aggregate_version + last,
        .first_position = first->position,
        .last_position = first->position,
        .count = (uint32_t)job->request.count,
        .idempotent = true,
        .recorded_at_us = first->recorded_at_us,
    };
    if (last > 0)
        job->result.last_position =
            id_map_find(stored, job->events[last].event_id)->position;
    job->state = JOB_ANSWERED;
}

static void answer_stored(struct append_job *job, const struct id_map *stored,
                          const struct event *place)
{
    const struct event *first = id_map_find(stored, job->events[0].event_id);

    if (first != NULL && is_repetition(job, stored, first))
        answer_repetition(job, stored, first);
    else
        answer_duplicate(job, place);
}

/* The first event whose id stands twice in the request, or NULL. */
static const struct event *repeated_id(struct decision *decision,
                                       const struct append_job *job)
{
    struct id_map own;

    if (!job->request.ids_given || job->request.count < 2)
        return NULL;
    id_map_init(&own, decision->arena, job->request.count);
    for (size_t i = 0; i < job->request.count; i++)
        if (!id_map_add(&own, &job->events[i]))
            return &job->events[i];
    return NULL;
}

static void answer_repeated(struct append_job *job, const struct event *event)
{
    char id[UUID_TEXT_SIZE];

    uuid_format(event->event_id, id);
    err_set(&job->err, ERR_DUPLICATE_EVENT,
            "event %s stands twice in one append", id);
    err_extra(&job->err, "\"event_id\":\"%s\"", id);
    answer_error(job);
}

/* True when the ids settle the job: seen before, here or in the store. */
static bool settled_by_ids(struct decision *decision, struct append_job *job,
                           const struct known *known)
{
    const struct event *repeated = repeated_id(decision, job);

    if (repeated != NULL) {
        answer_repeated(job, repeated);
        return true;
    }
    for (size_t i = 0; i < job->request.count; i++) {
        struct uuid id = job->events[i].event_id;
        const struct event *place = id_map_find(&known->stored, id);

        if (place != NULL) {
            answer_stored(job, &known->stored, place);
            return true;
        }
        if (id_map_find(&known->mine, id) != NULL) {
            job->state = JOB_PUT_OFF;
            return true;
        }
    }
    return false;
}

static bool expectation_holds(const struct append_request *request,
                              uint64_t version)
{
    switch (request->expect) {
    case EXPECT_ANY:
        return true;
    case EXPECT_NO_STREAM:
        return version == 0;
    case EXPECT_STREAM_EXISTS:
        return version > 0;
    case EXPECT_VERSION:
        return version == request->expected_version;
    }
    return false;
}

/* What the caller said, in its own words (never a sentinel number). */
static const char *expectation_text(const struct append_request *request,
                                    char number[24])
{
    switch (request->expect) {
    case EXPECT_ANY:
        return "\"any\"";
    case EXPECT_NO_STREAM:
        return "\"no_stream\"";
    case EXPECT_STREAM_EXISTS:
        return "\"stream_exists\"";
    case EXPECT_VERSION:
        break;
    }
    (void)snprintf(number, 24, "%llu",
                   (unsigned long long)request->expected_version);
    return number;
}

bool decide_conflict(const struct append_request *request, uint64_t version,
                     struct err *err)
{
    char number[24];
    const char *expected = expectation_text(request, number);

    err_set(err, ERR_VERSION_CONFLICT,
            "%.*s/%.*s is at version %llu, expected %s",
            STR_ARG(request->aggregate_type), STR_ARG(request->aggregate_id),
            (unsigned long long)version, expected);
    err_extra(err, "\"expected_version\":%s,\"actual_version\":%llu", expected,
              (unsigned long long)version);
    return false;
}

static void answer_conflict(struct append_job *job, uint64_t version)
{
    (void)decide_conflict(&job->request, version, &job->err);
    answer_error(job);
}

static void give_place(struct decision *decision, struct event *event,
                       const struct stream_head *stream)
{
    event->position = decision->last.position + 1;
    event->aggregate_version = stream->version + 1;
    event->recorded_at_us = decision->now_us;
    decision->last.position = event->position;
    decision->last.event_id = event->event_id;
}

static void give_rows(struct decision *decision, struct append_job *job,
                      struct stream_head *stream, struct id_map *mine)
{
    job->result = (struct append_result){
        .count = (uint32_t)job->request.count,
        .recorded_at_us = decision->now_us,
    };
    if (job->request.count > 0)
        job->result.first_position = decision->last.position + 1;
    for (size_t i = 0; i < job->request.count; i++) {
        struct event *event = &job->events[i];

        give_place(decision, event, stream);
        if (stream->stream_id == 0)
            stream->stream_id = event->position;
        stream->version = event->aggregate_version;
        stream->last_id = event->event_id;
        decision->rows[decision->row_count++] = (struct append_row){
            .event = event,
            .stream_id = stream->stream_id,
        };
        (void)id_map_add(mine, event);
    }
    job->result.version = stream->version;
    if (job->request.count > 0)
        job->result.last_position = decision->last.position;
    job->state = JOB_DECIDED;
}

/* ---- keys: a request that comes again is answered as it was ---- */

static bool same_key(const struct request_key *a, const struct request_key *b)
{
    return str_eq(a->key, b->key) && str_eq(a->token, b->token) &&
           str_eq(a->tenant, b->tenant);
}

/* There are few with keys and fewer with the same: no table is worth it. */
static bool is_twin(const struct decision *decision,
                    const struct request_key *key)
{
    for (size_t i = 0; i < decision->mark_count; i++)
        if (same_key(&decision->marks[i].key, key))
            return true;
    return false;
}

static void answer_mark(struct append_job *job, const struct request_mark *mark)
{
    job->result = (struct append_result){
        .version = mark->first_version + mark->count - 1,
        .first_position = mark->first_position,
        .count = mark->count,
        .idempotent = true,
    };
    if (mark->count > 0)
        job->result.last_position = mark->first_position + mark->count - 1;
    job->state = JOB_ANSWERED;
}

bool decide_same_request(const struct append_key *key,
                         const struct request_mark *mark, struct err *err)
{
    if (memcmp(mark->hash, key->hash, sizeof(key->hash)) == 0)
        return true;
    return err_set(err, ERR_IDEMPOTENCY,
                   "the Idempotency-Key \"%.*s\" was used for another request",
                   STR_ARG(key->key.key));
}

/* True when the job's key settles it. */
static bool settled_by_key(const struct decision *decision,
                           struct append_job *job)
{
    const struct append_key *key = job->request.key;

    if (key == NULL)
        return false;
    if (is_twin(decision, &key->key)) {
        job->state = JOB_PUT_OFF;
        return true;
    }
    if (!job->ask->found)
        return false;
    if (decide_same_request(key, &job->ask->mark, &job->err))
        answer_mark(job, &job->ask->mark);
    else
        answer_error(job);
    return true;
}

static void give_mark(struct decision *decision, const struct append_job *job)
{
    const struct append_key *key = job->request.key;
    struct request_mark *mark;

    if (key == NULL)
        return;
    mark = &decision->marks[decision->mark_count++];
    *mark = (struct request_mark){
        .key = key->key,
        .first_position = job->result.first_position,
        .first_version = job->result.version - job->result.count + 1,
        .count = job->result.count,
    };
    memcpy(mark->hash, key->hash, sizeof(mark->hash));
}

/* ---- chains: in order, or not at all ---- */

static const struct chain_end *chain_end_of(const struct known *known,
                                            const int *chain)
{
    const struct chain_end *end = known->ends;

    while (end != NULL && end->chain != chain)
        end = end->next;
    return end;
}

static void end_chain(struct decision *decision, const struct append_job *job,
                      struct known *known)
{
    struct chain_end *end;

    if (chain_end_of(known, job->request.chain) != NULL)
        return;
    end = ARENA_NEW(decision->arena, struct chain_end);
    *end = (struct chain_end){
        .next = known->ends,
        .chain = job->request.chain,
        .put_off = job->state == JOB_PUT_OFF,
    };
    known->ends = end;
}

/* True when the job does not get its turn because of one before it.  The flag
 * tells of failures that are final; those of this batch are not yet. */
static bool settled_by_chain(struct append_job *job, const struct known *known)
{
    const int *chain = job->request.chain;
    const struct chain_end *end;

    if (chain == NULL)
        return false;
    end = chain_end_of(known, chain);
    if (end != NULL && end->put_off) {
        job->state = JOB_PUT_OFF;
        return true;
    }
    if (end == NULL && __atomic_load_n(chain, __ATOMIC_ACQUIRE) == 0)
        return false;
    err_set(&job->err, ERR_CONFLICT,
            "an append that must be stored before this one failed");
    answer_error(job);
    return true;
}

/* Where the state it was decided on ends, another event stands. */
static bool ends_elsewhere(const struct append_request *request,
                           const struct stream_head *stream)
{
    return !uuid_is_nil(request->last_id) && !uuid_is_nil(stream->last_id) &&
           request->expected_version == stream->version &&
           !uuid_eq(request->last_id, stream->last_id);
}

/* Whether the state it was decided on was folded from the log as it is. */
static bool is_of_this_log(struct decision *decision,
                           const struct append_request *request,
                           const struct stream_head *stream)
{
    if (ends_elsewhere(request, stream)) {
        decision->lost = true;
        return false;
    }
    return request->lineage == 0 || request->lineage == decision->lineage;
}

static void decide_place(struct decision *decision, struct append_job *job,
                         struct known *known)
{
    struct stream_head *stream =
        stream_heads_find(decision->heads, job->request.aggregate_type,
                          job->request.aggregate_id);

    if (!is_of_this_log(decision, &job->request, stream) ||
        !expectation_holds(&job->request, stream->version)) {
        answer_conflict(job, stream->version);
        return;
    }
    give_rows(decision, job, stream, &known->mine);
    give_mark(decision, job);
}

static void decide_job(struct decision *decision, struct append_job *job,
                       struct known *known)
{
    job->failed = false;
    if (!settled_by_chain(job, known) && !settled_by_key(decision, job) &&
        !settled_by_ids(decision, job, known))
        decide_place(decision, job, known);
    if (job->request.chain != NULL &&
        (job->failed || job->state == JOB_PUT_OFF))
        end_chain(decision, job, known);
}

static void know_ids(struct decision *decision, struct known *known,
                     const struct event_page *found, size_t events)
{
    size_t count = found != NULL ? found->count : 0;

    id_map_init(&known->stored, decision->arena, count);
    for (size_t i = 0; i < count; i++)
        (void)id_map_add(&known->stored, &found->events[i]);
    id_map_init(&known->mine, decision->arena, events);
}

void decide_batch(struct decision *decision, struct list *jobs,
                  const struct append_lookup *found)
{
    struct job_counts count = count_jobs(jobs);
    struct known known = {0};

    note_streams(decision, found);
    know_ids(decision, &known, found->found, count.events);
    decision->rows =
        ARENA_ARRAY(decision->arena, struct append_row, count.events);
    decision->row_count = 0;
    decision->marks =
        ARENA_ARRAY(decision->arena, struct request_mark, count.keys);
    decision->mark_count = 0;
    decision->lost = false;
    decision->last = decision->head;
    list_each (jobs, item)
        decide_job(decision, LIST_ITEM(item, struct append_job, link), &known);
}
