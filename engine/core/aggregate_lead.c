#include "core/aggregate.h"

/*
 * Life of a round.  Jobs are gathered from the front of the entry's queue; the
 * state is made ready; each job is decided on it in turn, and moves it on.  The
 * events are appended; then each job's end is settled in order, those that
 * ended leave the queue, and the others wait for the next round.
 *
 * A cached state may be behind: another instance appends too.  Events are
 * stored all the same only if the version was right.  A refusal is believed
 * when the stream's end was read in this round (`proven`), when events that
 * were decided on the same state were stored, or when one short read shows that
 * the stream still ends where the state did.
 */

#include "core/aggregate_flight.h"
#include "core/aggregate_lead.h"
#include "core/append_decide.h"

#define CONFLICT_RETRIES 5
#define ATTEMPTS         (1 + CONFLICT_RETRIES)

struct round {
    const struct fold *fold;
    struct turn *turns[SLOT_MAX_TOGETHER];
    size_t count;
    size_t decided;     /* the others wait for the next round */
    struct folded base; /* as it was before the first */
    bool behind;        /* the stream goes on behind the state: fold first */
    bool proven;        /* `base` was the stream's end during this round */
    bool broken;        /* something decided was not stored */
};

static struct job *job_at(const struct round *round, size_t place)
{
    return CONTAINER_OF(round->turns[place], struct job, turn);
}

/* ---- deciding ---- */

/* What is cached is good enough to begin with, unless it is known not to be. */
static bool ensure_state(struct round *round, struct err *err)
{
    round->proven = round->behind || !fold_is_cached(round->fold);
    round->behind = false;
    return !round->proven || fold_to(round->fold, UINT64_MAX, err);
}

static bool version_mismatch(const struct fold *fold, const struct job *job)
{
    struct append_request wanted = {
        .aggregate_type = fold->decl->type,
        .aggregate_id = fold->id,
        .expect = EXPECT_VERSION,
        .expected_version = job->request->version,
    };

    return decide_conflict(&wanted, fold->folded->version, job->err);
}

static struct vm_command command_of(const struct fold *fold,
                                    const struct command_request *request)
{
    return (struct vm_command){
        .name = request->command,
        .input = request->input,
        .aggregate_id = fold->id,
        .version = fold->folded->version,
        .tenant_id = request->tenant_id,
        .actor_id = request->actor_id,
        .correlation_id = request->correlation_id,
        .causation_id = request->causation_id,
        .metadata = request->metadata,
    };
}

/* Runs the script on the state there is.  Whatever was emitted is applied to
 * it, so after a failure behind an `emit` it is dropped. */
static bool run_script(const struct fold *fold, struct job *job)
{
    struct command_result *out = job->out;
    struct vm_command command = command_of(fold, job->request);
    struct vm *vm = slot_enter(fold->slot, job->err);
    bool ok = vm != NULL;

    if (!ok)
        return false;
    if (!slot_has_state(fold->slot, fold->folded)) {
        slot_leave(fold->slot);
        return fold_lost(job->err);
    }
    ok = vm_command_run(vm, fold_script(fold), fold->folded->state, &command,
                        fold->options->command_timeout_ms, job->arena,
                        &out->events, &out->count, job->err) &&
         fold_encode(fold, vm, job->arena, &out->state, job->err);
    if (!ok && out->count > 0)
        slot_drop_state(fold->slot, fold->folded);
    slot_leave(fold->slot);
    return ok;
}

static void move_on(struct folded *folded, const struct command_result *out)
{
    folded->version += out->count;
    if (out->count > 0)
        folded->last_id = out->events[out->count - 1].event_id;
}

static void decide(const struct fold *fold, struct job *job)
{
    const struct command_request *request = job->request;
    struct command_result *out = job->out;

    *out = (struct command_result){0};
    if (request->version_given && request->version != fold->folded->version) {
        (void)version_mismatch(fold, job);
        job->stage = JOB_REFUSED;
    } else if (run_script(fold, job)) {
        move_on(fold->folded, out);
        out->version = fold->folded->version;
        job->stage =
            out->count > 0 || request->key != NULL ? JOB_EVENTS : JOB_NOTHING;
    } else if (job->err->code == ERR_OVERLOADED) {
        job->stage = ++job->attempts < ATTEMPTS ? JOB_AGAIN : JOB_FAILED;
    } else if (job->err->code == ERR_REJECTED || job->err->code == ERR_SCRIPT) {
        job->stage = JOB_REFUSED;
    } else {
        job->stage = JOB_FAILED;
    }
}

static void fail_all(struct round *round, const struct err *err)
{
    for (size_t i = 0; i < round->count; i++) {
        *job_at(round, i)->err = *err;
        job_at(round, i)->stage = JOB_FAILED;
    }
    round->decided = round->count;
}

/* Ends early when the state is gone: those behind have none to be decided on.
 */
static void decide_all(struct round *round)
{
    const struct fold *fold = round->fold;
    struct err err;
    bool has_state = true;

    round->broken = false;
    round->decided = 0;
    if (!ensure_state(round, &err)) {
        fail_all(round, &err);
        return;
    }
    round->base = *fold->folded;
    while (round->decided < round->count && has_state) {
        decide(fold, job_at(round, round->decided++));
        lock_take(&fold->slot->lock);
        has_state = slot_has_state(fold->slot, fold->folded);
        lock_give(&fold->slot->lock);
    }
}

/* ---- storing ---- */

/* The first is proved to follow what was folded, the others to follow it. */
static struct append_request append_of(const struct round *round,
                                       const struct job *job)
{
    uint64_t version = job->out->version - job->out->count;
    bool is_first = version == round->base.version;

    return (struct append_request){
        .aggregate_type = round->fold->decl->type,
        .aggregate_id = round->fold->id,
        .expect = EXPECT_VERSION,
        .expected_version = version,
        .events = job->out->events,
        .count = job->out->count,
        .key = job->request->key,
        .lineage = round->base.lineage,
        .last_id = is_first ? round->base.last_id : (struct uuid){{0}},
    };
}

/* A conflict because the log lost its tail is none of the client's. */
static bool may_try_again(const struct round *round, const struct job *job)
{
    bool is_conflict = job->err->code == ERR_VERSION_CONFLICT;
    bool has_moved =
        append_lineage(round->fold->options->queue) != round->base.lineage;

    return is_conflict && (!job->request->version_given || has_moved);
}

static void settle_stored(struct job *job, const struct append_result *stored)
{
    for (size_t i = 0; i < job->out->count; i++) {
        job->out->events[i].position = stored->first_position + i;
        job->out->events[i].recorded_at_us = stored->recorded_at_us;
    }
    job->stage = JOB_DONE;
}

static void settle_unstored(struct round *round, struct job *job)
{
    bool was_put_off = round->broken && job->err->code == ERR_CONFLICT;

    if (was_put_off || may_try_again(round, job))
        job->stage = JOB_AGAIN;
    else
        job->stage = JOB_FAILED;
    if (job->stage == JOB_AGAIN && !was_put_off && ++job->attempts >= ATTEMPTS)
        job->stage = JOB_FAILED;
    round->broken = true;
}

/* Nothing of a request whose twin was stored before is stored; the first
 * answer is looked up behind this error. */
static bool twin_was_faster(struct err *err)
{
    return err_set(err, ERR_IDEMPOTENCY,
                   "a request with the same key was stored just now");
}

static void settle_events(struct round *round, struct job *job, bool ok,
                          const struct append_result *stored)
{
    if (ok && stored->idempotent)
        ok = twin_was_faster(job->err);
    if (!ok) {
        settle_unstored(round, job);
        return;
    }
    settle_stored(job, stored);
    round->proven = true; /* they were decided on it, or on what followed */
}

static size_t count_events(const struct round *round)
{
    size_t count = 0;

    for (size_t i = 0; i < round->decided; i++)
        count += job_at(round, i)->stage == JOB_EVENTS;
    return count;
}

/* What was decided behind events that are not there. */
static void put_off_if_broken(const struct round *round, struct job *job)
{
    if (round->broken && job->stage != JOB_FAILED)
        job->stage = JOB_AGAIN;
}

static void store_one(struct round *round, struct job *job)
{
    struct append_request request = append_of(round, job);
    struct append_result stored;
    bool ok = append_submit(round->fold->options->queue, &request,
                            round->fold->options->append_timeout_ms, &stored,
                            job->err);

    settle_events(round, job, ok, &stored);
}

static void post_all(const struct round *round, struct flight *flight)
{
    for (size_t i = 0; i < round->decided; i++) {
        struct append_request request = append_of(round, job_at(round, i));

        if (job_at(round, i)->stage == JOB_EVENTS)
            flight_post(flight, &request);
    }
}

static void store_together(struct round *round, size_t count)
{
    struct flight *flight = flight_new(round->fold->options->queue, count);
    size_t place = 0;

    post_all(round, flight);
    flight_wait(flight, round->fold->options->append_timeout_ms);
    for (size_t i = 0; i < round->decided; i++) {
        struct job *job = job_at(round, i);
        struct append_result stored;
        bool ok;

        if (job->stage != JOB_EVENTS) {
            put_off_if_broken(round, job);
            continue;
        }
        ok = flight_result(flight, place++, &stored, job->err);
        settle_events(round, job, ok, &stored);
    }
    flight_free(flight);
}

static void store_all(struct round *round)
{
    size_t count = count_events(round);

    if (count > 1) {
        store_together(round, count);
        return;
    }
    for (size_t i = 0; i < round->decided; i++) {
        struct job *job = job_at(round, i);

        if (job->stage == JOB_EVENTS)
            store_one(round, job);
        else
            put_off_if_broken(round, job);
    }
}

/* ---- answers without events ---- */

static bool prove(struct round *round, struct err *err)
{
    bool is_end = round->proven;

    if (!is_end && !fold_is_end(round->fold, &round->base, &is_end, err))
        return false;
    round->proven = is_end;
    round->behind = !is_end;
    return true;
}

static void settle_answer(struct round *round, struct job *job)
{
    struct err trouble;

    if (!prove(round, &trouble)) {
        *job->err = trouble;
        job->stage = JOB_FAILED;
    } else if (!round->proven) {
        job->stage = JOB_AGAIN; /* the next round folds, and is proven */
    } else {
        job->stage = job->stage == JOB_NOTHING ? JOB_DONE : JOB_FAILED;
    }
}

static void settle_answers(struct round *round)
{
    for (size_t i = 0; i < round->decided; i++) {
        struct job *job = job_at(round, i);

        if (job->stage == JOB_NOTHING || job->stage == JOB_REFUSED)
            settle_answer(round, job);
    }
}

/* ---- rounds ---- */

static void finish(const struct round *round)
{
    for (size_t i = 0; i < round->decided; i++) {
        struct job *job = job_at(round, i);

        if (job->stage == JOB_AGAIN)
            continue;
        job->ok = job->stage == JOB_DONE;
        slot_finish(round->fold->slot, &job->turn);
    }
}

static void run_round(struct round *round)
{
    decide_all(round);
    store_all(round);
    settle_answers(round);
    if (round->broken)
        fold_drop(round->fold);
    else
        fold_offer_snapshot(round->fold);
    finish(round);
}

void lead_commands(const struct fold *fold, struct aggregate_entry *entry,
                   struct job *own)
{
    struct round round = {.fold = fold};

    while (!own->turn.done) {
        round.count = slot_gather(fold->slot, entry, round.turns);
        run_round(&round);
    }
    slot_release(fold->slot, entry);
}
