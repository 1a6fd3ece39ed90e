#include "core/aggregate.h"

/*
 * Life of the data.  A request waits for its aggregate's entry in a slot; the
 * entry's folded state lives in the slot's Lua world.  Emitted events live in
 * the request's arena; the queue copies them.  A state of the past is folded
 * beside the entry, and nobody waits for it.
 */

#include "base/mem.h"
#include "core/aggregate_lead.h"
#include "core/aggregate_repeat.h"

#define SLOTS 16

struct aggregates {
    struct aggregates_options options;
    struct aggregate_slot slots[SLOTS];
};

struct aggregates *aggregates_new(const struct aggregates_options *options)
{
    struct aggregates *aggregates = NEW(struct aggregates);

    aggregates->options = *options;
    script_set_ref(options->scripts);
    for (size_t i = 0; i < SLOTS; i++) {
        slot_init(&aggregates->slots[i], options->scripts);
        if (options->slot_cache > 0)
            aggregates->slots[i].cache = options->slot_cache;
    }
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

size_t aggregates_waiting(struct aggregates *aggregates, struct str type,
                          struct str id)
{
    struct fold fold;
    struct err ignored;

    return find_fold(aggregates, type, id, &fold, &ignored)
               ? slot_waiting(fold.slot, fold.script, id)
               : 0;
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

/* One that reads leads alone. */
static bool read_now(struct aggregates *aggregates, struct str type,
                     struct str id, struct arena *arena, uint64_t *version_out,
                     struct str *state_out, struct err *err)
{
    struct turn turn = {.joins = false, .closes = true};
    struct aggregate_entry *entry;
    struct fold fold;
    bool ok;

    if (!find_fold(aggregates, type, id, &fold, err))
        return false;
    entry = slot_claim(fold.slot, fold.script, id, &turn);
    CHECK(entry != NULL); /* nobody takes it along */
    fold.folded = &entry->folded;
    ok = fold_read(&fold, UINT64_MAX, arena, version_out, state_out, err);
    if (ok)
        fold_offer_snapshot(&fold);
    slot_finish(fold.slot, &turn);
    slot_release(fold.slot, entry);
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
    struct job job = {
        /* What a twin stored before is not stored again, and nothing may rest
         * on it. */
        .turn = {.joins = true, .closes = request->key != NULL},
        .request = request,
        .arena = arena,
        .out = out,
        .err = err,
    };
    struct aggregate_entry *entry;
    struct fold fold;

    if (!find_fold(aggregates, request->aggregate_type, request->aggregate_id,
                   &fold, err))
        return false;
    entry = slot_claim(fold.slot, fold.script, fold.id, &job.turn);
    if (entry != NULL) {
        fold.folded = &entry->folded;
        lead_commands(&fold, entry, &job);
    }
    return job.ok || repeat_or_fail(aggregates, request, arena, out, err);
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
