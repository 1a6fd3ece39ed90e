/*
 * A series without a label is a static slot; those with one are made once,
 * appended to the list of their metric, and stay until the process ends, so a
 * pointer to a series is good for ever and counting takes no lock.
 *
 * The lock guards the lists alone.
 */
#include "base/metrics.h"

#include "base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

enum kind { COUNTER, GAUGE, HISTOGRAM };

struct info {
    const char *name;
    enum kind kind;
    const char *label;
    const char *help;
};

static const struct info infos[METRIC_COUNT] = {
#define X(constant, name, kind, label, help) {name, kind, label, help},
    METRIC_TABLE(X)
#undef X
};

struct bound {
    double upper;
    const char *text; /* as OpenMetrics wants the label `le` */
};

/* clang-format off */
#define BOUND(x) {x, #x}
static const struct bound seconds[] = {
    BOUND(0.0005), BOUND(0.001), BOUND(0.0025), BOUND(0.005), BOUND(0.01),
    BOUND(0.025),  BOUND(0.05),  BOUND(0.1),    BOUND(0.25),  BOUND(0.5),
    BOUND(1.0),    BOUND(2.5),   BOUND(5.0),    BOUND(10.0),  BOUND(30.0),
};
static const struct bound sizes[] = {
    BOUND(1.0),   BOUND(2.0),   BOUND(4.0),   BOUND(8.0),    BOUND(16.0),
    BOUND(32.0),  BOUND(64.0),  BOUND(128.0), BOUND(256.0),  BOUND(512.0),
    BOUND(1024.0), BOUND(2048.0), BOUND(4096.0),
};
/* clang-format on */
#define MAX_BOUNDS 16

_Static_assert(COUNT(seconds) < MAX_BOUNDS && COUNT(sizes) < MAX_BOUNDS,
               "a histogram has room for its bounds and +Inf");

struct metric_series {
    /* --- set before it is given out, then read only --- */
    const struct info *info;
    char *label_value;          /* NULL for the unlabelled one */
    struct metric_series *next; /* under the lock */
    /* --- any thread --- */
    _Atomic uint64_t count;
    _Atomic int64_t level;
    _Atomic uint64_t buckets[MAX_BOUNDS]; /* not cumulative; last: +Inf */
    _Atomic double sum;
};

static struct metric_series unlabelled[METRIC_COUNT] = {
#define X(constant, name, kind, label, help) {.info = &infos[constant]},
    METRIC_TABLE(X)
#undef X
};

static pthread_mutex_t lists_lock = PTHREAD_MUTEX_INITIALIZER;
/* --- under the lock --- */
static struct metric_series *labelled[METRIC_COUNT];

struct metric_series *metric(enum metric which)
{
    CHECK(infos[which].label == NULL);
    return &unlabelled[which];
}

/* The place of the series with this value, or the end of the list. */
static struct metric_series **find(struct metric_series **at, const char *value)
{
    while (*at != NULL && strcmp((*at)->label_value, value) != 0)
        at = &(*at)->next;
    return at;
}

struct metric_series *metric_labelled(enum metric which, const char *value)
{
    struct metric_series **place;
    struct metric_series *series;

    CHECK(infos[which].label != NULL);
    pthread_mutex_lock(&lists_lock);
    place = find(&labelled[which], value);
    if (*place == NULL) {
        *place = NEW(struct metric_series);
        (*place)->info = &infos[which];
        (*place)->label_value = mem_strdup(value);
    }
    series = *place;
    pthread_mutex_unlock(&lists_lock);
    return series;
}

void metric_add(struct metric_series *series, uint64_t n)
{
    CHECK(series->info->kind == COUNTER);
    atomic_fetch_add_explicit(&series->count, n, memory_order_relaxed);
}

void metric_set(struct metric_series *series, int64_t value)
{
    CHECK(series->info->kind == GAUGE);
    atomic_store_explicit(&series->level, value, memory_order_relaxed);
}

/* The unit at the end of the name tells how the buckets are cut. */
static bool is_seconds(const struct info *info)
{
    return str_ends(str_of(info->name), STR("_seconds"));
}

static const struct bound *bounds_of(const struct info *info, size_t *count_out)
{
    *count_out = is_seconds(info) ? COUNT(seconds) : COUNT(sizes);
    return is_seconds(info) ? seconds : sizes;
}

static void add_to_sum(_Atomic double *sum, double x)
{
    double seen = atomic_load_explicit(sum, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(
        sum, &seen, seen + x, memory_order_relaxed, memory_order_relaxed))
        continue;
}

void metric_observe(struct metric_series *series, double x)
{
    size_t count;
    const struct bound *bounds = bounds_of(series->info, &count);
    size_t i = 0;

    CHECK(series->info->kind == HISTOGRAM);
    while (i < count && x > bounds[i].upper)
        i++;
    atomic_fetch_add_explicit(&series->buckets[i], 1, memory_order_relaxed);
    add_to_sum(&series->sum, x);
}

/* ---- the text ---- */

static void write_escaped(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            buf_text(out, "\\n");
            continue;
        }
        if (*text == '\\' || *text == '"')
            buf_char(out, '\\');
        buf_char(out, *text);
    }
}

/* `{subscription="orders",le="0.5"}`, or nothing when there is neither. */
static void write_labels(struct buf *out, const struct metric_series *series,
                         const char *le)
{
    if (series->label_value == NULL && le == NULL)
        return;
    buf_char(out, '{');
    if (series->label_value != NULL) {
        buf_printf(out, "%s=\"", series->info->label);
        write_escaped(out, series->label_value);
        buf_text(out, le != NULL ? "\"," : "\"");
    }
    if (le != NULL)
        buf_printf(out, "le=\"%s\"", le);
    buf_char(out, '}');
}

static void write_name(struct buf *out, const struct metric_series *series,
                       const char *suffix, const char *le)
{
    buf_text(out, series->info->name);
    buf_text(out, suffix);
    write_labels(out, series, le);
    buf_char(out, ' ');
}

/* The count is the sum of the buckets as they were read, so that the lines of
 * one histogram agree while other threads observe. */
static void write_histogram(struct buf *out, struct metric_series *series)
{
    size_t count;
    const struct bound *bounds = bounds_of(series->info, &count);
    uint64_t total = 0;

    for (size_t i = 0; i <= count; i++) {
        total +=
            atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
        write_name(out, series, "_bucket", i < count ? bounds[i].text : "+Inf");
        buf_printf(out, "%" PRIu64 "\n", total);
    }
    write_name(out, series, "_count", NULL);
    buf_printf(out, "%" PRIu64 "\n", total);
    write_name(out, series, "_sum", NULL);
    buf_printf(out, "%.6f\n",
               atomic_load_explicit(&series->sum, memory_order_relaxed));
}

static void write_series(struct buf *out, struct metric_series *series)
{
    switch (series->info->kind) {
    case COUNTER:
        write_name(out, series, "", NULL);
        buf_printf(out, "%" PRIu64 "\n", atomic_load(&series->count));
        break;
    case GAUGE:
        write_name(out, series, "", NULL);
        buf_printf(out, "%" PRId64 "\n", atomic_load(&series->level));
        break;
    case HISTOGRAM:
        write_histogram(out, series);
        break;
    }
}

/* A counter's samples end in `_total`, its family does not. */
static struct str family_of(const struct info *info)
{
    struct str name = str_of(info->name);

    if (info->kind == COUNTER && str_ends(name, STR("_total")))
        name.len -= STR("_total").len;
    return name;
}

static void write_head(struct buf *out, const struct info *info)
{
    static const char *const words[] = {
        [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};
    struct str family = family_of(info);

    buf_printf(out, "# TYPE %.*s %s\n", STR_ARG(family), words[info->kind]);
    if (is_seconds(info))
        buf_printf(out, "# UNIT %.*s seconds\n", STR_ARG(family));
    buf_printf(out, "# HELP %.*s ", STR_ARG(family));
    write_escaped(out, info->help);
    buf_char(out, '\n');
}

void metrics_write(struct buf *out)
{
    pthread_mutex_lock(&lists_lock);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        write_head(out, &infos[i]);
        if (infos[i].label == NULL)
            write_series(out, &unlabelled[i]);
        for (struct metric_series *at = labelled[i]; at != NULL; at = at->next)
            write_series(out, at);
    }
    pthread_mutex_unlock(&lists_lock);
    buf_text(out, "# EOF\n");
}
