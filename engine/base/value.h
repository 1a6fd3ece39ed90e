#pragma once
/*
 * Values of read-model columns, and the declaration of a table: what scripts
 * write, the overlay keeps, and both stores keep and give back.  The table of
 * kinds is the only place that knows the words that scripts use for them.
 *
 * Slices in a value point into the arena of whoever made it.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/uuid.h"

/* clang-format off */
#define VALUE_KINDS(X)                                                          \
    /* constant          word         PostgreSQL          SQLite    numeric (may be added to) */ \
    X(VALUE_TEXT,      "text",      "text collate \"C\"", "text",    false) \
    X(VALUE_UUID,      "uuid",      "uuid",               "text",    false) \
    X(VALUE_BIGINT,    "bigint",    "bigint",             "integer", true)  \
    X(VALUE_INTEGER,   "integer",   "integer",            "integer", true)  \
    X(VALUE_NUMERIC,   "numeric",   "numeric",            "text collate decimal", true) \
    X(VALUE_DOUBLE,    "double",    "double precision",   "real",    true)  \
    X(VALUE_BOOLEAN,   "boolean",   "boolean",            "integer", false) \
    X(VALUE_DATE,      "date",      "date",               "text",    false) \
    X(VALUE_TIMESTAMP, "timestamp", "timestamptz",        "text",    false) \
    X(VALUE_JSON,      "json",      "json",               "text",    false)
/* clang-format on */

enum value_kind {
    VALUE_NULL, /* of any column that may be null */
#define X(constant, word, pg, lite, numeric) constant,
    VALUE_KINDS(X)
#undef X
        VALUE_KIND_COUNT
};

struct value {
    enum value_kind kind;
    union {
        /* TEXT as it is; NUMERIC in canonical plain notation (base/decimal.h);
         * JSON checked and compact.  On SQLite uuid, date and timestamp are
         * stored as their canonical text, which sorts as the value does. */
        struct str text;
        struct uuid uuid;
        int64_t i64;     /* BIGINT, INTEGER */
        double number;   /* DOUBLE, never NaN or infinite */
        bool flag;       /* BOOLEAN */
        int32_t days;    /* DATE: since 1970-01-01 */
        int64_t wall_us; /* TIMESTAMP: since 1970, UTC */
    };
};

#define TABLE_MAX_COLUMNS 64
#define TABLE_MAX_INDEXES 16
#define TABLE_MAX_KEY     1 /* composite keys come with their issue */

struct column_def {
    struct str name;
    enum value_kind kind;
    bool nullable;
};

struct index_def {
    size_t count;
    size_t columns[8]; /* places in table_def.columns */
};

/* The key column comes first.  Columns of the installed generation keep their
 * places and new ones follow, by name: a view may only grow at its end.  A
 * first generation is in the order of names, as a Lua table has none of its
 * own. */
struct table_def {
    struct str name;
    size_t column_count;
    struct column_def columns[TABLE_MAX_COLUMNS];
    size_t key; /* place of the key column: always 0 */
    size_t index_count;
    struct index_def indexes[TABLE_MAX_INDEXES];
};

/* What scripts call a kind, the column types of the two stores, and whether
 * `add` takes it. */
const char *value_word(enum value_kind kind);
const char *value_pg_type(enum value_kind kind);
const char *value_lite_type(enum value_kind kind);
bool value_is_numeric(enum value_kind kind);
/* "text?" and the like; ERR_INVALID_INPUT lists the allowed words. */
bool value_parse_word(struct str word, enum value_kind *kind_out,
                      bool *nullable_out, struct err *err) MUST_USE;

/* Table and column names: a lower-case letter, then lower-case letters,
 * digits and `_`, at most 48 bytes, no `__` (generations use it).  Refused:
 * names that begin with `perigee_`, `sqlite_` or `pg_`, and ctid, oid, rowid,
 * tableoid, xmin, xmax, cmin, cmax. */
bool value_check_name(struct str name, const char *what,
                      struct err *err) MUST_USE;
/* Place of a column, or -1. */
int table_column(const struct table_def *table, struct str name);

/* Reads a value of `kind` from plain text (a URL, a CLI filter, a SQLite
 * column): numbers, RFC 3339, true/false, UUIDs.  ERR_INVALID_INPUT says what
 * is expected. */
bool value_from_text(enum value_kind kind, struct str text, struct arena *arena,
                     struct value *out, struct err *err) MUST_USE;
/* The canonical text of a value (not of VALUE_NULL): what value_from_text
 * takes, what the API shows, what SQLite stores for textual kinds. */
void value_to_text(const struct value *value, struct buf *out);
/* As JSON: bigint, integer, double as numbers, boolean as itself, json raw,
 * everything else (numeric too) as strings. */
void value_write(struct json_out *out, const char *key,
                 const struct value *value);
/* By value within one kind (numeric 1.5 == 1.50); null before all. */
int value_cmp(const struct value *a, const struct value *b);
bool value_eq(const struct value *a, const struct value *b);
uint64_t value_hash(const struct value *value);
/* A copy whose slices are in `arena`. */
struct value value_copy(struct arena *arena, const struct value *value);
/* Adds `amount` to `*sum`, both of the same numeric kind: exactly for numeric,
 * range-checked for bigint and integer (ERR_INVALID_INPUT).  A VALUE_NULL sum
 * counts as zero. */
bool value_add(struct arena *arena, enum value_kind kind, struct value *sum,
               const struct value *amount, struct err *err) MUST_USE;
/* The zero that `add` starts from (numeric kinds), or VALUE_NULL for a
 * nullable column, or the kind's own empty value: "" for text, nil uuid,
 * false, 1970-01-01, {} for json. */
struct value value_zero(const struct column_def *column);
