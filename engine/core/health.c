/*
 * A probe's life: phase, silence of the store and status of each subscription
 * are copied out of memory into a picture in the probe's own arena; each is
 * judged by its indicators, the whole by its parts; the picture is written and
 * forgotten.  It runs on the thread of whoever asks, and nothing is shared.
 *
 * Judging.  A subscription has the worst of its indicators.  The whole is
 * critical if any is, unhealthy if more than half are, degraded if any is
 * unhealthy or degraded, and never better than the
 * engine's own indicators.  What is just starting is `unknown`, which counts
 * for nothing: not ready, and not ill.
 */
#include "core/health.h"

#include "base/clock.h"

#include <inttypes.h>

/* Two beats of the keeper and a half (core/keeper.h). */
#define STORE_SILENCE_MAX_MS 5000
/* Shorter trouble is a connection that is made again. */
#define APPEND_TROUBLE_MS 1000
/* A wait for a connection that was given up is remembered for so long. */
#define POOL_TROUBLE_MS 60000

const char *health_status_name(enum health_status status)
{
    static const char *const names[] = {
        [HEALTH_HEALTHY] = "healthy",   [HEALTH_UNKNOWN] = "unknown",
        [HEALTH_DEGRADED] = "degraded", [HEALTH_UNHEALTHY] = "unhealthy",
        [HEALTH_CRITICAL] = "critical",
    };

    return names[status];
}

/* ---- indicators ---- */

enum indicator_kind {
    INDICATOR_STATE,
    INDICATOR_LAG,
    INDICATOR_SCRIPT,
    INDICATORS
};

static const char *const indicator_names[INDICATORS] = {"state", "lag",
                                                        "script"};

struct indicator {
    enum health_status status;
    const char *message;
};

struct part { /* a subscription and what is thought of it */
    const struct subscription_status *seen;
    enum health_status status;
    struct indicator indicators[INDICATORS];
};

struct picture {
    struct engine *engine;
    bool open;
    enum engine_phase phase;
    struct part *parts;
    size_t count;
    size_t healthy, degraded, unhealthy; /* critical ones are unhealthy too */
    uint64_t processed, failed, lag;
    bool store_asked; /* there is a keeper that would know */
    uint64_t store_silence_ms;
    char store_error[256]; /* of the last beat, or of the last try to open */
    uint64_t unstored_ms; /* for how long appends have failed; 0: they do not */
    char append_error[256];
    struct pool_status pool;
    size_t fault_count; /* scripts that did not load */
    enum health_status status;
    struct arena arena;
};

static const char *text_of(struct arena *arena, struct str text)
{
    return arena_str(arena, text).ptr;
}

static struct indicator judge_state(const struct picture *p,
                                    const struct subscription_status *seen,
                                    struct arena *arena)
{
    const char *reason =
        str_is_none(seen->reason) ? "" : text_of(arena, seen->reason);

    switch (seen->state) {
    case SUB_STARTING:
        return (struct indicator){HEALTH_UNKNOWN, "starting"};
    case SUB_CATCHING_UP:
        return (struct indicator){HEALTH_HEALTHY, "catching up"};
    case SUB_LIVE:
        return (struct indicator){HEALTH_HEALTHY, "live"};
    case SUB_PAUSED:
        return (struct indicator){HEALTH_DEGRADED,
                                  arena_printf(arena, "paused: %s", reason)};
    case SUB_STOPPED:
        if (p->phase != PHASE_RUNNING)
            return (struct indicator){HEALTH_DEGRADED, "stopped"};
        return (struct indicator){HEALTH_UNHEALTHY, "stopped"};
    case SUB_ERROR:
        break;
    }
    return (struct indicator){HEALTH_UNHEALTHY,
                              arena_printf(arena, "error: %s", reason)};
}

static struct indicator judge_lag(const struct engine_options *options,
                                  const struct subscription_status *seen,
                                  struct arena *arena)
{
    const char *message =
        arena_printf(arena, "%" PRIu64 " events behind", seen->lag_events);

    if (seen->state == SUB_STARTING) /* from where is not known yet */
        return (struct indicator){HEALTH_UNKNOWN, "starting"};
    if (seen->lag_events >= options->lag_critical)
        return (struct indicator){HEALTH_CRITICAL, message};
    if (seen->lag_events >= options->lag_warning)
        return (struct indicator){HEALTH_DEGRADED, message};
    return (struct indicator){HEALTH_HEALTHY, message};
}

/* A script that stopped loading leaves the one that runs in place. */
static struct indicator judge_script(const struct script_set *set,
                                     const struct subscription_status *seen,
                                     struct arena *arena)
{
    const struct projection_decl *decl = script_set_projection(set, seen->name);

    for (size_t i = 0; decl != NULL && i < set->fault_count; i++) {
        if (str_eq(decl->path, str_of(set->faults[i].path)))
            return (struct indicator){
                HEALTH_DEGRADED,
                arena_printf(arena, "%s", set->faults[i].text)};
    }
    return (struct indicator){
        HEALTH_HEALTHY, arena_printf(arena, "version %" PRIu32 " is loaded",
                                     seen->script_version)};
}

static struct part judge_part(struct picture *p,
                              const struct subscription_status *seen)
{
    const struct engine *engine = p->engine;
    struct arena *arena = &p->arena;
    struct part part = {.seen = seen, .status = HEALTH_HEALTHY};

    part.indicators[INDICATOR_STATE] = judge_state(p, seen, arena);
    part.indicators[INDICATOR_LAG] = judge_lag(&engine->options, seen, arena);
    part.indicators[INDICATOR_SCRIPT] =
        judge_script(engine->scripts, seen, arena);
    for (size_t i = 0; i < INDICATORS; i++)
        part.status = MAX(part.status, part.indicators[i].status);
    return part;
}

/* ---- the engine's own ---- */

static bool is_store_silent(const struct picture *p)
{
    return p->store_asked && p->store_silence_ms > STORE_SILENCE_MAX_MS;
}

/* The engine could not open it yet, and tries again. */
static bool is_store_refused(const struct picture *p)
{
    return !p->open && p->store_error[0] != '\0';
}

/* The store answers and takes nothing: a full disk, a standby.  It still can be
 * read, so this makes nobody unready. */
static struct indicator judge_appends(struct picture *p)
{
    if (p->unstored_ms < APPEND_TROUBLE_MS)
        return (struct indicator){HEALTH_HEALTHY, "answers"};
    return (struct indicator){
        HEALTH_UNHEALTHY,
        arena_printf(&p->arena, "takes no appends for %" PRIu64 " ms: %s",
                     p->unstored_ms, p->append_error)};
}

static struct indicator judge_store(struct picture *p)
{
    if (is_store_refused(p))
        return (struct indicator){
            HEALTH_UNHEALTHY,
            arena_printf(&p->arena, "not opened: %s", p->store_error)};
    if (!is_store_silent(p))
        return judge_appends(p);
    return (struct indicator){
        HEALTH_UNHEALTHY,
        arena_printf(&p->arena, "silent for %" PRIu64 " ms%s%s",
                     p->store_silence_ms, p->store_error[0] != '\0' ? ": " : "",
                     p->store_error)};
}

/* Nobody waits while one is idle or may be opened. */
static struct indicator judge_pool(struct picture *p)
{
    const struct pool_status *pool = &p->pool;
    uint64_t ago_ms = clock_ms() - pool->timeout_at_ms;

    if (pool->waiting > 0)
        return (struct indicator){HEALTH_DEGRADED,
                                  arena_printf(&p->arena,
                                               "%" PRIu32 " wait, all %" PRIu32
                                               " are lent",
                                               pool->waiting, pool->most)};
    if (pool->timeouts > 0 && ago_ms < POOL_TROUBLE_MS)
        return (struct indicator){
            HEALTH_DEGRADED,
            arena_printf(&p->arena, "a wait was given up %" PRIu64 " s ago",
                         ago_ms / 1000)};
    return (struct indicator){HEALTH_HEALTHY, "nobody waits"};
}

static struct indicator judge_scripts(struct picture *p)
{
    if (p->fault_count == 0)
        return (struct indicator){HEALTH_HEALTHY, "all are loaded"};
    return (struct indicator){
        HEALTH_DEGRADED,
        arena_printf(&p->arena, "%zu did not load, the first: %s",
                     p->fault_count, p->engine->scripts->faults[0].text)};
}

/* ---- taking the picture ---- */

static void count_part(struct picture *p, const struct part *part)
{
    p->healthy += part->status == HEALTH_HEALTHY;
    p->degraded += part->status == HEALTH_DEGRADED;
    p->unhealthy += part->status >= HEALTH_UNHEALTHY;
    p->processed += part->seen->events_processed;
    p->failed += part->seen->events_failed;
    p->lag += part->seen->lag_events;
}

static enum health_status judge_whole(struct picture *p)
{
    enum health_status status = HEALTH_HEALTHY;

    for (size_t i = 0; i < p->count; i++) {
        if (p->parts[i].status == HEALTH_CRITICAL)
            return HEALTH_CRITICAL;
    }
    if (p->unhealthy * 2 > p->count)
        status = HEALTH_UNHEALTHY;
    else if (p->unhealthy + p->degraded > 0)
        status = HEALTH_DEGRADED;
    status = MAX(status, judge_store(p).status);
    status = MAX(status, judge_pool(p).status);
    return MAX(status, judge_scripts(p).status);
}

static void take_subscriptions(struct picture *p)
{
    struct subscription_status *seen;

    subscriptions_status(p->engine->subs, &p->arena, &seen, &p->count);
    p->parts = ARENA_ARRAY(&p->arena, struct part, p->count);
    for (size_t i = 0; i < p->count; i++) {
        p->parts[i] = judge_part(p, &seen[i]);
        count_part(p, &p->parts[i]);
    }
}

static void take_picture(struct engine *engine, struct picture *p)
{
    *p = (struct picture){.engine = engine,
                          .open = engine_is_open(engine),
                          .phase = engine_phase(engine)};
    if (!p->open) {
        engine_start_error(engine, p->store_error, sizeof(p->store_error));
        p->status = judge_store(p).status;
        return;
    }
    p->store_asked = engine->keeper != NULL;
    if (p->store_asked)
        p->store_silence_ms = keeper_silence_ms(engine->keeper, p->store_error,
                                                sizeof(p->store_error));
    p->unstored_ms =
        append_trouble(engine->queue, p->append_error, sizeof(p->append_error));
    store_pool_status(engine->store, &p->pool);
    p->fault_count = engine->scripts->fault_count;
    if (engine->subs != NULL)
        take_subscriptions(p);
    p->status = judge_whole(p);
}

/* ---- written: /health ---- */

static void open_indicator(struct json_out *out, const char *name,
                           struct indicator indicator)
{
    json_object(out, NULL);
    json_put_text(out, "name", name);
    json_put_text(out, "status", health_status_name(indicator.status));
    json_put_text(out, "message", indicator.message);
    json_object(out, "details");
}

static void close_indicator(struct json_out *out)
{
    json_end(out, '}');
    json_end(out, '}');
}

static void write_details(struct json_out *out, const struct picture *p,
                          const struct subscription_status *seen,
                          enum indicator_kind kind)
{
    switch (kind) {
    case INDICATOR_STATE:
        json_put_text(out, "state", subscription_state_name(seen->state));
        json_put_bool(out, "required", seen->required);
        break;
    case INDICATOR_LAG:
        json_put_u64(out, "lag_events", seen->lag_events);
        json_put_double(out, "lag_seconds", seen->lag_seconds);
        json_put_u64(out, "warning", p->engine->options.lag_warning);
        json_put_u64(out, "critical", p->engine->options.lag_critical);
        break;
    case INDICATOR_SCRIPT:
        json_put_u64(out, "script_version", seen->script_version);
        json_put_opt(out, "script_hash", seen->script_hash);
        break;
    case INDICATORS:
        break;
    }
}

static void write_part(struct json_out *out, const struct picture *p,
                       const struct part *part)
{
    const struct subscription_status *seen = part->seen;

    json_object(out, NULL);
    json_put_str(out, "name", seen->name);
    json_put_text(out, "status", health_status_name(part->status));
    json_put_text(out, "state", subscription_state_name(seen->state));
    json_put_u64(out, "events_processed", seen->events_processed);
    json_put_u64(out, "events_failed", seen->events_failed);
    json_put_u64(out, "lag_events", seen->lag_events);
    json_put_double(out, "error_rate", seen->error_rate);
    json_put_opt(out, "last_error", seen->last_error);
    json_put_double(out, "uptime_seconds", (double)seen->uptime_ms / 1000);
    json_put_u64(out, "position", seen->position);
    json_put_u64(out, "script_version", seen->script_version);
    json_array(out, "indicators");
    for (int kind = 0; kind < INDICATORS; kind++) {
        open_indicator(out, indicator_names[kind], part->indicators[kind]);
        write_details(out, p, seen, (enum indicator_kind)kind);
        close_indicator(out);
    }
    json_end(out, ']');
    json_end(out, '}');
}

static void write_pool(struct json_out *out, struct picture *p)
{
    const struct pool_status *pool = &p->pool;

    open_indicator(out, "pool", judge_pool(p));
    json_put_u64(out, "most", pool->most);
    json_put_u64(out, "idle", pool->idle);
    json_put_u64(out, "lent", pool->lent);
    json_put_u64(out, "connecting", pool->connecting);
    json_put_u64(out, "waiting", pool->waiting);
    json_put_u64(out, "timeouts", pool->timeouts);
    close_indicator(out);
}

static void write_own_indicators(struct json_out *out, struct picture *p)
{
    json_array(out, "indicators");
    if (p->store_asked) {
        open_indicator(out, "store", judge_store(p));
        json_put_text(out, "kind", store_kind_name(p->engine->store));
        json_put_u64(out, "silence_ms", p->store_silence_ms);
        json_put_u64(out, "appends_failing_ms", p->unstored_ms);
        close_indicator(out);
    } else if (is_store_refused(p)) {
        open_indicator(out, "store", judge_store(p));
        close_indicator(out);
    }
    if (p->open) {
        write_pool(out, p);
        open_indicator(out, "script", judge_scripts(p));
        json_put_u64(out, "faults", p->fault_count);
        close_indicator(out);
    }
    json_end(out, ']');
}

static void write_totals(struct json_out *out, const struct picture *p)
{
    uint64_t uptime_ms = clock_ms() - p->engine->started_ms;

    json_put_u64(out, "subscription_count", p->count);
    json_put_u64(out, "healthy_count", p->healthy);
    json_put_u64(out, "degraded_count", p->degraded);
    json_put_u64(out, "unhealthy_count", p->unhealthy);
    json_put_u64(out, "total_events_processed", p->processed);
    json_put_u64(out, "total_events_failed", p->failed);
    json_put_u64(out, "total_lag_events", p->lag);
    json_put_double(out, "uptime_seconds", (double)uptime_ms / 1000);
    json_put_time(out, "timestamp", clock_wall_us());
}

int health_write(struct engine *engine, struct buf *buf)
{
    struct picture p;
    struct json_out out;

    take_picture(engine, &p);
    json_begin(&out, buf);
    json_object(&out, NULL);
    json_put_text(&out, "status", health_status_name(p.status));
    json_put_bool(&out, "running", p.phase == PHASE_RUNNING);
    json_put_text(&out, "phase", engine_phase_name(p.phase));
    write_totals(&out, &p);
    write_own_indicators(&out, &p);
    json_array(&out, "subscriptions");
    for (size_t i = 0; i < p.count; i++)
        write_part(&out, &p, &p.parts[i]);
    json_end(&out, ']');
    json_end(&out, '}');
    arena_done(&p.arena);
    return p.status <= HEALTH_DEGRADED && p.status != HEALTH_UNKNOWN ? 200
                                                                     : 503;
}

/* ---- written: /health/ready ---- */

/* The first required subscription in that state. */
static const struct subscription_status *find_state(const struct picture *p,
                                                    enum subscription_state s)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->parts[i].seen->state == s && p->parts[i].seen->required)
            return p->parts[i].seen;
    }
    return NULL;
}

static const char *why_not_serving(struct picture *p)
{
    char text[256];

    if (p->phase == PHASE_RUNNING && p->open)
        return NULL;
    if (p->phase > PHASE_RUNNING)
        return arena_printf(&p->arena, "shutting down (%s)",
                            engine_phase_name(p->phase));
    engine_start_error(p->engine, text, sizeof(text));
    return arena_printf(&p->arena, "starting%s%s", text[0] != '\0' ? ": " : "",
                        text);
}

static const char *why_subscriptions(struct picture *p)
{
    static const struct {
        enum subscription_state state;
        const char *text;
    } unready[] = {
        {SUB_ERROR, "is in error"},
        {SUB_STOPPED, "is stopped"},
        {SUB_STARTING, "is starting"},
    };

    for (size_t i = 0; i < COUNT(unready); i++) {
        const struct subscription_status *seen =
            find_state(p, unready[i].state);

        if (seen != NULL)
            return arena_printf(&p->arena, "subscription '%.*s' %s",
                                STR_ARG(seen->name), unready[i].text);
    }
    return NULL;
}

/* The first reason wins; NULL when there is none. */
static const char *why_unready(struct picture *p)
{
    const char *why = why_not_serving(p);

    if (why == NULL && is_store_silent(p))
        why = arena_printf(&p->arena, "store: %s", judge_store(p).message);
    if (why == NULL && p->fault_count > 0)
        why = arena_printf(&p->arena, "scripts: %s", judge_scripts(p).message);
    return why != NULL ? why : why_subscriptions(p);
}

int health_ready_write(struct engine *engine, struct buf *buf)
{
    struct picture p;
    struct json_out out;
    const char *why;

    take_picture(engine, &p);
    why = why_unready(&p);
    json_begin(&out, buf);
    json_object(&out, NULL);
    json_put_bool(&out, "ready", why == NULL);
    json_put_text(&out, "reason", why != NULL ? why : "ready");
    json_object(&out, "details");
    json_put_text(&out, "phase", engine_phase_name(p.phase));
    json_put_u64(&out, "store_silence_ms", p.store_silence_ms);
    json_put_u64(&out, "script_faults", p.fault_count);
    json_put_u64(&out, "subscription_count", p.count);
    json_end(&out, '}');
    json_put_time(&out, "timestamp", clock_wall_us());
    json_end(&out, '}');
    arena_done(&p.arena);
    return why == NULL ? 200 : 503;
}

/* ---- written: /health/live ---- */

/* Appends who has not moved, and is true then.  The store is nobody's business
 * here: a database that is down makes no instance dead. */
static bool is_stalled(struct engine *engine, struct buf *who)
{
    uint32_t limit_ms = engine->options.stall_timeout_ms;

    if (engine->loop_beat != NULL &&
        heartbeat_is_stalled(engine->loop_beat, limit_ms)) {
        buf_text(who, "the control loop");
        return true;
    }
    return engine_is_open(engine) && engine->subs != NULL &&
           subscriptions_are_stalled(engine->subs, limit_ms, who);
}

int health_live_write(struct engine *engine, struct buf *buf)
{
    struct buf who = {0};
    struct json_out out;
    bool alive;

    alive = !is_stalled(engine, &who);
    buf_text(&who, alive ? "alive" : " has not moved");
    json_begin(&out, buf);
    json_object(&out, NULL);
    json_put_bool(&out, "alive", alive);
    json_put_str(&out, "reason", buf_as_str(&who));
    json_object(&out, "details");
    json_put_text(&out, "phase", engine_phase_name(engine_phase(engine)));
    json_put_u64(&out, "stall_timeout_ms", engine->options.stall_timeout_ms);
    json_end(&out, '}');
    json_put_time(&out, "timestamp", clock_wall_us());
    json_end(&out, '}');
    buf_done(&who);
    return alive ? 200 : 503;
}
