#pragma once
/* A folder of its own for each test of the SQLite store. */
#define _GNU_SOURCE /* nftw */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/lite_store.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64];

static inline int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/perigee-lite-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *stat,
                             int kind, struct FTW *where)
{
    (void)stat;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in the folder; good until the next but three. */
static inline const char *in_folder(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static inline void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline struct store *open_lite(const char *path, struct err *err)
{
    struct store_options options = {
        .url = "",
        .pool_size = 3,
        .pool_timeout_ms = 10000,
        .statement_timeout_ms = 10000,
    };

    return lite_store_open(&options, path, err);
}

static inline struct store *open_migrated(const char *path)
{
    struct err err = {0};
    struct store *store = open_lite(path, &err);
    uint32_t steps;

    if (store == NULL || !lite_migrate(store, &steps, &err))
        fail_msg("%s", err.text);
    return store;
}

#define lite_test(name)                                                        \
    cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
