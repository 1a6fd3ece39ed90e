#pragma once
/*
 * What `perigee doctor` finds: a list of findings, each fine or not, and, when
 * it is not, what to change.  Printed for people, or as JSON, one a line.
 */
#include "base/arena.h"

#include <stdbool.h>

enum finding_level {
    FINDING_OK,
    FINDING_WARNING, /* it works, and will hurt one day */
    FINDING_PROBLEM, /* the engine does not start, or not work */
};

struct finding {
    enum finding_level level;
    const char *topic;  /* "database", "clock" …: literals */
    const char *text;   /* what is */
    const char *change; /* what to do about it; NULL: nothing */
};

/* Zeroed memory is an empty list. */
struct findings {
    struct arena arena; /* owner of all texts but topics */
    struct finding *items;
    size_t count;
    size_t capacity;
};

/* Adds what is as it should be. */
void finding_ok(struct findings *findings, const char *topic,
                const char *format, ...) PRINTF_LIKE(3, 4);
/* Adds what is not; `change` is copied. */
void finding_warning(struct findings *findings, const char *topic,
                     const char *change, const char *format, ...)
    PRINTF_LIKE(4, 5);
void finding_problem(struct findings *findings, const char *topic,
                     const char *change, const char *format, ...)
    PRINTF_LIKE(4, 5);
void findings_done(struct findings *findings);

/* How many are of that level. */
size_t findings_count(const struct findings *findings,
                      enum finding_level level);
/* Prints them for people, aligned, and the sum of it. */
void findings_print(const struct findings *findings);
/* The same as records: {"level","topic","text","change"}. */
void findings_print_json(const struct findings *findings);
