#include "store/store.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>

static char libpq_version[24];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* 150014 is 15.14. */
static void write_libpq_version(void)
{
    int version = PQlibVersion();

    snprintf(libpq_version, sizeof(libpq_version), "%d.%d", version / 10000,
             version % 10000);
}

const char *store_library_version(enum store_kind kind)
{
    if (kind == STORE_SQLITE)
        return sqlite3_libversion();
    pthread_once(&once, write_libpq_version);
    return libpq_version;
}
