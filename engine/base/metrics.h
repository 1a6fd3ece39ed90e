#pragma once
/*
 * Counters, gauges and histograms, one table for all of them: name, kind,
 * label, help.  A metric enters the table together with the code that moves it;
 * /metrics prints the table in OpenMetrics text.
 *
 * Counting is an atomic add on a slot that exists from the start; series with
 * a label (a subscription's name) are made at registration, never on the hot
 * path.  Any thread.
 */
#include "base/buf.h"

/* clang-format off */
#define METRIC_TABLE(X)                                                         \
    /* constant                      name                                        kind       label           help */ \
    X(METRIC_EVENTS_APPENDED,      "perigee_events_appended_total",             COUNTER,   NULL,           "Events committed to the log") \
    X(METRIC_APPEND_DURATION,      "perigee_append_duration_seconds",           HISTOGRAM, NULL,           "From an append's arrival in the queue to its answer") \
    X(METRIC_APPEND_BATCH,         "perigee_append_batch_size",                 HISTOGRAM, NULL,           "Appends committed together by the writer") \
    X(METRIC_COMMAND_DURATION,     "perigee_command_duration_seconds",          HISTOGRAM, NULL,           "Commands, from request to answer") \
    X(METRIC_SUB_PROCESSED,        "perigee_subscription_events_processed_total", COUNTER, "subscription", "Events whose effects were committed") \
    X(METRIC_SUB_FAILED,           "perigee_subscription_events_failed_total",  COUNTER,   "subscription", "Events whose handler failed") \
    X(METRIC_SUB_LAG,              "perigee_subscription_lag_events",           GAUGE,     "subscription", "Head of the log less the checkpoint") \
    X(METRIC_SUB_STATE,            "perigee_subscription_state",                GAUGE,     "subscription", "0 starting, 1 catching_up, 2 live, 3 paused, 4 stopped, 5 error") \
    X(METRIC_SUB_BATCH,            "perigee_subscription_batch_duration_seconds", HISTOGRAM, "subscription", "One batch: read, run and commit") \
    X(METRIC_SANDBOX_KILLS,        "perigee_sandbox_kills_total",               COUNTER,   NULL,           "Scripts stopped at a deadline or a memory ceiling") \
    X(METRIC_HTTP_DURATION,        "perigee_http_request_duration_seconds",     HISTOGRAM, NULL,           "HTTP requests, from header to answer") \
    X(METRIC_POOL_CONNECTIONS,     "perigee_pool_connections",                  GAUGE,     "state",        "Database connections: idle, lent, connecting") \
    X(METRIC_POOL_WAIT,            "perigee_pool_wait_seconds",                 HISTOGRAM, NULL,           "Waits for a database connection, those without waiting too")
/* clang-format on */

enum metric {
#define X(constant, name, kind, label, help) constant,
    METRIC_TABLE(X)
#undef X
        METRIC_COUNT
};

struct metric_series; /* one labelled line (or histogram) */

/* The unlabelled series of a metric. */
struct metric_series *metric(enum metric which);
/* The series for one value of the metric's label; made at the first call. */
struct metric_series *metric_labelled(enum metric which, const char *value);

/* Each is for series of one kind: counters, gauges, histograms. */
void metric_add(struct metric_series *series, uint64_t n);
void metric_set(struct metric_series *series, int64_t value);
void metric_observe(struct metric_series *series, double x);

/* Appends the whole table as OpenMetrics text, closed by `# EOF`. */
void metrics_write(struct buf *out);
