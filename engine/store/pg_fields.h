#pragma once
/*
 * Fields of a result in PostgreSQL's binary form.  The caller knows the types,
 * because it wrote the statement; a field of another size is our own mistake.
 * Slices point into the result, which the connection keeps until the next
 * exchange.
 */
#include "base/event.h"
#include "base/value.h"

#include <libpq-fe.h>

/* PostgreSQL counts from 2000-01-01. */
#define PG_EPOCH_DAYS 10957
#define PG_EPOCH_US   ((int64_t)PG_EPOCH_DAYS * 86400 * 1000000)

/* Any type; the others below are for bigint and integer. */
bool pg_is_null(const PGresult *rows, int row, int column);
int64_t pg_i64(const PGresult *rows, int row, int column);
/* A position, a version: null is 0. */
uint64_t pg_u64(const PGresult *rows, int row, int column);
int32_t pg_i32(const PGresult *rows, int row, int column);
uint32_t pg_u32(const PGresult *rows, int row, int column);
bool pg_bool(const PGresult *rows, int row, int column);
/* Null is STR_NONE. */
struct str pg_str(const PGresult *rows, int row, int column);
/* Null is nil. */
struct uuid pg_uuid(const PGresult *rows, int row, int column);
/* Microseconds since 1970. */
int64_t pg_time(const PGresult *rows, int row, int column);

/* A column's value (numeric was selected as text); texts are copied. */
struct value pg_value(const PGresult *rows, int row, int column,
                      enum value_kind kind, struct arena *arena);

/* The columns of an event, in the order that pg_event reads; `e` is the table's
 * alias. */
#define PG_EVENT_COLUMNS                                                       \
    "e.position, e.event_id, e.event_type, e.event_version, e.aggregate_type," \
    " e.aggregate_id, e.aggregate_version, e.data, e.metadata, e.tenant_id,"   \
    " e.actor_id, e.correlation_id, e.causation_id, e.occurred_at,"            \
    " e.recorded_at"
#define PG_EVENT_COLUMN_COUNT 15

/* The row's event; its texts are in the result. */
struct event pg_event(const PGresult *rows, int row);
