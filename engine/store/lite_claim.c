#define _GNU_SOURCE /* F_OFD_SETLK */

#include "store/lite_claim.h"

#include "base/mem.h"
#include "store/store_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

enum lock_byte { CLAIMED_BYTE, ADDRESS_BYTE };

struct lite_claim {
    int fd; /* holds the locks */
    char *address_path;
};

/* Beside the file itself, whichever links led to it. */
static char *path_beside(const char *path, const char *suffix)
{
    char *real = realpath(path, NULL);
    struct buf text = {0};

    if (real == NULL)
        return NULL;
    buf_text(&text, real);
    buf_text(&text, suffix);
    free(real); /* it is the C library's, not mem_alloc's */
    return buf_take(&text);
}

static struct flock lock_of(enum lock_byte byte)
{
    return (struct flock){
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = byte,
        .l_len = 1,
    };
}

static bool lock_byte(int fd, enum lock_byte byte)
{
    struct flock lock = lock_of(byte);

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static bool is_locked(int fd, enum lock_byte byte)
{
    struct flock lock = lock_of(byte);

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* ---- the address ---- */

static bool write_address(const char *path, const char *address,
                          struct err *err)
{
    size_t len = strlen(address);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool good = fd >= 0 && write(fd, address, len) == (ssize_t)len;

    if (!good)
        err_set(err, ERR_STORE, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return good;
}

static bool read_address(const char *path, char *address, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len;

    if (fd < 0)
        return false;
    len = read(fd, address, size);
    close(fd);
    if (len <= 0 || (size_t)len >= size)
        return false;
    address[len] = '\0';
    return true;
}

bool lite_find_server(const char *path, char *address, size_t size)
{
    char *lock_path = path_beside(path, "-lock");
    char *address_path = path_beside(path, "-address");
    int fd = lock_path != NULL ? open(lock_path, O_RDONLY | O_CLOEXEC) : -1;
    bool found = fd >= 0 && is_locked(fd, ADDRESS_BYTE) &&
                 read_address(address_path, address, size);

    if (fd >= 0)
        close(fd);
    mem_free(lock_path);
    mem_free(address_path);
    return found;
}

/* ---- claiming ---- */

static bool fail_served(const char *path, struct err *err)
{
    char address[256];

    if (!lite_find_server(path, address, sizeof(address)))
        return err_set(err, ERR_CONFLICT,
                       "%s is served by another engine; a SQLite database is "
                       "served by one",
                       path);
    return err_set(err, ERR_CONFLICT,
                   "%s is served by the engine at %s; a SQLite database is "
                   "served by one",
                   path, address);
}

static bool lock_file(struct lite_claim *claim, const char *path,
                      struct err *err)
{
    char *lock_path = path_beside(path, "-lock");

    if (lock_path != NULL)
        claim->fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    mem_free(lock_path);
    if (claim->fd < 0)
        return err_set(err, ERR_STORE, "cannot open %s-lock: %s", path,
                       strerror(errno));
    return lock_byte(claim->fd, CLAIMED_BYTE) || fail_served(path, err);
}

static bool publish(struct lite_claim *claim, const char *path,
                    const char *address, struct err *err)
{
    claim->address_path = path_beside(path, "-address");
    if (claim->address_path == NULL)
        return err_set(err, ERR_STORE, "%s is gone", path);
    if (!write_address(claim->address_path, address, err))
        return false;
    CHECK(lock_byte(claim->fd, ADDRESS_BYTE));
    return true;
}

struct lite_claim *lite_claim_take(const char *path, const char *address,
                                   struct err *err)
{
    struct lite_claim *claim = NEW(struct lite_claim);

    claim->fd = -1;
    if (lock_file(claim, path, err) &&
        (address == NULL || publish(claim, path, address, err)))
        return claim;
    lite_claim_give(claim);
    return NULL;
}

void lite_claim_give(struct lite_claim *claim)
{
    if (claim == NULL)
        return;
    if (claim->address_path != NULL)
        unlink(claim->address_path);
    if (claim->fd >= 0)
        close(claim->fd);
    mem_free(claim->address_path);
    mem_free(claim);
}
