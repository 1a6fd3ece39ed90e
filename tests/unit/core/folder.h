#pragma once
/*
 * A folder for the time of a test.
 */
#include "base/base.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct folder {
    char path[256];
};

static inline struct folder folder_new(void)
{
    const char *base = getenv("TMPDIR");
    struct folder folder;

    (void)snprintf(folder.path, sizeof(folder.path), "%s/perigee-test.XXXXXX",
                   base != NULL ? base : "/tmp");
    CHECK(mkdtemp(folder.path) != NULL);
    return folder;
}

/* The path of `name` below the folder, good until the next call. */
static inline const char *folder_path(const struct folder *folder,
                                      const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    return path;
}

static inline void folder_write(const struct folder *folder, const char *name,
                                const char *text)
{
    FILE *file = fopen(folder_path(folder, name), "w");

    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK(fclose(file) == 0);
}

static inline int folder_remove_one(const char *path,
                                    const struct stat *st UNUSED,
                                    int kind UNUSED, struct FTW *at UNUSED)
{
    return remove(path);
}

static inline void folder_remove(const struct folder *folder)
{
    CHECK(nftw(folder->path, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}
