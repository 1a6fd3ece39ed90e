#include "core/aggregate.h"

/*
 * Life of the data.  A request claims its aggregate's entry in a slot; the
 * entry's folded state lives in the slot's Lua world.  Emitted events live in
 * the request's arena; the queue copies them.
 *
 * A cached state may be behind: another instance appends too.  A command that
 * commits is right all the same, because its append names the version.  One
 * that ends without an append (refused, or nothing to do) is only believed
 * when the stream's end was read in this attempt (`proven`), or proves to be
 * where the state was: one short read, however long the stream is.
 */

#include "base/mem.h"
#include "core/aggregate_repeat.h"
#include "core/append_decide.h"

#define SLOTS            16
#define CONFLICT_RETRIES 5
#define ATTEMPTS         (1 + CONFLICT_RETRIES)

struct aggregates {
    struct aggregates_options options;
    struct aggregate_slot slots[SLOTS];
};

/* One command's work on its aggregate. */
struct work {
    struct fold fold;
    struct aggregate_entry *entry;
    struct arena *arena;
    bool behind; /* the stream goes on behind the state: fold first */
    bool proven; /* the end of the stream was read in this attempt */
};

struct aggregates *aggregates_new(const struct aggregates_options *options)
{
    struct aggregates *aggregates = NEW(struct aggregates);

    aggregates->options = *options;
    script_set_ref(options->scripts);
    for (size_t i = 0; i < SLOTS; i++)
        slot_init(&aggregates->slots[i], options->scripts);
    return aggregates;
}

void aggregates_free(struct aggregates *aggregates)
{
    if (aggregates == NULL)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        slot_done(&aggregates->slots[i]);
    script_set_unref(aggregates->options.scripts);
    mem_free(aggregates);
}

void aggregates_forget(struct aggregates *aggregates)
{
    for (size_t i = 0; i < SLOTS; i++) {
        lock_take(&aggregates->slots[i].lock);
        slot_forget(&aggregates->slots[i]);
        lock_give(&aggregates->slots[i].lock);
    }
}

/* ---- finding ---- */

static void no_such_type(const struct script_set *set, struct str type,
                         struct err *err)
{
    struct buf known = {0};

    for (size_t i = 0; i < set->aggregate_count; i++)
        buf_printf(&known, "%s%.*s", i > 0 ? ", " : "",
                   STR_ARG(set->aggregates[i].type));
    err_set(err, ERR_NOT_FOUND, "no aggregate \"%.*s\"; loaded are: %s",
            STR_ARG(type), known.ptr != NULL ? known.ptr : "none");
    buf_done(&known);
}

/* Where that stream is folded; `folded` is the caller's. */
static bool find_fold(struct aggregates *aggregates, struct str type,
                      struct str id, struct fold *out, struct err *err)
{
    const struct script_set *set = aggregates->options.scripts;
    const struct aggregate_decl *decl = script_set_aggregate(set, type);
    uint64_t hash = str_hash(id) ^ str_hash(type);

    if (decl == NULL) {
        no_such_type(set, type, err);
        return false;
    }
    *out = (struct fold){
        .options = &aggregates->options,
        .slot = &aggregates->slots[hash % SLOTS],
        .decl = decl,
        .script = (size_t)(decl - set->aggregates),
        .id = id,
    };
    return true;
}

static bool work_begin(struct work *work, struct aggregates *aggregates,
                       struct str type, struct str id, struct arena *arena,
                       struct err *err)
{
    *work = (struct work){.arena = arena};
    if (!find_fold(aggregates, type, id, &work->fold, err))
        return false;
    work->entry = slot_claim(work->fold.slot, work->fold.script, id);
    work->fold.folded = &work->entry->folded;
    return true;
}

static void work_end(struct work *work)
{
    slot_release(work->fold.slot, work->entry);
}

/* What is cached is good enough to begin with, unless it is known not to be. */
static bool ensure_state(struct work *work, struct err *err)
{
    work->proven = work->behind || !fold_is_cached(&work->fold);
    work->behind = false;
    return !work->proven || fold_to(&work->fold, UINT64_MAX, err);
}

/* ---- command to events ---- */

static bool version_mismatch(const struct work *work,
                             const struct command_request *request,
                             struct err *err)
{
    struct append_request wanted = {
        .aggregate_type = work->fold.decl->type,
        .aggregate_id = work->fold.id,
        .expect = EXPECT_VERSION,
        .expected_version = request->version,
    };

    return decide_conflict(&wanted, work->fold.folded->version, err);
}

static struct vm_command command_of(const struct work *work,
                                    const struct command_request *request)
{
    return (struct vm_command){
        .name = request->command,
        .input = request->input,
        .aggregate_id = work->fold.id,
        .version = work->fold.folded->version,
        .tenant_id = request->tenant_id,
        .actor_id = request->actor_id,
        .correlation_id = request->correlation_id,
        .causation_id = request->causation_id,
        .metadata = request->metadata,
    };
}

/* Runs the script on the state there is.  Whatever was emitted is applied to
 * it, so after a failure behind an `emit` it is dropped. */
static bool run_script(struct work *work, const struct command_request *request,
                       struct command_result *out, struct err *err)
{
    const struct fold *fold = &work->fold;
    struct vm_command command = command_of(work, request);
    struct vm *vm = slot_enter(fold->slot, err);
    bool ok = vm != NULL;

    if (!ok)
        return false;
    if (!slot_has_state(fold->slot, fold->folded)) {
        slot_leave(fold->slot);
        return fold_lost(err);
    }
    ok = vm_command_run(vm, fold_script(fold), fold->folded->state, &command,
                        fold->options->command_timeout_ms, work->arena,
                        &out->events, &out->count, err);
    ok = ok && fold_encode(fold, vm, work->arena, &out->state, err);
    if (!ok && out->count > 0)
        slot_drop_state(fold->slot, fold->folded);
    slot_leave(fold->slot);
    out->version = fold->folded->version;
    return ok;
}

static void complete_events(struct command_result *out,
                            const struct append_result *stored)
{
    for (size_t i = 0; i < out->count; i++) {
        out->events[i].position = stored->first_position + i;
        out->events[i].recorded_at_us = stored->recorded_at_us;
    }
}

static void keep_state(struct work *work, const struct command_result *out)
{
    struct folded *folded = work->fold.folded;

    folded->version = out->version;
    if (out->count > 0)
        folded->last_id = out->events[out->count - 1].event_id;
    fold_offer_snapshot(&work->fold);
}

static bool submit(struct work *work, const struct command_request *request,
                   const struct command_result *out,
                   struct append_result *stored, struct err *err)
{
    struct append_request append = {
        .aggregate_type = work->fold.decl->type,
        .aggregate_id = work->fold.id,
        .expect = EXPECT_VERSION,
        .expected_version = work->fold.folded->version,
        .events = out->events,
        .count = out->count,
        .key = request->key,
        .lineage = work->fold.folded->lineage,
    };

    if (out->count > APPEND_MAX_EVENTS)
        return err_set(err, ERR_SCRIPT,
                       "a command emitted %zu events; %d are allowed",
                       out->count, APPEND_MAX_EVENTS);
    return append_submit(work->fold.options->queue, &append,
                         work->fold.options->append_timeout_ms, stored, err);
}

enum attempt { ATTEMPT_DONE, ATTEMPT_FAILED, ATTEMPT_AGAIN };

/* A refusal that rests on a state nobody proved is believed when the stream
 * still ends where the state did. */
static enum attempt without_append(struct work *work, const struct folded *base,
                                   bool ok, struct err *err)
{
    struct err trouble;
    bool is_end = work->proven;

    if (!is_end && !fold_is_end(&work->fold, base, &is_end, &trouble)) {
        *err = trouble;
        return ATTEMPT_FAILED;
    }
    if (is_end)
        return ok ? ATTEMPT_DONE : ATTEMPT_FAILED;
    work->behind = true;
    return ATTEMPT_AGAIN;
}

/* What becomes of a script that failed. */
static enum attempt without_events(struct work *work, const struct folded *base,
                                   struct err *err)
{
    if (err->code == ERR_OVERLOADED)
        return ATTEMPT_AGAIN;
    if (err->code == ERR_REJECTED || err->code == ERR_SCRIPT)
        return without_append(work, base, false, err);
    return ATTEMPT_FAILED;
}

/* A conflict because the log lost its tail is none of the client's. */
static bool may_try_again(const struct work *work, uint64_t lineage,
                          const struct command_request *request,
                          const struct err *err)
{
    return err->code == ERR_VERSION_CONFLICT &&
           (!request->version_given ||
            append_lineage(work->fold.options->queue) != lineage);
}

/* A request with the same key was stored while this one ran; its answer is
 * looked up behind this error. */
static bool twin_was_faster(struct err *err)
{
    return err_set(err, ERR_CONFLICT,
                   "a request with the same key was stored just now");
}

static enum attempt append(struct work *work,
                           const struct command_request *request,
                           struct command_result *out, struct err *err)
{
    uint64_t lineage = work->fold.folded->lineage;
    struct append_result stored;

    if (!submit(work, request, out, &stored, err)) {
        fold_drop(&work->fold);
        return may_try_again(work, lineage, request, err) ? ATTEMPT_AGAIN
                                                          : ATTEMPT_FAILED;
    }
    if (stored.idempotent) {
        fold_drop(&work->fold);
        (void)twin_was_faster(err);
        return ATTEMPT_FAILED;
    }
    complete_events(out, &stored);
    out->version = stored.version;
    keep_state(work, out);
    return ATTEMPT_DONE;
}

static enum attempt try_command(struct work *work,
                                const struct command_request *request,
                                struct command_result *out, struct err *err)
{
    struct folded base;

    *out = (struct command_result){0};
    if (!ensure_state(work, err))
        return ATTEMPT_FAILED;
    base = *work->fold.folded;
    if (request->version_given && request->version != base.version) {
        (void)version_mismatch(work, request, err);
        return without_append(work, &base, false, err);
    }
    if (!run_script(work, request, out, err))
        return without_events(work, &base, err);
    if (out->count == 0 && request->key == NULL)
        return without_append(work, &base, true, err);
    return append(work, request, out, err);
}

static enum attempt try_often(struct work *work,
                              const struct command_request *request,
                              struct command_result *out, struct err *err)
{
    enum attempt attempt = ATTEMPT_AGAIN;

    for (int i = 0; i < ATTEMPTS && attempt == ATTEMPT_AGAIN; i++)
        attempt = try_command(work, request, out, err);
    return attempt;
}

/* ---- reading ---- */

/* The state as it was at `at`, beside what is cached; `*version_out` is less
 * when the stream does not go so far. */
static bool read_past(struct aggregates *aggregates, struct str type,
                      struct str id, uint64_t at, struct arena *arena,
                      uint64_t *version_out, struct str *state_out,
                      struct err *err)
{
    struct folded folded = NOT_FOLDED;
    struct fold fold;
    bool ok;

    if (!find_fold(aggregates, type, id, &fold, err))
        return false;
    fold.folded = &folded;
    ok = fold_read(&fold, at, arena, version_out, state_out, err);
    fold_drop(&fold);
    return ok;
}

static bool read_now(struct aggregates *aggregates, struct str type,
                     struct str id, struct arena *arena, uint64_t *version_out,
                     struct str *state_out, struct err *err)
{
    struct work work;
    bool ok;

    if (!work_begin(&work, aggregates, type, id, arena, err))
        return false;
    ok = fold_read(&work.fold, UINT64_MAX, arena, version_out, state_out, err);
    if (ok)
        fold_offer_snapshot(&work.fold);
    work_end(&work);
    return ok;
}

static bool no_such_version(struct str type, struct str id, uint64_t at,
                            uint64_t version, struct err *err)
{
    if (version == 0)
        return err_set(err, ERR_NOT_FOUND, "%.*s/%.*s does not exist",
                       STR_ARG(type), STR_ARG(id));
    return err_set(err, ERR_NOT_FOUND, "%.*s/%.*s is at version %llu, not %llu",
                   STR_ARG(type), STR_ARG(id), (unsigned long long)version,
                   (unsigned long long)at);
}

bool aggregate_state(struct aggregates *aggregates, struct str type,
                     struct str id, uint64_t at, struct arena *arena,
                     uint64_t *version_out, struct str *state_out,
                     struct err *err)
{
    bool is_now = at == AGGREGATE_NOW;

    if (is_now ? !read_now(aggregates, type, id, arena, version_out, state_out,
                           err)
               : !read_past(aggregates, type, id, at, arena, version_out,
                            state_out, err))
        return false;
    return (*version_out > 0 && (is_now || *version_out == at)) ||
           no_such_version(type, id, at, *version_out, err);
}

/* ---- requests that come again ---- */

/* The first answer once more: its events from the log, the state as of the
 * last of them. */
static bool repeat(struct aggregates *aggregates,
                   const struct command_request *request,
                   const struct request_mark *mark, struct arena *arena,
                   struct command_result *out, struct err *err)
{
    uint64_t until = mark->first_version + mark->count - 1;

    *out = (struct command_result){.idempotent = true, .count = mark->count};
    return repeat_events(aggregates->options.store, request->aggregate_type,
                         request->aggregate_id, mark, arena, &out->events,
                         err) &&
           read_past(aggregates, request->aggregate_type, request->aggregate_id,
                     until, arena, &out->version, &out->state, err);
}

enum lookup { LOOKUP_FAILED, LOOKUP_NONE, LOOKUP_FOUND };

static enum lookup look_up(struct aggregates *aggregates,
                           const struct command_request *request,
                           struct arena *arena, struct request_mark *out,
                           struct err *err)
{
    bool found = false;

    if (request->key != NULL &&
        !repeat_find(aggregates->options.store, request->key, arena, out,
                     &found, err))
        return LOOKUP_FAILED;
    return found ? LOOKUP_FOUND : LOOKUP_NONE;
}

/* After a refusal or an error a twin may have been stored meanwhile, and what
 * it did may be just what refused this one. */
static bool repeat_or_fail(struct aggregates *aggregates,
                           const struct command_request *request,
                           struct arena *arena, struct command_result *out,
                           struct err *err)
{
    struct request_mark mark;
    struct err trouble;

    if (err_may_retry(err->code))
        return false;
    switch (look_up(aggregates, request, arena, &mark, &trouble)) {
    case LOOKUP_FOUND:
        return repeat(aggregates, request, &mark, arena, out, err);
    case LOOKUP_FAILED:
        *err = trouble;
        break;
    case LOOKUP_NONE:
        break;
    }
    return false;
}

static bool run_command(struct aggregates *aggregates,
                        const struct command_request *request,
                        struct arena *arena, struct command_result *out,
                        struct err *err)
{
    struct work work;
    enum attempt attempt;

    if (!work_begin(&work, aggregates, request->aggregate_type,
                    request->aggregate_id, arena, err))
        return false;
    attempt = try_often(&work, request, out, err);
    work_end(&work);
    return attempt == ATTEMPT_DONE ||
           repeat_or_fail(aggregates, request, arena, out, err);
}

bool aggregate_command(struct aggregates *aggregates,
                       const struct command_request *request,
                       struct arena *arena, struct command_result *out,
                       struct err *err)
{
    struct request_mark mark;

    switch (look_up(aggregates, request, arena, &mark, err)) {
    case LOOKUP_FOUND:
        return repeat(aggregates, request, &mark, arena, out, err);
    case LOOKUP_NONE:
        return run_command(aggregates, request, arena, out, err);
    case LOOKUP_FAILED:
        break;
    }
    return false;
}
