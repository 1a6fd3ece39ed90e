#include "core/snapshot_audit.h"

#include "base/log.h"
#include "base/mem.h"
#include "run/thread.h"
#include "vm/vm_aggregate.h"

#define PAGE_EVENTS     1000
#define LOAD_TIMEOUT_MS 5000

struct snapshot_audit {
    struct snapshot_audit_options options;
    struct thread *thread;
    int stopping; /* atomic */
};

/* The audit of one aggregate type. */
struct trial {
    const struct snapshot_audit *audit;
    const struct aggregate_decl *decl;
    struct vm *vm;
    int script;
    size_t compared;
    size_t differing;
};

static bool is_stopping(const struct snapshot_audit *audit)
{
    return __atomic_load_n(&audit->stopping, __ATOMIC_RELAXED) != 0;
}

/* ---- folding anew ---- */

static bool apply_page(const struct trial *trial, int state,
                       const struct event_page *page, uint64_t until,
                       struct err *err)
{
    for (size_t i = 0; i < page->count; i++) {
        if (is_stopping(trial->audit))
            return err_set(err, ERR_SHUTTING_DOWN, "the audit was stopped");
        if (page->events[i].aggregate_version > until)
            break;
        if (!vm_state_apply(trial->vm, trial->script, state, &page->events[i],
                            trial->audit->options.timeout_ms, err))
            return false;
    }
    return true;
}

static bool fold_events(const struct trial *trial,
                        const struct snapshot *snapshot, int state,
                        struct err *err)
{
    uint64_t version = 0;

    while (version < snapshot->version) {
        struct event_page *page;
        bool ok;

        if (!store_read_stream(trial->audit->options.store,
                               snapshot->aggregate_type, snapshot->aggregate_id,
                               version + 1, PAGE_EVENTS, READ_FORWARD, &page,
                               err))
            return false;
        ok = page->count > 0
                 ? apply_page(trial, state, page, snapshot->version, err)
                 : err_set(err, ERR_NOT_FOUND, "the stream is shorter");
        version += page->count;
        event_page_unref(page);
        if (!ok)
            return false;
    }
    return true;
}

static bool fold_anew(const struct trial *trial,
                      const struct snapshot *snapshot, struct buf *out,
                      struct err *err)
{
    int state = vm_state_new(trial->vm, trial->script, snapshot->aggregate_id,
                             trial->audit->options.timeout_ms, err);
    bool ok = state >= 0;

    if (!ok)
        return false;
    ok = fold_events(trial, snapshot, state, err) &&
         vm_state_save(trial->vm, state, out, err);
    if (!vm_is_broken(trial->vm))
        vm_state_drop(trial->vm, state);
    return ok;
}

/* ---- comparing ---- */

static void add_key(struct buf *keys, struct str key)
{
    buf_text(keys, keys->len > 0 ? ", " : "");
    buf_str(keys, key);
}

/* Keys of `a` that `b` has not, or with another value when `values`. */
static void list_keys(struct json a, struct json b, bool values,
                      struct buf *keys)
{
    struct json_in in = json_open(a);
    struct json item, other;
    struct str key, other_key;

    while (json_next(&in, &key, &item)) {
        struct json_in in_b = json_open(b);
        bool found = false;

        while (!found && json_next(&in_b, &other_key, &other))
            found = str_eq(key, other_key) &&
                    (!values || str_eq(item.raw, other.raw));
        if (!found)
            add_key(keys, key);
    }
}

/* Both texts have their keys in order, so equal states are equal texts. */
static void compare(struct trial *trial, const struct snapshot *snapshot,
                    struct str now)
{
    struct json then_state = json_value(snapshot->state);
    struct json now_state = json_value(now);
    struct buf keys = {0};

    trial->compared++;
    if (str_eq(snapshot->state, now))
        return;
    trial->differing++;
    if (then_state.kind == JSON_OBJECT && now_state.kind == JSON_OBJECT) {
        list_keys(now_state, then_state, true, &keys);
        list_keys(then_state, now_state, false, &keys);
    }
    log_warning("aggregate",
                "a snapshot of another script differs from its events: raise "
                "state_version",
                LOG_STR("aggregate_type", snapshot->aggregate_type),
                LOG_STR("aggregate_id", snapshot->aggregate_id),
                LOG_U64("version", snapshot->version),
                LOG_STR("keys", buf_as_str(&keys)));
    buf_done(&keys);
}

static bool is_readable(const struct snapshot *snapshot)
{
    struct err ignored;

    return json_check(snapshot->state, NULL, &ignored);
}

static void try_snapshot(struct trial *trial, const struct snapshot *snapshot)
{
    struct buf now = {0};
    struct err err;

    if (!is_readable(snapshot))
        return; /* a fold leaves it aside */
    if (fold_anew(trial, snapshot, &now, &err))
        compare(trial, snapshot, buf_as_str(&now));
    else if (!is_stopping(trial->audit))
        log_warning("aggregate", "a snapshot could not be compared",
                    LOG_STR("aggregate_type", snapshot->aggregate_type),
                    LOG_STR("aggregate_id", snapshot->aggregate_id),
                    LOG_ERR(&err));
    buf_done(&now);
}

/* ---- one aggregate after the other ---- */

static bool load(struct trial *trial, size_t number, struct arena *arena,
                 struct err *err)
{
    const struct script_set *set = trial->audit->options.scripts;
    struct vm_options options = {
        .memory_bytes = set->memory_bytes,
        .load_timeout_ms = LOAD_TIMEOUT_MS,
        .modules = set->aggregate_tree,
        .any_events = set->any_events,
    };
    struct aggregate_decl unused;

    trial->vm = vm_new(&options, err);
    if (trial->vm == NULL)
        return false;
    trial->script = vm_load_aggregate(trial->vm, set->aggregate_sources[number],
                                      arena, &unused, err);
    return trial->script >= 0;
}

static void try_all(struct trial *trial, const struct snapshot *snapshots,
                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_stopping(trial->audit) && !vm_is_broken(trial->vm))
            try_snapshot(trial, &snapshots[i]);
    log_info("aggregate", "snapshots of another script compared",
             LOG_STR("aggregate_type", trial->decl->type),
             LOG_U64("compared", trial->compared),
             LOG_U64("differing", trial->differing));
}

static bool audit_type(struct snapshot_audit *audit, size_t number,
                       struct arena *arena, struct err *err)
{
    struct trial trial = {
        .audit = audit,
        .decl = &audit->options.scripts->aggregates[number],
    };
    struct snapshot *snapshots;
    size_t count;
    bool ok;

    if (trial.decl->state_version == 0 || trial.decl->snapshot_every == 0)
        return true;
    if (!store_snapshot_sample(audit->options.store, trial.decl->type,
                               str_of(trial.decl->shape),
                               str_of(trial.decl->hash), SNAPSHOT_AUDIT_COUNT,
                               arena, &snapshots, &count, err))
        return false;
    if (count == 0)
        return true;
    ok = load(&trial, number, arena, err);
    if (ok)
        try_all(&trial, snapshots, count);
    vm_free(trial.vm);
    return ok;
}

static void run(void *arg)
{
    struct snapshot_audit *audit = arg;
    struct arena arena = {0};
    struct err err;

    for (size_t i = 0; i < audit->options.scripts->aggregate_count; i++) {
        if (!is_stopping(audit) && !audit_type(audit, i, &arena, &err))
            log_warning("aggregate", "snapshots could not be compared",
                        LOG_ERR(&err));
        arena_reset(&arena);
    }
    arena_done(&arena);
}

/* ---- life ---- */

static void audit_free(struct snapshot_audit *audit)
{
    script_set_unref(audit->options.scripts);
    mem_free(audit);
}

struct snapshot_audit *
snapshot_audit_start(const struct snapshot_audit_options *options,
                     struct err *err)
{
    struct snapshot_audit *audit = NEW(struct snapshot_audit);

    audit->options = *options;
    script_set_ref(options->scripts);
    audit->thread = thread_start("audit", run, audit, err);
    if (audit->thread != NULL)
        return audit;
    audit_free(audit);
    return NULL;
}

void snapshot_audit_stop(struct snapshot_audit *audit)
{
    if (audit == NULL)
        return;
    __atomic_store_n(&audit->stopping, 1, __ATOMIC_RELAXED);
    thread_join(audit->thread);
    audit_free(audit);
}
