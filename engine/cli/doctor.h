#pragma once
/*
 * The examinations of `perigee doctor`, a file for each thing that is looked
 * at.  They change nothing, and none of them needs another to have gone well:
 * with wrong settings the rest is looked at with those that hold.
 */
#include "cli/finding.h"
#include "config.h"
#include "store/look.h"

/* ---- doctor_store.c ---- */

/* The databases of the configuration, asked. */
void doctor_examine_stores(const struct config *config,
                           struct findings *findings);
/* What the facts about one mean; `error` NULL when all were to be had. */
void doctor_judge_store(const struct config *config,
                        const struct store_look *look, const char *error,
                        struct findings *findings);

/* ---- doctor_files.c ---- */

/* Rights on files and folders, and the disk under SQLite's. */
void doctor_examine_files(const struct config *config,
                          struct findings *findings);
/* Whether a disk with so much left of so much wants attention. */
bool doctor_disk_is_low(uint64_t free_bytes, uint64_t total_bytes);
