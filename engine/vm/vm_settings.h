#pragma once
/*
 * A settings file: Lua that returns a table and can call `env`, `secret_file`
 * and nothing else.  It is flattened to scalars with full names, in byte
 * order; lists become one text with commas.
 */
#include "vm/vm.h"

struct setting_value {
    const char *key; /* "database.pool_size" */
    enum {
        SETTING_IS_TEXT,
        SETTING_IS_NUMBER,
        SETTING_IS_BOOL,
        SETTING_IS_EMPTY, /* a table that says nothing */
    } kind;
    struct str text; /* for numbers too: shortest spelling */
    double number;
    bool flag;
};

/* Calls `each` for every scalar and every empty table.  ERR_CONFIG, "file:line:
 * …", when the file cannot be read or run, or holds something that is no
 * setting (a function). */
bool vm_read_settings(const char *path,
                      void (*each)(void *context, const struct setting_value *),
                      void *context, struct err *err) MUST_USE;
