#pragma once
/*
 * The thread that keeps what time takes away: leases, and knowledge of the
 * head when others append.  One statement every 2 s renews and asks;
 * between them it sleeps on the notices of the store.  What may take longer
 * than a beat is not done here: a lease would lapse meanwhile.
 *
 * It owns the keeper's connection.  When the store is away it keeps trying;
 * after a lease's time without a beat the subscriptions are told that nothing
 * is held, because another instance may have taken over (the fence makes that
 * safe; telling makes it visible).
 */
#include "core/head.h"
#include "core/subscription.h"

struct keeper;

struct keeper_options {
    struct store *store; /* borrowed, as the next two */
    struct head *head;
    struct subscriptions *subs; /* may be NULL */
    struct uuid owner;
    uint32_t lease_ms;
    uint32_t beat_ms;
};

/* Opens the connection and starts the thread; stopping waits for a beat that
 * is under way. */
struct keeper *keeper_start(const struct keeper_options *options,
                            struct err *err) MUST_USE;
void keeper_stop(struct keeper *keeper);
/* Milliseconds since the store last answered; the error of the last try is
 * copied to `text` (empty when it answered). */
uint64_t keeper_silence_ms(struct keeper *keeper, char *text, size_t size);
