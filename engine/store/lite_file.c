#define _GNU_SOURCE /* statx */

#include "store/lite_file.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int64_t born_ns(const struct statx *found)
{
    if ((found->stx_mask & STATX_BTIME) == 0)
        return 0;
    return found->stx_btime.tv_sec * INT64_C(1000000000) +
           found->stx_btime.tv_nsec;
}

bool lite_file_look(const char *path, struct lite_file *out, struct err *err)
{
    struct statx found;

    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &found) != 0)
        return err_set(err, ERR_STORE, "%s: the database file is gone: %s",
                       path, strerror(errno));
    *out = (struct lite_file){
        .device = makedev(found.stx_dev_major, found.stx_dev_minor),
        .inode = found.stx_ino,
        .born_ns = born_ns(&found),
    };
    return true;
}

bool lite_file_check(const char *path, const struct lite_file *known,
                     struct err *err)
{
    struct lite_file found;

    if (!lite_file_look(path, &found, err))
        return false;
    if (found.device == known->device && found.inode == known->inode &&
        found.born_ns == known->born_ns)
        return true;
    return err_set(err, ERR_STORE,
                   "%s: the database file was replaced by another one while "
                   "it is in use; put it back, or start again",
                   path);
}

struct uuid lite_file_log_id(const struct lite_file *file, struct uuid kept)
{
    char home[48];

    snprintf(home, sizeof(home), "%" PRIu64 " %" PRId64, file->inode,
             file->born_ns);
    return uuid_derive(kept, str_of(home));
}

uint64_t lite_file_wal(const char *path)
{
    struct buf name = {0};
    struct stat found;
    int failed;

    buf_printf(&name, "%s-wal", path);
    failed = stat(name.ptr, &found);
    buf_done(&name);
    return failed == 0 ? found.st_ino : 0;
}
