#pragma once
/*
 * The only reader of time.  `clock_us` and `clock_ms` never go backwards and
 * mean nothing outside this process: for deadlines and durations.
 * `clock_wall_us` is microseconds since 1970 UTC: for what is stored or shown.
 *
 * Times in text are RFC 3339 in UTC with microseconds and `Z`:
 * 2010-12-01T08:26:00.000000Z.
 */
#include "base/str.h"

#define CLOCK_TEXT_SIZE 28 /* with the NUL */

/* For deadlines and durations. */
uint64_t clock_us(void);
uint64_t clock_ms(void);
/* For what is stored or shown. */
int64_t clock_wall_us(void);

/* Years 0001 to 9999; others are clamped. */
void clock_format(int64_t wall_us, char text[CLOCK_TEXT_SIZE]);
/* RFC 3339: date, `T`, `t` or a space, time with 0 to 6 (more are cut)
 * fractional digits, `Z` or a numeric offset.  A leap second (:60) is taken as
 * the last microsecond before it.  False when it is not that, or lies outside
 * the years above. */
bool clock_parse(struct str text, int64_t *wall_us_out) MUST_USE;

/* Days since 1970-01-01, and back as YYYY-MM-DD. */
#define CLOCK_DATE_SIZE 11
void clock_date_format(int32_t days, char text[CLOCK_DATE_SIZE]);
bool clock_date_parse(struct str text, int32_t *days_out) MUST_USE;
