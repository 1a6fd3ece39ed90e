#pragma once
/*
 * Stages with deadlines:
 *
 *   stopping        unready at once; new work is refused, no batch is begun,
 *                   requests under way finish
 *   draining        batches in flight commit; both until drain_timeout
 *   checkpointing   everything is closed: leases go back, connections end
 *   stopped         or `forced`: past `timeout`, at a second signal, or when a
 *                   batch was still running at the end of drain_timeout
 *
 * Whatever happens the store holds each event's effects exactly once; this is
 * about telling the truth and being quick.  The stages run on a thread of
 * their own, so that the loop goes on taking signals, and a second thread
 * watches the clock, so that a stage that hangs cannot hold up the end.
 */
#include "core/engine.h"

struct shutdown_report {
    enum engine_phase phase; /* PHASE_STOPPED or PHASE_FORCED */
    const char *reason;      /* signal_sigterm, signal_sigint, programmatic,
                                timeout, double_signal */
    bool forced;
    double duration_seconds;
    struct stop_result stop;
    uint64_t events_in_flight; /* when it ended */
};

struct shutdown_options {
    uint32_t timeout_ms;
    uint32_t drain_timeout_ms;
    const char *reason; /* a literal */
    void *arg;          /* of the functions below */
    /* On the stages' thread: stop the taking of new work; whether requests
     * are still under way; close everything that the engine serves and the
     * engine itself; and, last of all, the end. */
    void (*refuse)(void *arg);
    bool (*finished)(void *arg);
    void (*close)(void *arg);
    void (*done)(void *arg);
    /* On the watching thread, instead of `done`: time is over.  It should end
     * the process, since nothing that was running can be relied on. */
    void (*forced)(void *arg, const struct shutdown_report *report);
};

struct shutdown;

/* Begins; `engine` may be closed by `close`. */
struct shutdown *shutdown_begin(struct engine *engine,
                                const struct shutdown_options *options,
                                struct err *err) MUST_USE;
/* A second signal: `forced` is called soon, from whatever phase.  Any thread.
 */
void shutdown_force(struct shutdown *shutdown);
/* After `done` was called, on another thread: joins, reports, frees. */
void shutdown_end(struct shutdown *shutdown, struct shutdown_report *out);
/* The fields of the contract, as fields of a log record at INFO, or at
 * CRITICAL when it was forced. */
void shutdown_log(const struct shutdown_report *report);
