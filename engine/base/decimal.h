#pragma once
/*
 * Exact decimals: an integer of any size (GMP) and a power-of-ten scale, at
 * most DECIMAL_MAX_DIGITS digits in all, checked before anything is allocated.
 *
 * Rules.  Text is plain notation, the scale is kept
 * ("1.50" stays "1.50"), minus zero is zero.  Sum and difference have the
 * larger scale, a product the sum of both scales; a quotient has up to 28
 * significant digits, rounded half to even, trailing zeros dropped down to the
 * larger scale of the operands.  Comparison is by value: 1.5 == 1.50.
 *
 * A struct decimal is initialised by decimal_init (value 0) and freed by
 * decimal_done; results may be one of the operands.
 */
#include "base/buf.h"
#include "base/err.h"

#include <gmp.h>

#define DECIMAL_MAX_DIGITS 1000

struct decimal {
    mpz_t digits; /* value = digits / 10^scale */
    uint32_t scale;
};

/* `decimal_init` makes a zero; `out` of a copy is one already, as in all
 * functions below. */
void decimal_init(struct decimal *d);
void decimal_done(struct decimal *d);
void decimal_copy(struct decimal *out, const struct decimal *from);

/* "-12.50", "3", ".5" is refused, "1e3" and "1.5E-2" are taken (JSON numbers).
 * ERR_INVALID_INPUT when it is not a number or has too many digits. */
bool decimal_parse(struct decimal *out, struct str text,
                   struct err *err) MUST_USE;
void decimal_from_i64(struct decimal *out, int64_t value);
/* The shortest spelling that reads back as the same double; not for NaN or
 * infinity (ERR_INVALID_INPUT). */
bool decimal_from_double(struct decimal *out, double value,
                         struct err *err) MUST_USE;

/* Appends the plain text. */
void decimal_format(const struct decimal *d, struct buf *out);
double decimal_to_double(const struct decimal *d);
/* True when it is a whole number that fits; `1.00` is whole. */
bool decimal_to_i64(const struct decimal *d, int64_t *out) MUST_USE;

/* Fail with ERR_INVALID_INPUT when the result has too many digits. */
bool decimal_add(struct decimal *out, const struct decimal *a,
                 const struct decimal *b, struct err *err) MUST_USE;
bool decimal_sub(struct decimal *out, const struct decimal *a,
                 const struct decimal *b, struct err *err) MUST_USE;
bool decimal_mul(struct decimal *out, const struct decimal *a,
                 const struct decimal *b, struct err *err) MUST_USE;
/* Also fails for a zero divisor. */
bool decimal_div(struct decimal *out, const struct decimal *a,
                 const struct decimal *b, struct err *err) MUST_USE;
void decimal_neg(struct decimal *out, const struct decimal *a);
int decimal_cmp(const struct decimal *a, const struct decimal *b);
/* To exactly `places` after the point (0 and more), half to even. */
bool decimal_round(struct decimal *out, const struct decimal *a,
                   uint32_t places, struct err *err) MUST_USE;

/* Compares two texts by value without allocating for ordinary money; for
 * SQLite's collation `decimal`.  Texts that are no decimals sort after all
 * that are, by bytes, so that the order is total. */
int decimal_text_cmp(struct str a, struct str b);
/* The shortest text of a double that reads back the same; `text` has room for
 * 32 bytes.  Shared by the JSON codec and decimal_from_double. */
size_t decimal_double_text(double value, char text[32]);
