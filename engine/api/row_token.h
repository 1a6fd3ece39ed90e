#pragma once
/*
 * The `next` of a list of rows: where the page ended, as one URL-safe word.
 *
 *     base64url( check || ["value of the order column" or null, "key"] )
 *
 * `check` is the beginning of a SHA-256 over table, order and the rest, so a
 * token that was changed, or is used with another table or order, is refused
 * instead of paging from somewhere else.  It guards against mistakes, not
 * against malice: a forged token reads rows that its maker may read anyway.
 */
#include "store/store.h"

/* The token of the page's last row; in the arena. */
struct str row_token_make(const struct row_query *query, const struct row *last,
                          struct arena *arena);
/* Sets `resume`, `after_order` and `after_key` of a query that has its table
 * and order.  ERR_BAD_REQUEST. */
bool row_token_read(struct str token, struct row_query *query,
                    struct arena *arena, struct err *err) MUST_USE;
