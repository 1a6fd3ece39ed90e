#include "store/pg_fields.h"

static const uint8_t *field(const PGresult *rows, int row, int column, int size)
{
    CHECK(PQgetlength(rows, row, column) == size);
    return (const uint8_t *)PQgetvalue(rows, row, column);
}

static uint64_t read_be(const uint8_t *bytes, int size)
{
    uint64_t v = 0;

    for (int i = 0; i < size; i++)
        v = v << 8 | bytes[i];
    return v;
}

bool pg_is_null(const PGresult *rows, int row, int column)
{
    return PQgetisnull(rows, row, column) != 0;
}

int64_t pg_i64(const PGresult *rows, int row, int column)
{
    return (int64_t)read_be(field(rows, row, column, 8), 8);
}

uint64_t pg_u64(const PGresult *rows, int row, int column)
{
    int64_t v = pg_is_null(rows, row, column) ? 0 : pg_i64(rows, row, column);

    CHECK(v >= 0);
    return (uint64_t)v;
}

int32_t pg_i32(const PGresult *rows, int row, int column)
{
    return (int32_t)read_be(field(rows, row, column, 4), 4);
}

uint32_t pg_u32(const PGresult *rows, int row, int column)
{
    int32_t v = pg_i32(rows, row, column);

    CHECK(v >= 0);
    return (uint32_t)v;
}

bool pg_bool(const PGresult *rows, int row, int column)
{
    return *field(rows, row, column, 1) != 0;
}

struct str pg_str(const PGresult *rows, int row, int column)
{
    if (pg_is_null(rows, row, column))
        return STR_NONE;
    return str_n(PQgetvalue(rows, row, column),
                 (size_t)PQgetlength(rows, row, column));
}

struct uuid pg_uuid(const PGresult *rows, int row, int column)
{
    struct uuid id = {{0}};

    if (!pg_is_null(rows, row, column))
        memcpy(id.bytes, field(rows, row, column, 16), sizeof(id.bytes));
    return id;
}

/* `infinity` is the largest number and must not overflow. */
int64_t pg_time(const PGresult *rows, int row, int column)
{
    int64_t us = pg_i64(rows, row, column);

    return us > INT64_MAX - PG_EPOCH_US ? us : us + PG_EPOCH_US;
}

static int32_t days_of(int32_t days)
{
    return days > INT32_MAX - PG_EPOCH_DAYS ? days : days + PG_EPOCH_DAYS;
}

static double double_of(int64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof(number));
    return number;
}

struct value pg_value(const PGresult *rows, int row, int column,
                      enum value_kind kind, struct arena *arena)
{
    struct value value = {.kind = kind};

    if (pg_is_null(rows, row, column))
        return (struct value){.kind = VALUE_NULL};
    switch (kind) {
    case VALUE_TEXT:
    case VALUE_NUMERIC:
    case VALUE_JSON:
        value.text = arena_str(arena, pg_str(rows, row, column));
        break;
    case VALUE_UUID:
        value.uuid = pg_uuid(rows, row, column);
        break;
    case VALUE_BIGINT:
        value.i64 = pg_i64(rows, row, column);
        break;
    case VALUE_INTEGER:
        value.i64 = pg_i32(rows, row, column);
        break;
    case VALUE_DOUBLE:
        value.number = double_of(pg_i64(rows, row, column));
        break;
    case VALUE_BOOLEAN:
        value.flag = pg_bool(rows, row, column);
        break;
    case VALUE_DATE:
        value.days = days_of(pg_i32(rows, row, column));
        break;
    case VALUE_TIMESTAMP:
        value.wall_us = pg_time(rows, row, column);
        break;
    case VALUE_NULL:
    case VALUE_KIND_COUNT:
        CHECK(kind != VALUE_NULL && kind < VALUE_KIND_COUNT);
    }
    return value;
}

struct event pg_event(const PGresult *rows, int row)
{
    return (struct event){
        .position = pg_u64(rows, row, 0),
        .event_id = pg_uuid(rows, row, 1),
        .event_type = pg_str(rows, row, 2),
        .event_version = pg_u32(rows, row, 3),
        .aggregate_type = pg_str(rows, row, 4),
        .aggregate_id = pg_str(rows, row, 5),
        .aggregate_version = pg_u64(rows, row, 6),
        .data = pg_str(rows, row, 7),
        .metadata = pg_str(rows, row, 8),
        .tenant_id = pg_str(rows, row, 9),
        .actor_id = pg_str(rows, row, 10),
        .correlation_id = pg_str(rows, row, 11),
        .causation_id = pg_str(rows, row, 12),
        .occurred_at_us = pg_time(rows, row, 13),
        .recorded_at_us = pg_time(rows, row, 14),
    };
}
