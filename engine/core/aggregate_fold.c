#include "core/aggregate_fold.h"

#include "base/log.h"

#define PAGE_EVENTS    1000
#define READ_ATTEMPTS  6 /* when neighbours break the world again and again */
#define TROUBLE_LOG_MS 10000

int fold_script(const struct fold *fold)
{
    return fold->slot->script_number[fold->script];
}

static uint32_t timeout_of(const struct fold *fold)
{
    return fold->options->command_timeout_ms;
}

static uint64_t lineage_now(const struct fold *fold)
{
    return append_lineage(fold->options->queue);
}

void fold_drop(const struct fold *fold)
{
    lock_take(&fold->slot->lock);
    slot_drop_state(fold->slot, fold->folded);
    lock_give(&fold->slot->lock);
}

bool fold_is_cached(const struct fold *fold)
{
    bool cached;

    lock_take(&fold->slot->lock);
    cached = slot_has_state(fold->slot, fold->folded);
    lock_give(&fold->slot->lock);
    return cached && fold->folded->lineage == lineage_now(fold);
}

/* ---- where a fold begins ---- */

/* Shape and version are the store's to compare. */
static bool find_snapshot(const struct fold *fold, uint64_t until,
                          struct arena *arena, struct snapshot *out,
                          bool *found_out, struct err *err)
{
    *found_out = false;
    return fold->decl->snapshot_every == 0 ||
           store_snapshot_find(fold->options->store, fold->decl->type, fold->id,
                               str_of(fold->decl->shape),
                               MIN(until, (uint64_t)INT64_MAX), arena, out,
                               found_out, err);
}

static void warn_unreadable(const struct fold *fold,
                            const struct snapshot *snapshot,
                            const struct err *why)
{
    static struct log_throttle throttle;
    uint64_t held;

    if (log_may(&throttle, TROUBLE_LOG_MS, &held))
        log_warning("aggregate", "snapshot ignored: it cannot be restored",
                    LOG_STR("aggregate_type", fold->decl->type),
                    LOG_STR("aggregate_id", fold->id),
                    LOG_U64("version", snapshot->version),
                    LOG_U64("held_back", held), LOG_ERR(why));
}

static void restore(const struct fold *fold, const struct snapshot *snapshot)
{
    struct folded *folded = fold->folded;
    struct err err;
    struct vm *vm = slot_enter(fold->slot, &err);

    if (vm == NULL)
        return;
    slot_drop_state(fold->slot, folded);
    folded->state =
        vm_state_restore(vm, snapshot->state, timeout_of(fold), &err);
    if (folded->state >= 0) {
        folded->version = snapshot->version;
        folded->snapshot = snapshot->version;
        folded->world = fold->slot->world;
    }
    slot_leave(fold->slot);
    if (folded->state < 0)
        warn_unreadable(fold, snapshot, &err);
}

static bool start(const struct fold *fold, struct err *err)
{
    struct folded *folded = fold->folded;
    struct vm *vm = slot_enter(fold->slot, err);

    if (vm == NULL)
        return false;
    slot_drop_state(fold->slot, folded);
    folded->state =
        vm_state_new(vm, fold_script(fold), fold->id, timeout_of(fold), err);
    folded->world = folded->state >= 0 ? fold->slot->world : 0;
    slot_leave(fold->slot);
    return folded->state >= 0;
}

/* The lineage is that of before the first read: what is read later may be of a
 * younger one, and is dropped then, never the other way round. */
static bool begin(const struct fold *fold, uint64_t until, struct err *err)
{
    uint64_t lineage = lineage_now(fold);
    struct arena arena = {0};
    struct snapshot snapshot;
    bool found;
    bool ok = find_snapshot(fold, until, &arena, &snapshot, &found, err);

    fold->folded->state = -1;
    if (ok && found)
        restore(fold, &snapshot);
    arena_done(&arena);
    ok = ok && (fold->folded->state >= 0 || start(fold, err));
    fold->folded->lineage = lineage;
    return ok;
}

/* ---- pages ---- */

static bool read_page(const struct fold *fold, uint64_t from, uint32_t limit,
                      struct event_page **out, struct err *err)
{
    return store_read_stream(fold->options->store, fold->decl->type, fold->id,
                             from, limit, READ_FORWARD, out, err);
}

static bool apply_page(const struct fold *fold, struct vm *vm,
                       const struct event_page *page, size_t first,
                       uint64_t until, struct err *err)
{
    struct folded *folded = fold->folded;

    for (size_t i = first; i < page->count; i++) {
        const struct event *event = &page->events[i];

        if (event->aggregate_version > until)
            break;
        if (!vm_state_apply(vm, fold_script(fold), folded->state, event,
                            timeout_of(fold), err))
            return err_wrap(err, "fold %.*s/%.*s version %llu",
                            STR_ARG(fold->decl->type), STR_ARG(fold->id),
                            (unsigned long long)event->aggregate_version);
        folded->version = event->aggregate_version;
        folded->last_id = event->event_id;
    }
    return true;
}

static bool begins_with_last(const struct event_page *page,
                             const struct folded *folded)
{
    return page->count > 0 &&
           page->events[0].aggregate_version == folded->version &&
           uuid_eq(page->events[0].event_id, folded->last_id);
}

/* One step of a fold: what is read, and whether its first event is the state's
 * last one. */
struct step {
    uint64_t from;
    bool overlaps;
};

/* Applies one page.  `*fits_out` is false, and the fold starts over, when the
 * world was replaced while the page was read, or when the log is not the one
 * that the state was folded from. */
static bool fold_page(const struct fold *fold, const struct event_page *page,
                      struct step step, uint64_t until, bool *fits_out,
                      struct err *err)
{
    struct folded *folded = fold->folded;
    struct vm *vm = slot_enter(fold->slot, err);
    bool ok = true;

    if (vm == NULL)
        return false;
    *fits_out = slot_has_state(fold->slot, folded) &&
                folded->version + !step.overlaps == step.from &&
                (!step.overlaps || begins_with_last(page, folded));
    if (*fits_out)
        ok = apply_page(fold, vm, page, step.overlaps, until, err);
    if (!ok || !*fits_out)
        slot_drop_state(fold->slot, folded);
    slot_leave(fold->slot);
    return ok;
}

/* A short page is not the end (stores bound pages as they see fit), one that
 * brings nothing new is. */
static bool fold_step(const struct fold *fold, struct step step, uint64_t until,
                      bool *more_out, bool *fits_out, struct err *err)
{
    struct event_page *page;
    bool ok;

    if (!read_page(fold, step.from, PAGE_EVENTS, &page, err))
        return false;
    ok = fold_page(fold, page, step, until, fits_out, err);
    *more_out = !*fits_out ||
                (page->count > step.overlaps && fold->folded->version < until);
    event_page_unref(page);
    return ok;
}

bool fold_to(const struct fold *fold, uint64_t until, struct err *err)
{
    bool overlaps = fold_is_cached(fold);
    bool more = true, fits = overlaps;

    while (more) {
        struct step step;

        if (!fits) {
            overlaps = false;
            if (!begin(fold, until, err))
                return false;
        }
        step.overlaps = overlaps && !uuid_is_nil(fold->folded->last_id);
        step.from = fold->folded->version + !step.overlaps;
        if (!fold_step(fold, step, until, &more, &fits, err))
            return false;
        overlaps = false;
    }
    return true;
}

bool fold_is_end(const struct fold *fold, const struct folded *base,
                 bool *end_out, struct err *err)
{
    bool known = !uuid_is_nil(base->last_id);
    struct event_page *page;

    if (!read_page(fold, base->version + !known, 2, &page, err))
        return false;
    *end_out =
        known ? page->count == 1 && !page->cut && begins_with_last(page, base)
              : page->count == 0;
    event_page_unref(page);
    return true;
}

/* ---- texts of the state ---- */

bool fold_encode(const struct fold *fold, struct vm *vm, struct arena *arena,
                 struct str *out, struct err *err)
{
    struct buf text = {0};
    bool ok = vm_state_encode(vm, fold->folded->state, &text, err);

    if (ok)
        *out = arena_str(arena, buf_as_str(&text));
    buf_done(&text);
    return ok;
}

bool fold_lost(struct err *err)
{
    return err_set(err, ERR_OVERLOADED,
                   "the state was lost: another command broke its Lua world");
}

/* `*lost_out` says that the state went away since it was folded. */
static bool encode_folded(const struct fold *fold, struct arena *arena,
                          uint64_t *version_out, struct str *state_out,
                          bool *lost_out, struct err *err)
{
    struct vm *vm = slot_enter(fold->slot, err);
    bool ok;

    *lost_out = false;
    if (vm == NULL)
        return false;
    *lost_out = !slot_has_state(fold->slot, fold->folded);
    *version_out = fold->folded->version;
    ok = *lost_out ? fold_lost(err)
                   : fold_encode(fold, vm, arena, state_out, err);
    slot_leave(fold->slot);
    return ok;
}

bool fold_read(const struct fold *fold, uint64_t until, struct arena *arena,
               uint64_t *version_out, struct str *state_out, struct err *err)
{
    bool lost = true;
    bool ok = false;

    for (int i = 0; lost && i < READ_ATTEMPTS; i++) {
        if (!fold_to(fold, until, err))
            return false;
        ok = encode_folded(fold, arena, version_out, state_out, &lost, err);
    }
    return ok;
}

static bool is_due(const struct fold *fold)
{
    const struct folded *folded = fold->folded;
    uint64_t every = fold->decl->snapshot_every;

    return fold->options->snapshots != NULL && every > 0 &&
           folded->version / every > folded->snapshot / every;
}

static bool save_text(const struct fold *fold, struct buf *out, struct err *err)
{
    struct vm *vm = slot_enter(fold->slot, err);
    bool ok;

    if (vm == NULL)
        return false;
    ok = slot_has_state(fold->slot, fold->folded)
             ? vm_state_save(vm, fold->folded->state, out, err)
             : fold_lost(err);
    slot_leave(fold->slot);
    return ok;
}

static void warn_unsaved(const struct fold *fold, const struct err *why)
{
    static struct log_throttle throttle;
    uint64_t held;

    if (log_may(&throttle, TROUBLE_LOG_MS, &held))
        log_warning("aggregate", "a state has no snapshot",
                    LOG_STR("aggregate_type", fold->decl->type),
                    LOG_STR("aggregate_id", fold->id),
                    LOG_U64("held_back", held), LOG_ERR(why));
}

/* Whatever becomes of it, the next one is some events away. */
void fold_offer_snapshot(const struct fold *fold)
{
    struct snapshot snapshot = {
        .aggregate_type = fold->decl->type,
        .aggregate_id = fold->id,
        .version = fold->folded->version,
        .last_id = fold->folded->last_id,
        .shape = str_of(fold->decl->shape),
        .script_hash = str_of(fold->decl->hash),
    };
    struct buf text = {0};
    struct err err;

    if (!is_due(fold))
        return;
    fold->folded->snapshot = fold->folded->version;
    if (save_text(fold, &text, &err)) {
        snapshot.state = buf_as_str(&text);
        snapshots_offer(fold->options->snapshots, &snapshot);
    } else {
        warn_unsaved(fold, &err);
    }
    buf_done(&text);
}
