#include "store/pg_args.h"

#include "store/pg_fields.h"

/*
 * All parameters of a statement lie behind each other in `bytes`; `at` and
 * `lengths` say where.  Places, not pointers, because the buffer moves as it
 * grows; they become pointers when the statement is sent, and libpq has copied
 * the bytes when that returns.
 */

#define KEPT_BYTES ((size_t)1024 * 1024)

static void put_be32(struct buf *out, uint32_t v)
{
    uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16),
                        (uint8_t)(v >> 8), (uint8_t)v};

    buf_add(out, bytes, sizeof(bytes));
}

static void write_be64(uint8_t bytes[8], uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        bytes[i] = (uint8_t)v;
}

static void new_arg(struct pg_args *args, int len)
{
    CHECK(args->count < PG_MAX_ARGS);
    args->at[args->count] = args->bytes.len;
    args->lengths[args->count++] = len;
}

/* An element follows its length; a scalar's length is kept aside. */
static void put(struct pg_args *args, const void *bytes, size_t len)
{
    CHECK(len < INT32_MAX);
    if (args->in_array)
        put_be32(&args->bytes, (uint32_t)len);
    else
        new_arg(args, (int)len);
    buf_add(&args->bytes, bytes, len);
}

void pg_args_clear(struct pg_args *args)
{
    if (args->bytes.capacity > KEPT_BYTES)
        buf_done(&args->bytes);
    else
        buf_clear(&args->bytes);
    args->count = 0;
    args->in_array = false;
}

void pg_args_done(struct pg_args *args)
{
    buf_done(&args->bytes);
}

/* One dimension that starts at 1; or none at all when it is empty. */
void pg_array_begin(struct pg_args *args, enum pg_type element, size_t count)
{
    CHECK(!args->in_array && count < INT32_MAX);
    new_arg(args, 0);
    args->in_array = true;
    put_be32(&args->bytes, count > 0);
    put_be32(&args->bytes, 1); /* there may be nulls */
    put_be32(&args->bytes, element);
    if (count == 0)
        return;
    put_be32(&args->bytes, (uint32_t)count);
    put_be32(&args->bytes, 1);
}

void pg_array_end(struct pg_args *args)
{
    int last = args->count - 1;
    size_t len = args->bytes.len - args->at[last];

    CHECK(args->in_array && len < INT32_MAX);
    args->lengths[last] = (int)len;
    args->in_array = false;
}

void pg_put_null(struct pg_args *args)
{
    if (args->in_array)
        put_be32(&args->bytes, UINT32_MAX);
    else
        new_arg(args, -1);
}

void pg_put_i64(struct pg_args *args, int64_t value)
{
    uint8_t bytes[8];

    write_be64(bytes, (uint64_t)value);
    put(args, bytes, sizeof(bytes));
}

void pg_put_u64(struct pg_args *args, uint64_t value)
{
    pg_put_i64(args, (int64_t)MIN(value, INT64_MAX));
}

void pg_put_i32(struct pg_args *args, int32_t value)
{
    uint32_t v = (uint32_t)value;
    uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16),
                        (uint8_t)(v >> 8), (uint8_t)v};

    put(args, bytes, sizeof(bytes));
}

void pg_put_u32(struct pg_args *args, uint32_t value)
{
    pg_put_i32(args, (int32_t)MIN(value, INT32_MAX));
}

void pg_put_str(struct pg_args *args, struct str value)
{
    if (str_is_none(value))
        pg_put_null(args);
    else
        put(args, value.ptr, value.len);
}

void pg_put_uuid(struct pg_args *args, struct uuid value)
{
    put(args, value.bytes, sizeof(value.bytes));
}

void pg_put_time(struct pg_args *args, int64_t wall_us)
{
    pg_put_i64(args, wall_us - PG_EPOCH_US);
}

static void put_double(struct pg_args *args, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    pg_put_i64(args, (int64_t)bits);
}

static void put_flag(struct pg_args *args, bool flag)
{
    uint8_t byte = flag;

    put(args, &byte, sizeof(byte));
}

void pg_put_value(struct pg_args *args, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        pg_put_null(args);
        break;
    case VALUE_TEXT:
    case VALUE_NUMERIC:
    case VALUE_JSON:
        put(args, value->text.ptr, value->text.len);
        break;
    case VALUE_UUID:
        pg_put_uuid(args, value->uuid);
        break;
    case VALUE_BIGINT:
        pg_put_i64(args, value->i64);
        break;
    case VALUE_INTEGER:
        pg_put_i32(args, (int32_t)value->i64);
        break;
    case VALUE_DOUBLE:
        put_double(args, value->number);
        break;
    case VALUE_BOOLEAN:
        put_flag(args, value->flag);
        break;
    case VALUE_DATE:
        pg_put_i32(args, value->days - PG_EPOCH_DAYS);
        break;
    case VALUE_TIMESTAMP:
        pg_put_time(args, value->wall_us);
        break;
    case VALUE_KIND_COUNT:
        CHECK(value->kind < VALUE_KIND_COUNT);
    }
}

/* clang-format off */
static const struct {
    enum pg_type type;
    const char *name;
} value_types[VALUE_KIND_COUNT] = {
    [VALUE_TEXT]      = {PG_TEXT,        "text"},
    [VALUE_UUID]      = {PG_UUID,        "uuid"},
    [VALUE_BIGINT]    = {PG_INT8,        "bigint"},
    [VALUE_INTEGER]   = {PG_INT4,        "integer"},
    [VALUE_NUMERIC]   = {PG_TEXT,        "text"},
    [VALUE_DOUBLE]    = {PG_FLOAT8,      "double precision"},
    [VALUE_BOOLEAN]   = {PG_BOOL,        "boolean"},
    [VALUE_DATE]      = {PG_DATE,        "date"},
    [VALUE_TIMESTAMP] = {PG_TIMESTAMPTZ, "timestamptz"},
    [VALUE_JSON]      = {PG_JSON,        "json"},
};
/* clang-format on */

enum pg_type pg_value_type(enum value_kind kind)
{
    return value_types[kind].type;
}

const char *pg_value_type_name(enum value_kind kind)
{
    return value_types[kind].name;
}
