/*
 * Life of a number: a text is cut into its parts (struct spelling: slices of
 * the text, nothing copied), the number of digits it would need is computed
 * from their lengths and refused when it is over the limit, and only then is an
 * integer made of it.  Operations work on temporaries, and `deliver` is the one
 * place where a result is checked against the limit and handed out; so operands
 * may be results, and a failure leaves the result as it was.
 *
 * Since every decimal has at most DECIMAL_MAX_DIGITS digits, temporaries are
 * bounded too: about twice that.
 */
#include "base/decimal.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Significant digits of a quotient. */
#define QUOTIENT_DIGITS 28
/* Exponents in texts are cut here: further than any text is long, and far from
 * overflowing when lengths are added to them. */
#define EXPONENT_LIMIT INT64_C(1000000000000)
/* Any number with up to so many digits fits a long. */
#define LONG_DIGITS 18

/* ---- texts ---- */

/* A number as it is written: (-)whole.fraction * 10^exponent. */
struct spelling {
    bool negative;
    struct str whole;
    struct str fraction;
    int64_t exponent;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Cuts the digits off the front of `*rest`. */
static struct str cut_digits(struct str *rest)
{
    struct str digits = {rest->ptr, 0};

    while (digits.len < rest->len && is_digit(rest->ptr[digits.len]))
        digits.len++;
    rest->ptr += digits.len;
    rest->len -= digits.len;
    return digits;
}

static bool cut_char(struct str *rest, char c)
{
    if (rest->len == 0 || *rest->ptr != c)
        return false;
    rest->ptr++;
    rest->len--;
    return true;
}

static bool cut_exponent(struct str *rest, int64_t *exponent_out)
{
    bool negative = cut_char(rest, '-');

    if (!negative)
        cut_char(rest, '+');

    struct str digits = cut_digits(rest);
    int64_t exponent = 0;

    for (size_t i = 0; i < digits.len && exponent < EXPONENT_LIMIT; i++)
        exponent = exponent * 10 + (digits.ptr[i] - '0');
    exponent = MIN(exponent, EXPONENT_LIMIT);
    *exponent_out = negative ? -exponent : exponent;
    return digits.len > 0;
}

/* The grammar of JSON numbers; false for any other text. */
static bool spell(struct str text, struct spelling *out)
{
    out->negative = cut_char(&text, '-');
    out->whole = cut_digits(&text);
    if (out->whole.len == 0 || (out->whole.len > 1 && out->whole.ptr[0] == '0'))
        return false;
    out->fraction = (struct str){text.ptr, 0};
    if (cut_char(&text, '.')) {
        out->fraction = cut_digits(&text);
        if (out->fraction.len == 0)
            return false;
    }
    out->exponent = 0;
    if ((cut_char(&text, 'e') || cut_char(&text, 'E')) &&
        !cut_exponent(&text, &out->exponent))
        return false;
    return text.len == 0;
}

static size_t digit_count(const struct spelling *s)
{
    return s->whole.len + s->fraction.len;
}

/* The digits of whole and fraction as one row. */
static char digit_at(const struct spelling *s, size_t i)
{
    return i < s->whole.len ? s->whole.ptr[i]
                            : s->fraction.ptr[i - s->whole.len];
}

static size_t leading_zeros(const struct spelling *s)
{
    size_t zeros = 0;

    while (zeros < digit_count(s) && digit_at(s, zeros) == '0')
        zeros++;
    return zeros;
}

/* ---- integers ---- */

static void ten_to(mpz_t out, uint32_t power)
{
    mpz_ui_pow_ui(out, 10, power);
}

/* mpz_sizeinbase may say one too many. */
static size_t count_digits(const mpz_t z)
{
    size_t size = mpz_sizeinbase(z, 10);
    mpz_t least;

    mpz_init(least);
    ten_to(least, (uint32_t)size - 1);
    if (size > 1 && mpz_cmpabs(z, least) < 0)
        size--;
    mpz_clear(least);
    return size;
}

static bool is_too_long(const mpz_t digits, uint32_t scale)
{
    if (scale > DECIMAL_MAX_DIGITS)
        return true;
    return mpz_sizeinbase(digits, 10) > DECIMAL_MAX_DIGITS &&
           count_digits(digits) > DECIMAL_MAX_DIGITS;
}

static bool fail_too_long(struct err *err)
{
    return err_set(err, ERR_INVALID_INPUT,
                   "a decimal may have at most %d digits", DECIMAL_MAX_DIGITS);
}

/* Hands `digits` out as the result, or fails; `digits` is spent either way. */
static bool deliver(struct decimal *out, mpz_t digits, uint32_t scale,
                    struct err *err)
{
    bool fits = !is_too_long(digits, scale);

    if (fits) {
        mpz_swap(out->digits, digits);
        out->scale = scale;
    }
    mpz_clear(digits);
    return fits || fail_too_long(err);
}

/* The digits of `d` at a scale that is not smaller than its own. */
static void widen(mpz_t out, const struct decimal *d, uint32_t scale)
{
    ten_to(out, scale - d->scale);
    mpz_mul(out, out, d->digits);
}

/* quotient = over / under, half to even. */
static void divide_half_even(mpz_t quotient, const mpz_t over,
                             const mpz_t under)
{
    int sign = mpz_sgn(over) * mpz_sgn(under);
    mpz_t rest;

    mpz_init(rest);
    mpz_tdiv_qr(quotient, rest, over, under);
    mpz_mul_2exp(rest, rest, 1);

    int half = mpz_cmpabs(rest, under);

    if (half > 0 || (half == 0 && mpz_odd_p(quotient))) {
        if (sign > 0)
            mpz_add_ui(quotient, quotient, 1);
        else
            mpz_sub_ui(quotient, quotient, 1);
    }
    mpz_clear(rest);
}

/* over * 10^shift / under, for a shift of either sign. */
static void divide_shifted(mpz_t quotient, const mpz_t over, const mpz_t under,
                           int32_t shift)
{
    mpz_t power;

    mpz_init(power);
    ten_to(power, (uint32_t)abs(shift));
    if (shift >= 0) {
        mpz_mul(power, power, over);
        divide_half_even(quotient, power, under);
    } else {
        mpz_mul(power, power, under);
        divide_half_even(quotient, over, power);
    }
    mpz_clear(power);
}

/* Drops zeros behind the point, down to scale `least`. */
static void drop_zeros(mpz_t digits, uint32_t *scale, uint32_t least)
{
    while (*scale > least && mpz_divisible_ui_p(digits, 10)) {
        mpz_divexact_ui(digits, digits, 10);
        --*scale;
    }
}

/* ---- life, texts and other numbers ---- */

void decimal_init(struct decimal *d)
{
    mpz_init(d->digits);
    d->scale = 0;
}

void decimal_done(struct decimal *d)
{
    mpz_clear(d->digits);
}

void decimal_copy(struct decimal *out, const struct decimal *from)
{
    mpz_set(out->digits, from->digits);
    out->scale = from->scale;
}

static void set_short(mpz_t out, const struct spelling *s)
{
    long value = 0;

    for (size_t i = 0; i < digit_count(s); i++)
        value = value * 10 + (digit_at(s, i) - '0');
    mpz_set_si(out, s->negative ? -value : value);
}

/* `skip` leading zeros less and `zeros` more at the end; the caller has made
 * sure that it is not too long. */
static void set_long(mpz_t out, const struct spelling *s, size_t skip,
                     size_t zeros)
{
    char text[DECIMAL_MAX_DIGITS + 1];
    size_t len = 0;

    for (size_t i = skip; i < digit_count(s); i++)
        text[len++] = digit_at(s, i);
    memset(text + len, '0', zeros);
    text[len + zeros] = '\0';
    CHECK(mpz_set_str(out, text, 10) == 0);
    if (s->negative)
        mpz_neg(out, out);
}

bool decimal_parse(struct decimal *out, struct str text, struct err *err)
{
    struct spelling s;

    if (!spell(text, &s))
        return err_set(err, ERR_INVALID_INPUT,
                       "expected a decimal number such as -12.50");

    size_t skip = leading_zeros(&s);
    size_t digits = digit_count(&s) - skip;
    int64_t scale = (int64_t)s.fraction.len - s.exponent;
    int64_t zeros = scale < 0 && digits > 0 ? -scale : 0;

    if (scale > DECIMAL_MAX_DIGITS ||
        digits + (size_t)zeros > DECIMAL_MAX_DIGITS)
        return fail_too_long(err);
    if (digits == 0)
        mpz_set_ui(out->digits, 0);
    else if (zeros == 0 && digit_count(&s) <= LONG_DIGITS)
        set_short(out->digits, &s);
    else
        set_long(out->digits, &s, skip, (size_t)zeros);
    out->scale = (uint32_t)MAX(scale, 0);
    return true;
}

void decimal_from_i64(struct decimal *out, int64_t value)
{
    mpz_set_si(out->digits, value);
    out->scale = 0;
}

bool decimal_from_double(struct decimal *out, double value, struct err *err)
{
    char text[32];

    if (!isfinite(value))
        return err_set(err, ERR_INVALID_INPUT,
                       "NaN and infinity are no decimals");
    return decimal_parse(out, str_n(text, decimal_double_text(value, text)),
                         err);
}

void decimal_format(const struct decimal *d, struct buf *out)
{
    char text[DECIMAL_MAX_DIGITS + 4];
    const char *digits = text;

    /* GMP wants room for a sign, a NUL and an estimate one digit too long. */
    CHECK(mpz_sizeinbase(d->digits, 10) + 2 <= sizeof(text));
    mpz_get_str(text, 10, d->digits);
    if (*digits == '-') {
        buf_char(out, '-');
        digits++;
    }

    size_t len = strlen(digits);
    size_t whole = len > d->scale ? len - d->scale : 0;

    if (whole > 0)
        buf_add(out, digits, whole);
    else
        buf_char(out, '0');
    if (d->scale == 0)
        return;
    buf_char(out, '.');
    for (size_t zeros = d->scale; zeros > len; zeros--)
        buf_char(out, '0');
    buf_add(out, digits + whole, len - whole);
}

double decimal_to_double(const struct decimal *d)
{
    struct buf text = {0};

    decimal_format(d, &text);

    double value = strtod(text.ptr, NULL);

    buf_done(&text);
    return value;
}

bool decimal_to_i64(const struct decimal *d, int64_t *out)
{
    mpz_t whole;
    mpz_t unit;

    mpz_init(whole);
    mpz_init(unit);
    ten_to(unit, d->scale);

    bool fits = mpz_divisible_p(d->digits, unit) != 0;

    if (fits) {
        mpz_divexact(whole, d->digits, unit);
        fits = mpz_fits_slong_p(whole) != 0;
    }
    if (fits)
        *out = mpz_get_si(whole);
    mpz_clear(unit);
    mpz_clear(whole);
    return fits;
}

/* ---- arithmetic ---- */

bool decimal_add(struct decimal *out, const struct decimal *a,
                 const struct decimal *b, struct err *err)
{
    uint32_t scale = MAX(a->scale, b->scale);
    mpz_t sum;
    mpz_t other;

    mpz_init(sum);
    mpz_init(other);
    widen(sum, a, scale);
    widen(other, b, scale);
    mpz_add(sum, sum, other);
    mpz_clear(other);
    return deliver(out, sum, scale, err);
}

bool decimal_sub(struct decimal *out, const struct decimal *a,
                 const struct decimal *b, struct err *err)
{
    struct decimal minus;

    decimal_init(&minus);
    decimal_neg(&minus, b);

    bool done = decimal_add(out, a, &minus, err);

    decimal_done(&minus);
    return done;
}

bool decimal_mul(struct decimal *out, const struct decimal *a,
                 const struct decimal *b, struct err *err)
{
    mpz_t product;

    mpz_init(product);
    mpz_mul(product, a->digits, b->digits);
    return deliver(out, product, a->scale + b->scale, err);
}

/* Multiplies by 10^power. */
static void shift_left(mpz_t digits, uint32_t power)
{
    mpz_t factor;

    mpz_init(factor);
    ten_to(factor, power);
    mpz_mul(digits, digits, factor);
    mpz_clear(factor);
}

/* Divides to QUOTIENT_DIGITS digits; returns the scale that they have. */
static int32_t divide(mpz_t quotient, const struct decimal *a,
                      const struct decimal *b)
{
    int32_t shift = QUOTIENT_DIGITS - (int32_t)count_digits(a->digits) +
                    (int32_t)count_digits(b->digits);

    divide_shifted(quotient, a->digits, b->digits, shift);
    /* It depends on the first digits whether that gives one digit too many;
     * dividing anew rounds once, where cutting the digit would round twice. */
    if (count_digits(quotient) > QUOTIENT_DIGITS)
        divide_shifted(quotient, a->digits, b->digits, --shift);
    return shift + (int32_t)a->scale - (int32_t)b->scale;
}

bool decimal_div(struct decimal *out, const struct decimal *a,
                 const struct decimal *b, struct err *err)
{
    uint32_t least = MAX(a->scale, b->scale);
    mpz_t quotient;

    if (mpz_sgn(b->digits) == 0)
        return err_set(err, ERR_INVALID_INPUT, "division by zero");
    mpz_init(quotient);
    if (mpz_sgn(a->digits) == 0)
        return deliver(out, quotient, least, err);

    int32_t scale = divide(quotient, a, b);

    if (scale < 0) {
        shift_left(quotient, (uint32_t)-scale);
        scale = 0;
    }

    uint32_t kept = (uint32_t)scale;

    drop_zeros(quotient, &kept, least);
    return deliver(out, quotient, kept, err);
}

void decimal_neg(struct decimal *out, const struct decimal *a)
{
    mpz_neg(out->digits, a->digits);
    out->scale = a->scale;
}

int decimal_cmp(const struct decimal *a, const struct decimal *b)
{
    if (a->scale == b->scale)
        return mpz_cmp(a->digits, b->digits);

    uint32_t scale = MAX(a->scale, b->scale);
    mpz_t wide_a;
    mpz_t wide_b;

    mpz_init(wide_a);
    mpz_init(wide_b);
    widen(wide_a, a, scale);
    widen(wide_b, b, scale);

    int order = mpz_cmp(wide_a, wide_b);

    mpz_clear(wide_b);
    mpz_clear(wide_a);
    return order;
}

bool decimal_round(struct decimal *out, const struct decimal *a,
                   uint32_t places, struct err *err)
{
    mpz_t digits;

    if (places > DECIMAL_MAX_DIGITS)
        return fail_too_long(err);
    mpz_init(digits);
    if (places >= a->scale) {
        widen(digits, a, places);
    } else {
        mpz_t unit;

        mpz_init(unit);
        ten_to(unit, a->scale - places);
        divide_half_even(digits, a->digits, unit);
        mpz_clear(unit);
    }
    return deliver(out, digits, places, err);
}

/* ---- comparing texts ---- */

/* -1, 0 or 1. */
static int sign_of(const struct spelling *s)
{
    if (leading_zeros(s) == digit_count(s))
        return 0;
    return s->negative ? -1 : 1;
}

static int cmp_size(const struct spelling *a, const struct spelling *b)
{
    size_t i = leading_zeros(a);
    size_t j = leading_zeros(b);
    int64_t first_a = (int64_t)a->whole.len - (int64_t)i + a->exponent;
    int64_t first_b = (int64_t)b->whole.len - (int64_t)j + b->exponent;

    if (first_a != first_b)
        return first_a < first_b ? -1 : 1;
    for (; i < digit_count(a) || j < digit_count(b); i++, j++) {
        char x = i < digit_count(a) ? digit_at(a, i) : '0';
        char y = j < digit_count(b) ? digit_at(b, j) : '0';

        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

/* No number is made of the texts, however long they are: signs, the places of
 * the first digits, then digit by digit. */
int decimal_text_cmp(struct str a, struct str b)
{
    struct spelling x;
    struct spelling y;
    bool a_is = spell(a, &x);
    bool b_is = spell(b, &y);

    if (!a_is || !b_is)
        return a_is == b_is ? str_cmp(a, b) : b_is - a_is;

    int sign = sign_of(&x);
    int sign_b = sign_of(&y);

    if (sign != sign_b)
        return sign < sign_b ? -1 : 1;
    return sign == 0 ? 0 : sign * cmp_size(&x, &y);
}

/* ---- doubles ---- */

/* A double as d.ddd * 10^exponent. */
struct shortest {
    bool negative;
    char digits[18]; /* no zeros at the end, no NUL */
    int count;
    int exponent;
};

/* printf and strtod read the decimal point of LC_NUMERIC; it is `.` because
 * this process never calls setlocale. */
static void find_shortest(double value, struct shortest *out)
{
    char text[32];
    /* 15 digits survive a double, 17 tell any two apart; the numbers below
     * DBL_MIN have fewer bits and can be shorter. */
    int precision = fabs(value) < DBL_MIN ? 1 : 15;

    do
        snprintf(text, sizeof(text), "%.*e", precision - 1, value);
    while (precision++ < 17 && strtod(text, NULL) != value);

    const char *at = text;

    out->negative = *at == '-';
    at += out->negative;
    out->count = 0;
    for (; *at != 'e'; at++)
        if (*at != '.')
            out->digits[out->count++] = *at;
    while (out->count > 1 && out->digits[out->count - 1] == '0')
        out->count--;
    out->exponent = (int)strtol(at + 1, NULL, 10);
}

/* `count` digits from `from` on, zeros where there are no more. */
static char *put_digits(char *to, const struct shortest *s, int from, int count)
{
    for (int i = from; i < from + count; i++)
        *to++ = i >= 0 && i < s->count ? s->digits[i] : '0';
    return to;
}

/* Plain where people would write it so (as JavaScript does), else with an
 * exponent; at most 26 bytes. */
static size_t spell_shortest(const struct shortest *s, char *text)
{
    bool plain = s->exponent >= -6 && s->exponent <= 20;
    int point = plain ? MAX(s->exponent + 1, 1) : 1; /* digits before it */
    int first = plain ? MIN(s->exponent, 0) : 0;
    int behind = s->count - first - point;
    char *to = text;

    if (s->negative)
        *to++ = '-';
    to = put_digits(to, s, first, point);
    if (behind > 0) {
        *to++ = '.';
        to = put_digits(to, s, first + point, behind);
    }
    if (!plain)
        to += snprintf(to, 8, "e%+d", s->exponent);
    *to = '\0';
    return (size_t)(to - text);
}

/* `units` / 10^places, without zeros at the end. */
static size_t spell_units(bool negative, uint64_t units, int places, char *text)
{
    char digits[24];
    char *end = digits + sizeof(digits);
    char *at = end;
    char *to = text;

    for (; places > 0 && units % 10 == 0; places--)
        units /= 10;
    for (int i = 0; i <= places || units > 0; i++) {
        if (i == places && places > 0)
            *--at = '.';
        *--at = (char)('0' + units % 10);
        units /= 10;
    }
    if (negative)
        *to++ = '-';
    memcpy(to, at, (size_t)(end - at));
    to += end - at;
    *to = '\0';
    return (size_t)(to - text);
}

#define PLAIN_PLACES 4
#define PLAIN_UNIT   1e4  /* 10^PLAIN_PLACES */
#define PLAIN_LIMIT  1e11 /* 10^15 units */

/* Amounts as they mostly are: whole, or with a few places.  Below 10^15 units
 * the nearest whole number of them is exact, and when it gives the double back
 * it is a text of at most 15 digits that reads back.  Of those there is one for
 * a double (DBL_DIG), and 15 digits are what find_shortest tries first: this is
 * its result.  Minus zero is left to it. */
static size_t spell_plain(double value, char *text)
{
    double size = fabs(value);
    uint64_t units;

    if (size < 1e15 && size == trunc(size) && (size > 0 || !signbit(value)))
        return spell_units(value < 0, (uint64_t)size, 0, text);
    if (!(size < PLAIN_LIMIT))
        return 0;
    units = (uint64_t)(size * PLAIN_UNIT + 0.5);
    if (units == 0 || (double)units / PLAIN_UNIT != size)
        return 0;
    return spell_units(value < 0, units, PLAIN_PLACES, text);
}

size_t decimal_double_text(double value, char text[32])
{
    struct shortest s;
    size_t len = spell_plain(value, text);

    CHECK(isfinite(value));
    if (len > 0)
        return len;
    find_shortest(value, &s);
    return spell_shortest(&s, text);
}
