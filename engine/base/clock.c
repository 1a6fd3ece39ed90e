/*
 * Dates are counted in the proleptic Gregorian calendar by arithmetic alone:
 * no time zone files, no locale, no state.  A year is taken to begin in March,
 * so that the leap day is its last; 400 years ("an era") are 146,097 days.
 */
#include "base/clock.h"

#include <time.h>

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_MINUTE (60 * US_PER_SECOND)
#define US_PER_DAY    (86400 * US_PER_SECOND)

#define DAYS_PER_ERA       146097
#define EPOCH_SHIFT        719468    /* days from 0000-03-01 to 1970-01-01 */
#define FIRST_DAY          (-719162) /* 0001-01-01 */
#define LAST_DAY           2932896   /* 9999-12-31 */
#define FIRST_US           (FIRST_DAY * US_PER_DAY)
#define LAST_US            ((LAST_DAY + 1) * US_PER_DAY - 1)
#define CLAMP(x, min, max) MAX((min), MIN((x), (max)))

struct date {
    int year;
    int month;
    int day;
};

uint64_t clock_us(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_ms(void)
{
    return clock_us() / 1000;
}

int64_t clock_wall_us(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

/* Of years 0001 to 9999 only, so every division is of a positive number. */
static int32_t days_of(struct date date)
{
    int year = date.month > 2 ? date.year : date.year - 1;
    int month = (date.month + 9) % 12; /* March is 0 */
    int era = year / 400;
    int year_of_era = year % 400;
    int day_of_year = (153 * month + 2) / 5 + date.day - 1;
    int day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * DAYS_PER_ERA + day_of_era - EPOCH_SHIFT;
}

static struct date date_of(int32_t days)
{
    int shifted = CLAMP(days, FIRST_DAY, LAST_DAY) + EPOCH_SHIFT;
    int era = shifted / DAYS_PER_ERA;
    int day_of_era = shifted % DAYS_PER_ERA;
    int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                       day_of_era / 146096) /
                      365;
    int day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month = (5 * day_of_year + 2) / 153; /* March is 0 */

    return (struct date){
        .year = era * 400 + year_of_era + (month >= 10 ? 1 : 0),
        .month = month < 10 ? month + 3 : month - 9,
        .day = day_of_year - (153 * month + 2) / 5 + 1,
    };
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

/* ---- writing ---- */

/* `count` digits and the character behind them; the place to go on. */
static char *put(char *at, int count, int64_t value, char behind)
{
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    at[count] = behind;
    return at + count + 1;
}

static char *put_date(char *at, struct date date, char behind)
{
    at = put(at, 4, date.year, '-');
    at = put(at, 2, date.month, '-');
    return put(at, 2, date.day, behind);
}

void clock_format(int64_t wall_us, char text[CLOCK_TEXT_SIZE])
{
    /* Counted from the first day, so that nothing is negative. */
    int64_t us = CLAMP(wall_us, FIRST_US, LAST_US) - FIRST_US;
    int64_t of_day = us % US_PER_DAY;
    char *at =
        put_date(text, date_of((int32_t)(us / US_PER_DAY) + FIRST_DAY), 'T');

    at = put(at, 2, of_day / US_PER_MINUTE / 60, ':');
    at = put(at, 2, of_day / US_PER_MINUTE % 60, ':');
    at = put(at, 2, of_day / US_PER_SECOND % 60, '.');
    at = put(at, 6, of_day % US_PER_SECOND, 'Z');
    *at = '\0';
}

void clock_date_format(int32_t days, char text[CLOCK_DATE_SIZE])
{
    put_date(text, date_of(days), '\0');
}

/* ---- reading ---- */

static bool take_any(struct str *rest, const char *allowed, char *out)
{
    if (rest->len == 0 || rest->ptr[0] == '\0' ||
        strchr(allowed, rest->ptr[0]) == NULL)
        return false;
    *out = rest->ptr[0];
    *rest = str_n(rest->ptr + 1, rest->len - 1);
    return true;
}

static bool take(struct str *rest, char expected)
{
    const char allowed[] = {expected, '\0'};
    char got;

    return take_any(rest, allowed, &got);
}

/* Exactly `count` digits. */
static bool take_number(struct str *rest, size_t count, int *out)
{
    uint64_t value;

    if (rest->len < count || !str_to_u64(str_n(rest->ptr, count), &value))
        return false;
    *out = (int)value;
    *rest = str_n(rest->ptr + count, rest->len - count);
    return true;
}

static bool take_date(struct str *rest, int32_t *days_out)
{
    struct date date;

    if (!take_number(rest, 4, &date.year) || !take(rest, '-') ||
        !take_number(rest, 2, &date.month) || !take(rest, '-') ||
        !take_number(rest, 2, &date.day))
        return false;
    if (date.year < 1 || date.month < 1 || date.month > 12 || date.day < 1 ||
        date.day > days_in_month(date.year, date.month))
        return false;
    *days_out = days_of(date);
    return true;
}

/* The digits behind the point, if there is one; those past the sixth are cut.
 */
static bool take_fraction(struct str *rest, int64_t *us_out)
{
    int64_t unit = US_PER_SECOND / 10;
    char digit;

    *us_out = 0;
    if (!take(rest, '.'))
        return true;
    if (!take_any(rest, "0123456789", &digit))
        return false;
    do {
        *us_out += (digit - '0') * unit;
        unit /= 10;
    } while (take_any(rest, "0123456789", &digit));
    return true;
}

/* A leap second is taken as the last microsecond before it: nothing that is
 * stored can tell them apart, and the order is kept. */
static bool take_time(struct str *rest, int64_t *us_out)
{
    int hour;
    int minute;
    int second;
    int64_t fraction;

    if (!take_number(rest, 2, &hour) || !take(rest, ':') ||
        !take_number(rest, 2, &minute) || !take(rest, ':') ||
        !take_number(rest, 2, &second) || !take_fraction(rest, &fraction))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    if (second == 60) {
        second = 59;
        fraction = US_PER_SECOND - 1;
    }
    *us_out = (hour * 60 + minute) * US_PER_MINUTE + second * US_PER_SECOND +
              fraction;
    return true;
}

static bool take_offset(struct str *rest, int64_t *us_out)
{
    int hour;
    int minute;
    char sign;

    if (!take_any(rest, "Zz+-", &sign))
        return false;
    *us_out = 0;
    if (sign == 'Z' || sign == 'z')
        return true;
    if (!take_number(rest, 2, &hour) || !take(rest, ':') ||
        !take_number(rest, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *us_out = (hour * 60 + minute) * US_PER_MINUTE;
    if (sign == '-')
        *us_out = -*us_out;
    return true;
}

bool clock_parse(struct str text, int64_t *wall_us_out)
{
    int64_t of_day;
    int64_t offset;
    int64_t wall_us;
    int32_t days;
    char separator;

    if (!take_date(&text, &days) || !take_any(&text, "Tt ", &separator) ||
        !take_time(&text, &of_day) || !take_offset(&text, &offset) ||
        text.len > 0)
        return false;
    wall_us = days * US_PER_DAY + of_day - offset;
    /* An offset can lead out of the years that have a text. */
    if (wall_us < FIRST_US || wall_us > LAST_US)
        return false;
    *wall_us_out = wall_us;
    return true;
}

bool clock_date_parse(struct str text, int32_t *days_out)
{
    int32_t days;

    if (!take_date(&text, &days) || text.len > 0)
        return false;
    *days_out = days;
    return true;
}
