#pragma once
/*
 * Stages with deadlines (contract section 7, "Shutdown"):
 *
 *   stopping        unready at once; new work is refused, requests under way
 *                   finish
 *   draining        batches in flight commit, until drain_timeout
 *   checkpointing   leases are given back, positions are stored
 *   stopped         or `forced`: past `timeout`, or at a second signal
 *
 * Whatever happens the store holds each event's effects exactly once; this is
 * about telling the truth and being quick.  Runs on a thread of its own, so
 * that the loop goes on taking signals; every count is a real one.
 */
#include "core/engine.h"

struct shutdown_options {
    uint32_t timeout_ms;
    uint32_t drain_timeout_ms;
};

struct shutdown_report {
    enum engine_phase phase; /* PHASE_STOPPED or PHASE_FORCED */
    const char *reason;      /* signal_sigterm, signal_sigint, programmatic,
                                timeout, double_signal */
    bool forced;
    double duration_seconds;
    struct stop_result stop;
    uint64_t events_in_flight; /* when it ended */
};

struct shutdown;

/* `refuse` stops the taking of new work (HTTP) and `finished` tells whether
 * requests are still under way; both are called on the shutdown's thread. */
struct shutdown *shutdown_begin(struct engine *engine,
                                const struct shutdown_options *options,
                                const char *reason,
                                void (*refuse)(void *arg),
                                bool (*finished)(void *arg), void *arg,
                                void (*done)(void *arg), struct err *err)
    MUST_USE;
/* A second signal, from any phase. */
void shutdown_force(struct shutdown *shutdown);
/* After `done` was called (on the shutdown's thread). */
void shutdown_end(struct shutdown *shutdown, struct shutdown_report *out);
/* One line of JSON: the fields of the contract. */
void shutdown_write(const struct shutdown_report *report, struct json_out *out);
