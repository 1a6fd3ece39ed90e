#include "core/engine.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/pool_check.h"

#include <stdio.h>

#define KEEPER_BEAT_MS 2000 /* leases renewed, head asked for */

/* How long an engine that is closed waits for appends that are still queued;
 * a graceful shutdown has drained them before. */
#define CLOSE_QUEUE_US 2000000

const char *engine_phase_name(enum engine_phase phase)
{
    static const char *const names[] = {
        [PHASE_STARTING] = "starting",
        [PHASE_RUNNING] = "running",
        [PHASE_STOPPING] = "stopping",
        [PHASE_DRAINING] = "draining",
        [PHASE_CHECKPOINTING] = "checkpointing",
        [PHASE_STOPPED] = "stopped",
        [PHASE_FORCED] = "forced",
    };

    return names[phase];
}

/* ---- the parts, each from those before it ---- */

static bool prepare_schema(struct engine *engine, struct err *err)
{
    uint32_t steps = 0;

    if (!engine->options.migrate)
        return store_check_schema(engine->store, err);
    if (!store_migrate(engine->store, &steps, err))
        return false;
    if (steps > 0)
        log_info("engine", "schema brought up to date",
                 LOG_U64("steps", steps));
    return true;
}

static bool open_store(struct engine *engine, const char *address,
                       struct err *err)
{
    engine->store = store_open(&engine->options.store, err);
    return engine->store != NULL &&
           (address == NULL || store_claim(engine->store, address, err)) &&
           prepare_schema(engine, err) &&
           store_log_id(engine->store, &engine->log_id, err);
}

static void load_scripts(struct engine *engine)
{
    const struct script_set *set;

    set = engine->scripts = script_set_load(&engine->options.scripts);
    for (size_t i = 0; i < set->fault_count; i++)
        log_error("engine", "script not loaded",
                  LOG_TEXT("script", set->faults[i].path),
                  LOG_TEXT("exception", set->faults[i].text));
}

static bool start_queue(struct engine *engine, struct err *err)
{
    struct append_options options = {
        .store = engine->store,
        .max_waiting = engine->options.append_max_waiting,
    };
    uint64_t position;

    if (!store_head(engine->store, &position, err))
        return false;
    options.head = engine->head = head_new();
    head_move(engine->head, position);
    engine->queue = append_queue_start(&options, err);
    return engine->queue != NULL;
}

static bool start_aggregates(struct engine *engine, struct err *err)
{
    engine->snapshots = snapshots_start(engine->store, err);
    if (engine->snapshots == NULL)
        return false;
    engine->aggregates = aggregates_new(&(struct aggregates_options){
        .store = engine->store,
        .queue = engine->queue,
        .snapshots = engine->snapshots,
        .scripts = engine->scripts,
        .command_timeout_ms = engine->options.command_timeout_ms,
        .append_timeout_ms = engine->options.append_timeout_ms,
    });
    return true;
}

static size_t count_declared(const struct script_set *set)
{
    size_t count = 0;

    for (size_t i = 0; i < set->aggregate_count; i++)
        count += set->any_events ? 1 + set->aggregates[i].upcast_count
                                 : set->aggregates[i].event_type_count;
    return count;
}

/* Any event may come, but no version of one that the script cannot read. */
static struct declared_type *declare_any(const struct aggregate_decl *decl,
                                         struct declared_type *next)
{
    *next++ = (struct declared_type){.aggregate_type = decl->type,
                                     .event_type = STR_NONE};
    for (size_t i = 0; i < decl->upcast_count; i++)
        *next++ = (struct declared_type){
            .aggregate_type = decl->type,
            .event_type = decl->upcasts[i].event_type,
            .newest = decl->upcasts[i].newest,
        };
    return next;
}

static struct declared_type *declare_known(const struct aggregate_decl *decl,
                                           struct declared_type *next)
{
    for (size_t i = 0; i < decl->event_type_count; i++)
        *next++ = (struct declared_type){
            .aggregate_type = decl->type,
            .event_type = decl->event_types[i],
            .newest = script_newest(decl, decl->event_types[i]),
        };
    return next;
}

/* What programs that append in SQL may write. */
static bool declare_types(struct engine *engine, struct err *err)
{
    const struct script_set *set = engine->scripts;
    size_t count = count_declared(set);
    struct declared_type *types = NEW_ARRAY(struct declared_type, count + 1);
    struct declared_type *next = types;
    bool ok;

    for (size_t i = 0; i < set->aggregate_count; i++) {
        const struct aggregate_decl *decl = &set->aggregates[i];

        next = set->any_events ? declare_any(decl, next)
                               : declare_known(decl, next);
    }
    ok = store_declare_types(engine->store, types, count, err);
    mem_free(types);
    return ok;
}

static bool start_audit(struct engine *engine, struct err *err)
{
    engine->audit = snapshot_audit_start(
        &(struct snapshot_audit_options){
            .store = engine->store,
            .scripts = engine->scripts,
            .timeout_ms = engine->options.command_timeout_ms,
        },
        err);
    return engine->audit != NULL;
}

static bool start_subscriptions(struct engine *engine, struct err *err)
{
    const struct engine_options *options = &engine->options;

    engine->feed = feed_new(engine->store, options->feed_blocks);
    engine->subs = subscriptions_start(
        &(struct subscriptions_options){
            .store = engine->store,
            .feed = engine->feed,
            .head = engine->head,
            .scripts = engine->scripts,
            .owner = engine->owner,
            .workers = options->workers,
            .lease_ms = options->lease_ms,
            .batch_size = options->batch_size,
            .processing_timeout_ms = options->processing_timeout_ms,
        },
        err);
    return engine->subs != NULL;
}

static bool start_keeper(struct engine *engine, struct err *err)
{
    engine->keeper = keeper_start(
        &(struct keeper_options){
            .store = engine->store,
            .head = engine->head,
            .subs = engine->subs,
            .owner = engine->owner,
            .lease_ms = engine->options.lease_ms,
            .beat_ms = KEEPER_BEAT_MS,
        },
        err);
    return engine->keeper != NULL;
}

static bool start_janitor(struct engine *engine, struct err *err)
{
    engine->janitor = janitor_start(engine->store, JANITOR_EVERY_MS, err);
    return engine->janitor != NULL;
}

/* Takes the parts away, the last first; those that never were are NULL. */
static void stop_parts(struct engine *engine)
{
    if (engine->audit != NULL)
        snapshot_audit_stop(engine->audit);
    if (engine->janitor != NULL)
        janitor_stop(engine->janitor);
    if (engine->keeper != NULL)
        keeper_stop(engine->keeper);
    if (engine->subs != NULL)
        subscriptions_stop(engine->subs);
    if (engine->feed != NULL)
        feed_free(engine->feed);
    if (engine->aggregates != NULL)
        aggregates_free(engine->aggregates);
    if (engine->snapshots != NULL)
        snapshots_stop(engine->snapshots, clock_us() + CLOSE_QUEUE_US);
    if (engine->queue != NULL)
        append_queue_stop(engine->queue, clock_us() + CLOSE_QUEUE_US);
    if (engine->head != NULL)
        head_free(engine->head);
    if (engine->scripts != NULL)
        script_set_unref(engine->scripts);
    if (engine->store != NULL)
        store_close(engine->store);

    engine->audit = NULL;
    engine->janitor = NULL;
    engine->keeper = NULL;
    engine->subs = NULL;
    engine->feed = NULL;
    engine->aggregates = NULL;
    engine->snapshots = NULL;
    engine->queue = NULL;
    engine->head = NULL;
    engine->scripts = NULL;
    engine->store = NULL;
}

/* ---- public ---- */

struct engine *engine_new(const struct engine_options *options)
{
    struct engine *engine = NEW(struct engine);

    engine->options = *options;
    engine->owner = uuid_new();
    engine->started_ms = clock_ms();
    lock_init(&engine->lock);
    return engine;
}

static void note_start_error(struct engine *engine, const char *text)
{
    lock_take(&engine->lock);
    snprintf(engine->start_error, sizeof(engine->start_error), "%s", text);
    lock_give(&engine->lock);
}

/* A shutdown that was asked for meanwhile has moved the phase already and
 * must not be undone. */
static void open_for_all(struct engine *engine)
{
    int starting = PHASE_STARTING;

    note_start_error(engine, "");
    __atomic_store_n(&engine->open, 1, __ATOMIC_RELEASE);
    __atomic_compare_exchange_n(&engine->phase, &starting, PHASE_RUNNING, false,
                                __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

bool engine_start(struct engine *engine, enum engine_part part,
                  const char *address, struct err *err)
{
    bool ok = open_store(engine, address, err);

    if (ok)
        load_scripts(engine);
    ok = ok && start_queue(engine, err);
    ok = ok && start_aggregates(engine, err);
    if (part == ENGINE_SERVE) {
        ok = ok && declare_types(engine, err);
        ok = ok && start_subscriptions(engine, err);
        ok = ok && start_keeper(engine, err);
        ok = ok && start_janitor(engine, err);
        ok = ok && start_audit(engine, err);
    }
    if (ok && part == ENGINE_SERVE)
        pool_check(engine->store, &engine->options.pool);
    if (ok) {
        open_for_all(engine);
        return true;
    }
    stop_parts(engine);
    note_start_error(engine, err->text);
    return false;
}

struct engine *engine_open(const struct engine_options *options,
                           enum engine_part part, struct err *err)
{
    struct engine *engine = engine_new(options);

    if (engine_start(engine, part, NULL, err))
        return engine;
    engine_close(engine);
    return NULL;
}

void engine_close(struct engine *engine)
{
    if (engine == NULL)
        return;
    stop_parts(engine);
    lock_done(&engine->lock);
    mem_free(engine);
}

bool engine_is_open(const struct engine *engine)
{
    return __atomic_load_n(&engine->open, __ATOMIC_ACQUIRE) != 0;
}

void engine_start_error(struct engine *engine, char *text, size_t size)
{
    lock_take(&engine->lock);
    snprintf(text, size, "%s", engine->start_error);
    lock_give(&engine->lock);
}

enum engine_phase engine_phase(const struct engine *engine)
{
    return (enum engine_phase)__atomic_load_n(&engine->phase, __ATOMIC_ACQUIRE);
}

void engine_move(struct engine *engine, enum engine_phase phase)
{
    log_info("engine", "phase moved",
             LOG_TEXT("from", engine_phase_name(engine_phase(engine))),
             LOG_TEXT("to", engine_phase_name(phase)));
    __atomic_store_n(&engine->phase, (int)phase, __ATOMIC_RELEASE);
}
