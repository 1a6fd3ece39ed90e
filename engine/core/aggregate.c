#include "core/aggregate.h"

/*
 * Life of the data.  A request claims its aggregate's entry in a slot; the
 * entry's folded state lives in the slot's Lua world.  Pages of the stream are
 * read without the lock and applied under it.  Emitted events live in the
 * request's arena; the queue copies them.
 *
 * A cached state may be behind: another instance appends too.  A command that
 * commits is right all the same, because its append names the version.  One
 * that ends without an append (refused, or nothing to do) is only believed
 * when the stream's end was read in this attempt (`proven`).
 */

#include "base/mem.h"
#include "core/aggregate_slot.h"
#include "core/append_decide.h"

#define SLOTS            16
#define PAGE_EVENTS      1000
#define CONFLICT_RETRIES 5
#define ATTEMPTS         (1 + CONFLICT_RETRIES)

struct aggregates {
    struct aggregates_options options;
    struct aggregate_slot slots[SLOTS];
};

/* One request's work on its aggregate. */
struct work {
    struct aggregates *aggregates;
    struct aggregate_slot *slot;
    struct aggregate_entry *entry;
    const struct aggregate_decl *decl;
    struct arena *arena;
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

static bool work_begin(struct work *work, struct aggregates *aggregates,
                       struct str type, struct str id, struct arena *arena,
                       struct err *err)
{
    const struct script_set *set = aggregates->options.scripts;
    const struct aggregate_decl *decl = script_set_aggregate(set, type);
    uint64_t hash;

    if (decl == NULL) {
        no_such_type(set, type, err);
        return false;
    }
    hash = str_hash(id) ^ str_hash(type);
    *work = (struct work){
        .aggregates = aggregates,
        .slot = &aggregates->slots[hash % SLOTS],
        .decl = decl,
        .arena = arena,
    };
    work->entry = slot_claim(work->slot, (size_t)(decl - set->aggregates), id);
    return true;
}

static void work_end(struct work *work)
{
    slot_release(work->slot, work->entry);
}

static int script_number(const struct work *work)
{
    return work->slot->script_number[work->entry->script];
}

/* ---- history to state ---- */

static bool start_state(struct work *work, struct vm *vm, struct err *err)
{
    struct aggregate_entry *entry = work->entry;

    entry->state =
        vm_state_new(vm, script_number(work), entry->id,
                     work->aggregates->options.command_timeout_ms, err);
    entry->version = 0;
    entry->world = entry->state >= 0 ? work->slot->world : 0;
    return entry->state >= 0;
}

static bool apply_page(struct work *work, struct vm *vm,
                       const struct event_page *page, uint64_t until,
                       struct err *err)
{
    struct aggregate_entry *entry = work->entry;
    uint32_t timeout_ms = work->aggregates->options.command_timeout_ms;

    for (size_t i = 0; i < page->count; i++) {
        const struct event *event = &page->events[i];

        if (event->aggregate_version > until)
            break;
        if (!vm_state_apply(vm, script_number(work), entry->state, event,
                            timeout_ms, err))
            return err_wrap(err, "fold %.*s/%.*s version %llu",
                            STR_ARG(work->decl->type), STR_ARG(entry->id),
                            (unsigned long long)event->aggregate_version);
        entry->version = event->aggregate_version;
    }
    return true;
}

/* Applies one page to the state, made first when there is none.  The world may
 * have been replaced while the page was read: then it does not fit, and the
 * fold starts over (`*fits_out` false). */
static bool fold_page(struct work *work, const struct event_page *page,
                      uint64_t from, uint64_t until, bool *fits_out,
                      struct err *err)
{
    struct vm *vm = slot_enter(work->slot, err);
    bool ok = vm != NULL;

    if (!ok)
        return false;
    if (!slot_has_state(work->slot, work->entry))
        ok = start_state(work, vm, err);
    *fits_out = ok && work->entry->version + 1 == from;
    if (*fits_out)
        ok = apply_page(work, vm, page, until, err);
    if (!ok)
        slot_drop_state(work->slot, work->entry);
    slot_leave(work->slot);
    return ok;
}

static uint64_t folded_version(struct work *work)
{
    uint64_t version;

    lock_take(&work->slot->lock);
    version =
        slot_has_state(work->slot, work->entry) ? work->entry->version : 0;
    lock_give(&work->slot->lock);
    return version;
}

/* Folds from what is cached up to `until`, reading the stream to its end.  A
 * short page is not the end (stores bound pages as they see fit), an empty one
 * is. */
static bool fold(struct work *work, uint64_t until, struct err *err)
{
    struct event_page *page;
    bool more = true;

    while (more) {
        uint64_t from = folded_version(work) + 1;
        bool fits = false;
        bool ok = store_read_stream(work->aggregates->options.store,
                                    work->decl->type, work->entry->id, from,
                                    PAGE_EVENTS, READ_FORWARD, &page, err);

        if (!ok)
            return false;
        ok = fold_page(work, page, from, until, &fits, err);
        more = !fits || (page->count > 0 && work->entry->version < until);
        event_page_unref(page);
        if (!ok)
            return false;
    }
    work->proven = true;
    return true;
}

/* What is cached is good enough to begin with. */
static bool ensure_state(struct work *work, struct err *err)
{
    bool cached;

    lock_take(&work->slot->lock);
    cached = slot_has_state(work->slot, work->entry);
    lock_give(&work->slot->lock);
    return cached || fold(work, UINT64_MAX, err);
}

static void drop(struct work *work)
{
    lock_take(&work->slot->lock);
    slot_drop_state(work->slot, work->entry);
    lock_give(&work->slot->lock);
    work->proven = false;
}

/* ---- command to events ---- */

static bool encode_state(struct vm *vm, int state, struct arena *arena,
                         struct str *out, struct err *err)
{
    struct buf text = {0};
    bool ok = vm_state_encode(vm, state, &text, err);

    if (ok)
        *out = arena_str(arena, buf_as_str(&text));
    buf_done(&text);
    return ok;
}

/* Another command of the slot broke the Lua world, and this state with it. */
static bool state_lost(struct err *err)
{
    return err_set(err, ERR_OVERLOADED,
                   "the state was lost: another command broke its Lua world");
}

static bool version_mismatch(const struct work *work,
                             const struct command_request *request,
                             struct err *err)
{
    struct append_request wanted = {
        .aggregate_type = work->decl->type,
        .aggregate_id = work->entry->id,
        .expect = EXPECT_VERSION,
        .expected_version = request->version,
    };

    return decide_conflict(&wanted, work->entry->version, err);
}

/* Runs the script on the state there is.  Whatever was emitted is applied to
 * it, so after a failure it is dropped. */
static bool run_script(struct work *work, const struct command_request *request,
                       struct command_result *out, struct err *err)
{
    struct vm_command command = {
        .name = request->command,
        .input = request->input,
        .aggregate_id = work->entry->id,
        .version = work->entry->version,
        .tenant_id = request->tenant_id,
        .actor_id = request->actor_id,
        .correlation_id = request->correlation_id,
        .causation_id = request->causation_id,
        .metadata = request->metadata,
    };
    struct vm *vm = slot_enter(work->slot, err);
    bool ok = vm != NULL;

    if (!ok)
        return false;
    if (!slot_has_state(work->slot, work->entry)) {
        slot_leave(work->slot);
        return state_lost(err);
    }
    ok = vm_command_run(vm, script_number(work), work->entry->state, &command,
                        work->aggregates->options.command_timeout_ms,
                        work->arena, &out->events, &out->count, err);
    ok = ok &&
         encode_state(vm, work->entry->state, work->arena, &out->state, err);
    if (!ok)
        slot_drop_state(work->slot, work->entry);
    slot_leave(work->slot);
    out->version = work->entry->version;
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

static bool append(struct work *work, struct command_result *out,
                   struct err *err)
{
    struct append_request request = {
        .aggregate_type = work->decl->type,
        .aggregate_id = work->entry->id,
        .expect = EXPECT_VERSION,
        .expected_version = work->entry->version,
        .events = out->events,
        .count = out->count,
    };
    struct append_result stored;

    if (out->count > APPEND_MAX_EVENTS)
        return err_set(err, ERR_SCRIPT,
                       "a command emitted %zu events; %d are allowed",
                       out->count, APPEND_MAX_EVENTS);
    if (!append_submit(work->aggregates->options.queue, &request,
                       work->aggregates->options.append_timeout_ms, &stored,
                       err))
        return false;
    complete_events(out, &stored);
    out->version = stored.version;
    work->entry->version = stored.version;
    return true;
}

enum attempt { ATTEMPT_DONE, ATTEMPT_FAILED, ATTEMPT_AGAIN };

/* A refusal that rests on a state nobody proved is tried once more. */
static enum attempt without_append(struct work *work, bool ok)
{
    if (!work->proven) {
        drop(work);
        return ATTEMPT_AGAIN;
    }
    return ok ? ATTEMPT_DONE : ATTEMPT_FAILED;
}

/* What became of a script that failed; its state is gone in any case. */
static enum attempt without_events(struct work *work, const struct err *err)
{
    if (err->code == ERR_OVERLOADED)
        return ATTEMPT_AGAIN;
    if (err->code == ERR_REJECTED || err->code == ERR_SCRIPT)
        return without_append(work, false);
    return ATTEMPT_FAILED;
}

static enum attempt try_command(struct work *work,
                                const struct command_request *request,
                                struct command_result *out, struct err *err)
{
    *out = (struct command_result){0};
    if (!ensure_state(work, err))
        return ATTEMPT_FAILED;
    if (request->version_given && request->version != work->entry->version) {
        (void)version_mismatch(work, request, err);
        return without_append(work, false);
    }
    if (!run_script(work, request, out, err))
        return without_events(work, err);
    if (out->count == 0)
        return without_append(work, true);
    if (append(work, out, err))
        return ATTEMPT_DONE;
    drop(work);
    return err->code == ERR_VERSION_CONFLICT && !request->version_given
               ? ATTEMPT_AGAIN
               : ATTEMPT_FAILED;
}

bool aggregate_command(struct aggregates *aggregates,
                       const struct command_request *request,
                       struct arena *arena, struct command_result *out,
                       struct err *err)
{
    enum attempt end = ATTEMPT_AGAIN;
    struct work work;

    if (!work_begin(&work, aggregates, request->aggregate_type,
                    request->aggregate_id, arena, err))
        return false;
    for (int i = 0; end == ATTEMPT_AGAIN && i < ATTEMPTS; i++)
        end = try_command(&work, request, out, err);
    work_end(&work);
    return end == ATTEMPT_DONE;
}

/* ---- state for readers ---- */

/* `*lost_out` says that the state went away since it was folded. */
static bool encode_folded(struct work *work, uint64_t *version_out,
                          struct str *state_out, bool *lost_out,
                          struct err *err)
{
    struct vm *vm = slot_enter(work->slot, err);
    bool ok = vm != NULL;

    *lost_out = false;
    if (!ok)
        return false;
    *lost_out = !slot_has_state(work->slot, work->entry);
    *version_out = work->entry->version;
    ok = *lost_out ? state_lost(err)
                   : encode_state(vm, work->entry->state, work->arena,
                                  state_out, err);
    slot_leave(work->slot);
    return ok;
}

static bool read_state(struct work *work, uint64_t at, uint64_t *version_out,
                       struct str *state_out, struct err *err)
{
    bool lost = true;
    bool ok = false;

    for (int i = 0; lost && i < ATTEMPTS; i++) {
        if (!fold(work, at, err))
            return false;
        ok = encode_folded(work, version_out, state_out, &lost, err);
    }
    return ok;
}

static bool no_such_version(const struct work *work, uint64_t at,
                            uint64_t version, struct err *err)
{
    if (version == 0)
        return err_set(err, ERR_NOT_FOUND, "%.*s/%.*s does not exist",
                       STR_ARG(work->decl->type), STR_ARG(work->entry->id));
    return err_set(err, ERR_NOT_FOUND, "%.*s/%.*s is at version %llu, not %llu",
                   STR_ARG(work->decl->type), STR_ARG(work->entry->id),
                   (unsigned long long)version, (unsigned long long)at);
}

bool aggregate_state(struct aggregates *aggregates, struct str type,
                     struct str id, uint64_t at, struct arena *arena,
                     uint64_t *version_out, struct str *state_out,
                     struct err *err)
{
    struct work work;
    bool ok;

    if (!work_begin(&work, aggregates, type, id, arena, err))
        return false;
    if (at != AGGREGATE_NOW)
        drop(&work); /* the cached state may be past it */
    ok = read_state(&work, at, version_out, state_out, err);
    if (ok &&
        (*version_out == 0 || (at != AGGREGATE_NOW && *version_out != at)))
        ok = no_such_version(&work, at, *version_out, err);
    if (at != AGGREGATE_NOW)
        drop(&work); /* what is cached is the end of a stream, always */
    work_end(&work);
    return ok;
}
