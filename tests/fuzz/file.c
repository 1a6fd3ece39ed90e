#define _GNU_SOURCE /* memfd_create */
#include "fuzz/targets.h"

#include "base/base.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static int descriptor = -1;

const char *fuzz_file_open(struct str bytes)
{
    static char path[64];

    CHECK(descriptor < 0);
    descriptor = memfd_create("fuzz", MFD_CLOEXEC);
    CHECK(descriptor >= 0);
    CHECK(write(descriptor, bytes.ptr, bytes.len) == (ssize_t)bytes.len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    return path;
}

void fuzz_file_close(void)
{
    close(descriptor);
    descriptor = -1;
}
