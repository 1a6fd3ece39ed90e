#pragma once
/*
 * Parameters of a statement in PostgreSQL's binary form, built one after the
 * other in one buffer: a scalar is one put, an array is
 *
 *     pg_array_begin(args, PG_INT8, count);
 *     ... count puts ...
 *     pg_array_end(args);
 *
 * The types must be those the statement declares ($1::bigint, $2::text[]);
 * PostgreSQL refuses lengths that do not fit.  Zeroed memory is empty; one
 * thread at a time.
 */
#include "base/buf.h"
#include "base/uuid.h"
#include "base/value.h"

/* Object ids of built-in types, which never change. */
enum pg_type {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_INT8 = 20,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_JSON = 114,
    PG_FLOAT8 = 701,
    PG_DATE = 1082,
    PG_TIMESTAMPTZ = 1184,
    PG_UUID = 2950,
};

/* A batch's statement has one array a column and zeros beside. */
#define PG_MAX_ARGS (TABLE_MAX_COLUMNS + 16)

struct pg_args {
    struct buf bytes;
    int count;
    bool in_array;
    size_t at[PG_MAX_ARGS];
    int lengths[PG_MAX_ARGS]; /* -1: null */
};

/* Empty; a large buffer is freed, a small one kept. */
void pg_args_clear(struct pg_args *args);
void pg_args_done(struct pg_args *args);

/* What is put between these two are the array's elements, `count` of them. */
void pg_array_begin(struct pg_args *args, enum pg_type element, size_t count);
void pg_array_end(struct pg_args *args);

/* Of any type. */
void pg_put_null(struct pg_args *args);
/* bigint */
void pg_put_i64(struct pg_args *args, int64_t value);
/* Positions, versions, limits.  What is larger than PostgreSQL's type becomes
 * its largest: no position and no count is beyond that. */
void pg_put_u64(struct pg_args *args, uint64_t value);
/* integer */
void pg_put_i32(struct pg_args *args, int32_t value);
void pg_put_u32(struct pg_args *args, uint32_t value);
/* Text, json, and the bytes of a bytea; STR_NONE is null. */
void pg_put_str(struct pg_args *args, struct str value);
void pg_put_uuid(struct pg_args *args, struct uuid value);
void pg_put_time(struct pg_args *args, int64_t wall_us);
/* A column's value; numeric goes as text and is cast by the statement. */
void pg_put_value(struct pg_args *args, const struct value *value);

/* How a column's values travel: the type of an array's elements, and its name
 * in a statement. */
enum pg_type pg_value_type(enum value_kind kind);
const char *pg_value_type_name(enum value_kind kind);
