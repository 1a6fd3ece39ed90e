#pragma once
/*
 * The examinations of `perigee doctor`, a file for each thing that is looked
 * at.  They change nothing, and none of them needs another to have gone well:
 * with wrong settings the rest is looked at with those that hold.
 */
#include "cli/finding.h"
#include "config.h"
#include "store/look.h"
#include "store/pool_size.h"

/* ---- doctor_store.c ---- */

/* The databases of the configuration, asked, and the pool against them. */
void doctor_examine_stores(const struct config *config,
                           struct findings *findings);
/* What the facts about one mean; `error` NULL when all were to be had. */
void doctor_judge_store(const struct config *config,
                        const struct store_look *look, const char *error,
                        struct findings *findings);

/* ---- doctor_pool.c ---- */

/* Whether the connections of all engines fit PostgreSQL's server, which is
 * asked, unless the look did not reach it: nobody waits for that twice. */
void doctor_examine_pool(const struct config *config,
                         const struct store_look *look,
                         struct findings *findings);
/* The same with its answer; `limits` NULL when there was none. */
void doctor_judge_pool(const struct pool_plan *plan,
                       const struct server_limits *limits,
                       struct findings *findings);

/* ---- doctor_files.c ---- */

/* Rights on files and folders, and the disk under SQLite's. */
void doctor_examine_files(const struct config *config,
                          struct findings *findings);
/* Whether a disk with so much left of so much wants attention. */
bool doctor_disk_is_low(uint64_t free_bytes, uint64_t total_bytes);
