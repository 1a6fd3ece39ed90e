#pragma once
/*
 * Bodies by table: an object's members are looked up by name, checked by kind
 * and put where the table says.  All faults are collected, not only the first:
 * each names its field (`errors: [{field, message}]`).
 *
 * A field that may be left out may also be null; its place then keeps what it
 * had.  Slices point into the checked body or the arena.
 */
#include "base/event.h"

/* What is wrong with one request. */
struct faults {
    struct err *err; /* borrowed; set with the first fault */
    size_t count;
};

/* Where an object stands in the body: "events" and 3 make "events[3].data";
 * without a list the name stands alone. */
struct field_scope {
    const char *list; /* NULL: the body itself */
    size_t index;
};

enum field_kind {
    FIELD_NAME,   /* struct str: event_check_name */
    FIELD_LABEL,  /* struct str: request_is_label */
    FIELD_OBJECT, /* struct str: the raw object */
    FIELD_UUID,   /* struct uuid, not nil */
    FIELD_U32,    /* uint32_t, from 1 */
    FIELD_U64,    /* uint64_t, to 2^63 - 1 */
    FIELD_TIME,   /* int64_t: microseconds since 1970 */
    FIELD_JSON,   /* struct json, whatever it is */
};

struct field {
    const char *name;
    enum field_kind kind;
    bool required;
    size_t offset;
};

#define FIELDS_MAX 16

/* Reads `object` into the struct at `out`. */
void fields_read(struct json object, const struct field *fields, size_t count,
                 struct field_scope scope, struct arena *arena, void *out,
                 struct faults *faults);

/* Notes one fault, ERR_INVALID_INPUT. */
void faults_add(struct faults *faults, struct field_scope scope,
                struct str field, const char *format, ...) PRINTF_LIKE(4, 5);
