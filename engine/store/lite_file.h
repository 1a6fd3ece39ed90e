#pragma once
/*
 * What the file of a store is, besides its path.
 *
 * A file is told from a copy of it by its inode and the time of its birth: a
 * copy, a backup and a file that was made anew have others, a file that was
 * renamed keeps them.  The log's id is derived from them, so every restored
 * copy is another log without anything being written.  Not seen: bytes that
 * were copied into the same file, a disk or a virtual machine that was put
 * back as a whole; there `perigee migrate --new-log` helps.
 *
 * A running store looks before each loan, because SQLite would go on writing
 * to a file that has no name any more, and would mix a new file with the
 * write-ahead log of the old one.
 */
#include "base/err.h"
#include "base/uuid.h"

struct lite_file {
    uint64_t device; /* differs after a restart of the machine: not part of
                        what a log is known by */
    uint64_t inode;
    int64_t born_ns; /* 0 where the file system does not tell */
};

/* The file at `path`; ERR_STORE when there is none to be seen. */
bool lite_file_look(const char *path, struct lite_file *out,
                    struct err *err) MUST_USE;
/* ERR_STORE when another file, or none, is at `path` now. */
bool lite_file_check(const char *path, const struct lite_file *known,
                     struct err *err) MUST_USE;
/* The id of a log that is kept as `kept` in this file. */
struct uuid lite_file_log_id(const struct lite_file *file, struct uuid kept);

/* The inode of the write-ahead log beside the file; 0: there is none. */
uint64_t lite_file_wal(const char *path);
