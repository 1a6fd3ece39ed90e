/*
 * Life of a value: a script, a URL or a store gives it as text or as a number;
 * it is checked against its column's kind once, here, and kept in the form that
 * both stores take.  Its slices are in the arena of the batch or request that
 * made it; value_copy moves them when a value outlives that.
 *
 * What is known of a kind is in VALUE_KINDS and in the switches below, which
 * have no default so that a new kind cannot be forgotten.
 */
#include "base/value.h"
#include "base/clock.h"

#include <inttypes.h>
#include <math.h>

#define NAME_MAX_BYTES 48

/* ---- kinds ---- */

struct kind_row {
    const char *word;
    const char *pg_type;
    const char *lite_type;
    bool numeric;
};

static const struct kind_row kinds[VALUE_KIND_COUNT] = {
    [VALUE_NULL] = {"null", "", "", false},
#define X(constant, word, pg, lite, numeric)                                   \
    [constant] = {word, pg, lite, numeric},
    VALUE_KINDS(X)
#undef X
};

static const struct kind_row *row_of(enum value_kind kind)
{
    CHECK(kind < VALUE_KIND_COUNT);
    return &kinds[kind];
}

const char *value_word(enum value_kind kind)
{
    return row_of(kind)->word;
}

const char *value_pg_type(enum value_kind kind)
{
    return row_of(kind)->pg_type;
}

const char *value_lite_type(enum value_kind kind)
{
    return row_of(kind)->lite_type;
}

bool value_is_numeric(enum value_kind kind)
{
    return row_of(kind)->numeric;
}

bool value_parse_word(struct str word, enum value_kind *kind_out,
                      bool *nullable_out, struct err *err)
{
    bool nullable = word.len > 0 && word.ptr[word.len - 1] == '?';

    if (nullable)
        word.len--;
    for (enum value_kind kind = VALUE_NULL + 1; kind < VALUE_KIND_COUNT;
         kind++) {
        if (!str_eq(word, str_of(kinds[kind].word)))
            continue;
        *kind_out = kind;
        *nullable_out = nullable;
        return true;
    }
#define X(constant, word, pg, lite, numeric) " " word
    return err_set(err, ERR_INVALID_INPUT,
                   "no such column type; allowed are" VALUE_KINDS(
                       X) ", with ? behind it when it may be null");
#undef X
}

/* ---- tables ---- */

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_name(struct str name)
{
    if (name.len == 0 || name.len > NAME_MAX_BYTES || !is_lower(name.ptr[0]))
        return false;
    for (size_t i = 1; i < name.len; i++) {
        char c = name.ptr[i];

        if (!is_lower(c) && !(c >= '0' && c <= '9') && c != '_')
            return false;
        if (c == '_' && name.ptr[i - 1] == '_')
            return false;
    }
    return true;
}

bool value_check_name(struct str name, const char *what, struct err *err)
{
    if (is_name(name))
        return true;
    return err_set(err, ERR_INVALID_INPUT,
                   "%s: expected a lower-case letter, then lower-case letters, "
                   "digits and single '_', at most %d bytes",
                   what, NAME_MAX_BYTES);
}

int table_column(const struct table_def *table, struct str name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (str_eq(table->columns[i].name, name))
            return (int)i;
    return -1;
}

/* ---- from text ---- */

static bool fail_expected(struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID_INPUT, "expected %s", what);
}

/* What both stores can keep: PostgreSQL refuses NUL in text. */
static bool read_text(struct str text, struct arena *arena, struct value *out,
                      struct err *err)
{
    if (!str_is_utf8(text) ||
        (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL))
        return fail_expected(err, "text in UTF-8 without NUL");
    out->text = arena_str(arena, text);
    return true;
}

static bool read_integer(struct str text, int64_t least, int64_t most,
                         struct value *out, struct err *err)
{
    int64_t number;

    if (!str_to_i64(text, &number) || number < least || number > most)
        return err_set(err, ERR_INVALID_INPUT,
                       "expected a whole number from %" PRId64 " to %" PRId64,
                       least, most);
    out->i64 = number;
    return true;
}

static struct str keep_decimal(const struct decimal *d, struct arena *arena)
{
    struct buf text = {0};
    struct str kept;

    decimal_format(d, &text);
    kept = arena_str(arena, buf_as_str(&text));
    buf_done(&text);
    return kept;
}

static bool read_numeric(struct str text, struct arena *arena,
                         struct value *out, struct err *err)
{
    struct decimal number;
    bool good;

    decimal_init(&number);
    good = decimal_parse(&number, text, err);
    if (good)
        out->text = keep_decimal(&number, arena);
    decimal_done(&number);
    return good;
}

/* The grammar is that of JSON, so neither "nan" nor "0x1p3" gets in. */
static bool read_double(struct str text, struct value *out, struct err *err)
{
    struct json number;

    if (!json_check(text, NULL, err))
        return fail_expected(err, "a number");
    number = json_value(text);
    if (!json_double(number, &out->number))
        return fail_expected(err, "a number that fits a double");
    return true;
}

static bool read_boolean(struct str text, struct value *out, struct err *err)
{
    out->flag = str_eq(text, STR("true"));
    return out->flag || str_eq(text, STR("false")) ||
           fail_expected(err, "true or false");
}

static bool read_json(struct str text, struct arena *arena, struct value *out,
                      struct err *err)
{
    struct buf compact = {0};
    bool good = json_check(text, &compact, err);

    if (good)
        out->text = arena_str(arena, buf_as_str(&compact));
    else
        err->code = ERR_INVALID_INPUT;
    buf_done(&compact);
    return good;
}

static bool read_value(struct str text, struct arena *arena, struct value *out,
                       struct err *err)
{
    switch (out->kind) {
    case VALUE_TEXT:
        return read_text(text, arena, out, err);
    case VALUE_UUID:
        return uuid_parse(text, &out->uuid) || fail_expected(err, "a UUID");
    case VALUE_BIGINT:
        return read_integer(text, INT64_MIN, INT64_MAX, out, err);
    case VALUE_INTEGER:
        return read_integer(text, INT32_MIN, INT32_MAX, out, err);
    case VALUE_NUMERIC:
        return read_numeric(text, arena, out, err);
    case VALUE_DOUBLE:
        return read_double(text, out, err);
    case VALUE_BOOLEAN:
        return read_boolean(text, out, err);
    case VALUE_DATE:
        return clock_date_parse(text, &out->days) ||
               fail_expected(err, "a date such as 2010-12-01");
    case VALUE_TIMESTAMP:
        return clock_parse(text, &out->wall_us) ||
               fail_expected(err, "a time such as 2010-12-01T08:26:00Z");
    case VALUE_JSON:
        return read_json(text, arena, out, err);
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        break;
    }
    return false;
}

bool value_from_text(enum value_kind kind, struct str text, struct arena *arena,
                     struct value *out, struct err *err)
{
    struct value value = {.kind = kind};

    CHECK(kind > VALUE_NULL && kind < VALUE_KIND_COUNT);
    if (!read_value(text, arena, &value, err))
        return false;
    *out = value;
    return true;
}

/* ---- to text ---- */

static void format_double(double number, struct buf *out)
{
    char text[32];

    buf_add(out, text, decimal_double_text(number, text));
}

static void format_uuid(struct uuid id, struct buf *out)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    buf_text(out, text);
}

static void format_date(int32_t days, struct buf *out)
{
    char text[CLOCK_DATE_SIZE];

    clock_date_format(days, text);
    buf_text(out, text);
}

static void format_time(int64_t wall_us, struct buf *out)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(wall_us, text);
    buf_text(out, text);
}

void value_to_text(const struct value *value, struct buf *out)
{
    CHECK(value->kind != VALUE_NULL);
    switch (value->kind) {
    case VALUE_TEXT:
    case VALUE_NUMERIC:
    case VALUE_JSON:
        buf_str(out, value->text);
        return;
    case VALUE_UUID:
        format_uuid(value->uuid, out);
        return;
    case VALUE_BIGINT:
    case VALUE_INTEGER:
        buf_printf(out, "%" PRId64, value->i64);
        return;
    case VALUE_DOUBLE:
        format_double(value->number, out);
        return;
    case VALUE_BOOLEAN:
        buf_text(out, value->flag ? "true" : "false");
        return;
    case VALUE_DATE:
        format_date(value->days, out);
        return;
    case VALUE_TIMESTAMP:
        format_time(value->wall_us, out);
        return;
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        return;
    }
}

static void write_quoted(struct json_out *out, const char *key,
                         const struct value *value)
{
    struct buf text = {0};

    value_to_text(value, &text);
    json_put_str(out, key, buf_as_str(&text));
    buf_done(&text);
}

void value_write(struct json_out *out, const char *key,
                 const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        json_put_null(out, key);
        return;
    case VALUE_TEXT:
    case VALUE_NUMERIC:
        json_put_str(out, key, value->text);
        return;
    case VALUE_JSON:
        json_put_raw(out, key, value->text);
        return;
    case VALUE_BIGINT:
    case VALUE_INTEGER:
        json_put_i64(out, key, value->i64);
        return;
    case VALUE_DOUBLE:
        json_put_double(out, key, value->number);
        return;
    case VALUE_BOOLEAN:
        json_put_bool(out, key, value->flag);
        return;
    case VALUE_TIMESTAMP:
        json_put_time(out, key, value->wall_us);
        return;
    case VALUE_UUID:
    case VALUE_DATE:
        write_quoted(out, key, value);
        return;
    case VALUE_KIND_COUNT:
        return;
    }
}

/* ---- order ---- */

#define ORDER(a, b) (((a) > (b)) - ((a) < (b)))

static int same_kind_cmp(const struct value *a, const struct value *b)
{
    switch (a->kind) {
    case VALUE_TEXT:
    case VALUE_JSON:
        return str_cmp(a->text, b->text);
    case VALUE_NUMERIC:
        return decimal_text_cmp(a->text, b->text);
    case VALUE_UUID:
        return memcmp(a->uuid.bytes, b->uuid.bytes, sizeof(a->uuid.bytes));
    case VALUE_BIGINT:
    case VALUE_INTEGER:
        return ORDER(a->i64, b->i64);
    case VALUE_DOUBLE:
        return ORDER(a->number, b->number);
    case VALUE_BOOLEAN:
        return ORDER(a->flag, b->flag);
    case VALUE_DATE:
        return ORDER(a->days, b->days);
    case VALUE_TIMESTAMP:
        return ORDER(a->wall_us, b->wall_us);
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        break;
    }
    return 0;
}

int value_cmp(const struct value *a, const struct value *b)
{
    if (a->kind == VALUE_NULL || b->kind == VALUE_NULL)
        return ORDER(a->kind != VALUE_NULL, b->kind != VALUE_NULL);
    CHECK(a->kind == b->kind);
    return same_kind_cmp(a, b);
}

bool value_eq(const struct value *a, const struct value *b)
{
    return value_cmp(a, b) == 0;
}

/* ---- hash: equal values, equal hashes ---- */

/* 1.50 and 1.5 are equal, so zeros at the end of a fraction do not count. */
static uint64_t hash_numeric(struct str text)
{
    if (memchr(text.ptr, '.', text.len) != NULL) {
        while (text.ptr[text.len - 1] == '0')
            text.len--;
        if (text.ptr[text.len - 1] == '.')
            text.len--;
    }
    return str_hash(text);
}

static uint64_t hash_i64(int64_t number)
{
    return str_hash(str_n((const char *)&number, sizeof(number)));
}

static uint64_t hash_double(double number)
{
    int64_t bits;

    if (number == 0)
        number = 0; /* minus zero equals zero */
    memcpy(&bits, &number, sizeof(bits));
    return hash_i64(bits);
}

uint64_t value_hash(const struct value *value)
{
    switch (value->kind) {
    case VALUE_TEXT:
    case VALUE_JSON:
        return str_hash(value->text);
    case VALUE_NUMERIC:
        return hash_numeric(value->text);
    case VALUE_UUID:
        return str_hash(
            str_n((const char *)value->uuid.bytes, sizeof(value->uuid.bytes)));
    case VALUE_BIGINT:
    case VALUE_INTEGER:
        return hash_i64(value->i64);
    case VALUE_DOUBLE:
        return hash_double(value->number);
    case VALUE_BOOLEAN:
        return hash_i64(value->flag);
    case VALUE_DATE:
        return hash_i64(value->days);
    case VALUE_TIMESTAMP:
        return hash_i64(value->wall_us);
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        break;
    }
    return 0;
}

/* ---- copies and sums ---- */

static bool has_text(enum value_kind kind)
{
    return kind == VALUE_TEXT || kind == VALUE_NUMERIC || kind == VALUE_JSON;
}

struct value value_copy(struct arena *arena, const struct value *value)
{
    struct value copy = *value;

    if (has_text(value->kind))
        copy.text = arena_str(arena, value->text);
    return copy;
}

static bool add_integer(struct value *sum, int64_t amount, int64_t least,
                        int64_t most, struct err *err)
{
    int64_t total;

    if (__builtin_add_overflow(sum->i64, amount, &total) || total < least ||
        total > most)
        return err_set(err, ERR_INVALID_INPUT,
                       "%" PRId64 " + %" PRId64 " does not fit %s", sum->i64,
                       amount, value_word(sum->kind));
    sum->i64 = total;
    return true;
}

static bool add_numeric(struct arena *arena, struct value *sum,
                        struct str amount, struct err *err)
{
    struct decimal total;
    struct decimal more;
    bool good;

    decimal_init(&total);
    decimal_init(&more);
    good = decimal_parse(&total, sum->text, err) &&
           decimal_parse(&more, amount, err) &&
           decimal_add(&total, &total, &more, err);
    if (good)
        sum->text = keep_decimal(&total, arena);
    decimal_done(&more);
    decimal_done(&total);
    return good;
}

static bool add_double(struct value *sum, double amount, struct err *err)
{
    double total = sum->number + amount;

    if (!isfinite(total))
        return err_set(err, ERR_INVALID_INPUT, "%g + %g does not fit a double",
                       sum->number, amount);
    sum->number = total;
    return true;
}

static bool add_same_kind(struct arena *arena, struct value *sum,
                          const struct value *amount, struct err *err)
{
    switch (sum->kind) {
    case VALUE_BIGINT:
        return add_integer(sum, amount->i64, INT64_MIN, INT64_MAX, err);
    case VALUE_INTEGER:
        return add_integer(sum, amount->i64, INT32_MIN, INT32_MAX, err);
    case VALUE_NUMERIC:
        return add_numeric(arena, sum, amount->text, err);
    case VALUE_DOUBLE:
        return add_double(sum, amount->number, err);
    case VALUE_NULL:
    case VALUE_TEXT:
    case VALUE_UUID:
    case VALUE_BOOLEAN:
    case VALUE_DATE:
    case VALUE_TIMESTAMP:
    case VALUE_JSON:
    case VALUE_KIND_COUNT:
        break;
    }
    return false;
}

/* The value that is there before anything else is. */
static struct value empty_value(enum value_kind kind)
{
    struct value value = {.kind = kind};

    if (kind == VALUE_TEXT)
        value.text = STR("");
    else if (kind == VALUE_NUMERIC)
        value.text = STR("0");
    else if (kind == VALUE_JSON)
        value.text = STR("{}");
    return value;
}

bool value_add(struct arena *arena, enum value_kind kind, struct value *sum,
               const struct value *amount, struct err *err)
{
    struct value total = sum->kind == VALUE_NULL ? empty_value(kind) : *sum;

    CHECK(value_is_numeric(kind));
    CHECK(total.kind == kind && amount->kind == kind);
    if (!add_same_kind(arena, &total, amount, err))
        return false;
    *sum = total;
    return true;
}

struct value value_zero(const struct column_def *column)
{
    if (column->nullable && !value_is_numeric(column->kind))
        return (struct value){.kind = VALUE_NULL};
    return empty_value(column->kind);
}
