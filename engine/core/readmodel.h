#pragma once
/*
 * A projection's tables: installed when there are none, compared when there
 * are.  A script that declares other tables, or another version, needs a
 * rebuild: nothing is touched then, and the difference is named.
 * Everything else about tables is the store's.
 */
#include "store/store.h"
#include "vm/script.h"

/* The subscription of a projection that is not cut into slices. */
#define READMODEL_PARTITIONS 1

/* Makes sure that the tables are those of the script.  `*generation_out` is
 * the one to run.  A new projection starts where its script says.
 * ERR_CONFLICT: a rebuild is needed, or a table's name is taken; store errors
 * may be tried again. */
bool readmodel_prepare(struct store *store, const struct projection_decl *decl,
                       uint32_t *generation_out, struct err *err) MUST_USE;

/* Notes which script runs the tables; only while holding the lease. */
bool readmodel_note(struct store *store, const struct projection_decl *decl,
                    uint32_t generation, struct err *err) MUST_USE;

/* True when the live tables are those of the script, so that their rows can be
 * read by its declaration.  ERR_CONFLICT names the difference, ERR_NOT_FOUND:
 * nothing is installed yet. */
bool readmodel_is_readable(struct store *store,
                           const struct projection_decl *decl,
                           struct arena *arena, struct err *err) MUST_USE;

/* Writes the first difference of two definitions as "orders.columns.total:
 * installed "numeric", script "double""; false when there is none. */
bool readmodel_difference(struct str installed, struct str script,
                          struct buf *out);
