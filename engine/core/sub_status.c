/*
 * What is seen of a subscription from outside of its turn: written by the
 * worker that runs it, read by probes and the API, all under the set's lock
 * and without ever waiting for anything else.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "core/sub.h"

#include <stdio.h>

#define BIT(state) (1u << (state))

const char *subscription_state_name(enum subscription_state state)
{
    static const char *const names[] = {
        [SUB_STARTING] = "starting", [SUB_CATCHING_UP] = "catching_up",
        [SUB_LIVE] = "live",         [SUB_PAUSED] = "paused",
        [SUB_STOPPED] = "stopped",   [SUB_ERROR] = "error",
    };

    return names[state];
}

/* The drawing of core/subscription.h. */
static const unsigned may_become[] = {
    [SUB_STARTING] = BIT(SUB_CATCHING_UP) | BIT(SUB_LIVE) | BIT(SUB_PAUSED) |
                     BIT(SUB_ERROR) | BIT(SUB_STOPPED),
    [SUB_CATCHING_UP] =
        BIT(SUB_LIVE) | BIT(SUB_PAUSED) | BIT(SUB_ERROR) | BIT(SUB_STOPPED),
    [SUB_LIVE] = BIT(SUB_CATCHING_UP) | BIT(SUB_PAUSED) | BIT(SUB_ERROR) |
                 BIT(SUB_STOPPED),
    [SUB_PAUSED] = BIT(SUB_CATCHING_UP) | BIT(SUB_ERROR) | BIT(SUB_STOPPED),
    [SUB_ERROR] = BIT(SUB_STOPPED),
    [SUB_STOPPED] = 0,
};

static void log_move(const struct sub *sub, enum subscription_state from,
                     enum subscription_state to, const char *reason,
                     uint64_t position)
{
    log_info("subscription", "moved", LOG_TEXT("subscription", sub->name),
             LOG_TEXT("from", subscription_state_name(from)),
             LOG_TEXT("to", subscription_state_name(to)),
             LOG_U64("position", position), LOG_TEXT("reason", reason));
}

void sub_move(struct sub *sub, enum subscription_state to, const char *reason)
{
    struct subscriptions *set = sub->set;
    enum subscription_state from;
    uint64_t position;

    lock_take(&set->lock);
    from = sub->state;
    position = sub->position;
    CHECK(from == to || (may_become[from] & BIT(to)) != 0);
    sub->state = to;
    snprintf(sub->reason, sizeof(sub->reason), "%s",
             reason != NULL ? reason : "");
    lock_give(&set->lock);

    if (from == to)
        return;
    metric_set(sub->state_series, (int64_t)to);
    log_move(sub, from, to, reason, position);
}

uint64_t sub_lag(const struct sub *sub, uint64_t position)
{
    uint64_t head = head_position(sub->set->options.head);

    return head > position ? head - position : 0;
}

/* ---- the lease ---- */

static void show_position(struct sub *sub, uint64_t position,
                          int64_t recorded_at_us) REQUIRES(sub->set->lock)
{
    uint64_t lag = sub_lag(sub, position);

    sub->position = position;
    if (lag == 0)
        sub->oldest_us = 0;
    else if (recorded_at_us != 0)
        sub->oldest_us = recorded_at_us;
    else if (sub->oldest_us == 0)
        sub->oldest_us = clock_wall_us();
    metric_set(sub->lag, (int64_t)lag);
}

void sub_show_lease(struct sub *sub, const struct checkpoint *taken)
{
    lock_take(&sub->set->lock);
    sub->leased = true;
    sub->lease_lost = false;
    sub->epoch = taken->epoch;
    sub->leased_ms = clock_ms();
    sub->generation = taken->slice.generation;
    sub->saved = true;
    show_position(sub, taken->position, 0);
    lock_give(&sub->set->lock);
}

void sub_show_refused(struct sub *sub, const struct checkpoint *other)
{
    lock_take(&sub->set->lock);
    sub->leased = false;
    sub->lease_lost = false;
    sub->generation = other->slice.generation;
    sub->saved = true; /* by whoever ran it */
    show_position(sub, other->position, 0);
    lock_give(&sub->set->lock);
}

bool sub_has_lost_lease(struct sub *sub)
{
    bool lost;

    lock_take(&sub->set->lock);
    lost = sub->lease_lost;
    sub->lease_lost = false;
    if (lost)
        sub->leased = false;
    lock_give(&sub->set->lock);
    return lost;
}

/* ---- batches ---- */

bool sub_show_begin(struct sub *sub)
{
    bool may;

    lock_take(&sub->set->lock);
    may = !sub->set->draining;
    if (may) {
        sub->in_flight = batch_in_flight(sub->batch);
        show_position(sub, sub->position, batch_recorded_at_us(sub->batch));
    }
    lock_give(&sub->set->lock);
    return may;
}

static void count_drained(struct sub *sub, uint64_t moved)
    REQUIRES(sub->set->lock)
{
    uint64_t drained = MIN(moved, sub->in_flight_at_drain);

    sub->in_flight_at_drain -= drained;
    sub->set->drained += drained;
}

static uint64_t committed(const struct sub *sub, enum batch_end end)
{
    bool is_over = end == BATCH_MOVED || end == BATCH_FAILED;

    return is_over ? batch_applied(sub->batch) : 0;
}

uint64_t sub_show_end(struct sub *sub, enum batch_end end, uint64_t before)
{
    uint64_t position = batch_position(sub->batch);
    uint64_t moved = position - MIN(before, position);
    uint64_t applied = committed(sub, end);

    lock_take(&sub->set->lock);
    /* What has waited still waits when nothing moved. */
    show_position(sub, position,
                  moved > 0 ? batch_recorded_at_us(sub->batch) : 0);
    sub->saved = batch_is_saved(sub->batch);
    sub->in_flight = end == BATCH_WAITS ? batch_in_flight(sub->batch) : 0;
    sub->events_processed += applied;
    rate_add(&sub->processed_rate, clock_ms(), applied);
    count_drained(sub, moved);
    lock_give(&sub->set->lock);
    metric_add(sub->processed, applied);
    return moved;
}

void sub_show_failure(struct sub *sub, enum sub_blame blame,
                      const struct err *err)
{
    uint64_t failed = blame == BLAME_EVENT ? 1 : 0;

    lock_take(&sub->set->lock);
    sub->events_failed += failed;
    rate_add(&sub->failed_rate, clock_ms(), failed);
    snprintf(sub->last_error, sizeof(sub->last_error), "%s", err->text);
    lock_give(&sub->set->lock);
    metric_add(sub->failed, failed);
}

void sub_show_closed(struct sub *sub)
{
    lock_take(&sub->set->lock);
    sub->leased = false;
    sub->in_flight = 0;
    lock_give(&sub->set->lock);
}

void sub_show_head(struct subscriptions *subs, struct sub *sub, uint64_t head)
{
    CHECK(sub->set == subs);
    if (head <= sub->position)
        return;
    if (sub->oldest_us == 0)
        sub->oldest_us = clock_wall_us();
    metric_set(sub->lag, (int64_t)(head - sub->position));
}

/* ---- the copy for others ---- */

static struct str copy_text(struct arena *arena, const char *text)
{
    return *text != '\0' ? arena_str(arena, str_of(text)) : STR_NONE;
}

static double age_seconds(int64_t since_us)
{
    int64_t age_us = since_us != 0 ? clock_wall_us() - since_us : 0;

    return age_us > 0 ? (double)age_us / 1e6 : 0;
}

static void copy_counts(struct sub *sub, uint64_t head,
                        struct subscription_status *out)
{
    uint64_t now_ms = clock_ms();

    out->position = sub->position;
    out->head = MAX(head, sub->position);
    out->lag_events = out->head - sub->position;
    out->lag_seconds = out->lag_events > 0 ? age_seconds(sub->oldest_us) : 0;
    out->events_processed = sub->events_processed;
    out->events_failed = sub->events_failed;
    out->events_per_second = rate_per_second(&sub->processed_rate, now_ms, 10);
    out->error_rate = rate_per_second(&sub->failed_rate, now_ms, 60) * 60;
    out->uptime_ms = now_ms - sub->started_ms;
}

static void copy_status(struct sub *sub, uint64_t head, struct arena *arena,
                        struct subscription_status *out)
{
    const struct projection_decl *decl = sub->decl;

    out->name = arena_str(arena, decl->name);
    out->state = sub->state;
    out->reason = copy_text(arena, sub->reason);
    out->last_error = copy_text(arena, sub->last_error);
    out->script_version = decl->version;
    out->script_hash = arena_str(arena, str_of(decl->hash));
    out->generation = sub->generation;
    out->required =
        !decl->subscription.required_given || decl->subscription.required;
    copy_counts(sub, head, out);
}

void subscriptions_status(struct subscriptions *subs, struct arena *arena,
                          struct subscription_status **out, size_t *count_out)
{
    struct subscription_status *all =
        ARENA_ARRAY(arena, struct subscription_status, subs->count);
    uint64_t head = head_position(subs->options.head);

    for (size_t i = 0; i < subs->count; i++) {
        lock_take(&subs->lock);
        copy_status(&subs->subs[i], head, arena, &all[i]);
        lock_give(&subs->lock);
    }
    *out = all;
    *count_out = subs->count;
}
