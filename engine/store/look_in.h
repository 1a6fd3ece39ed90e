#pragma once
/*
 * Inside of store/look.h: what the two kinds of looking share.
 */
#include "store/look.h"

/* As store_look, for one kind each; `path` is what stands behind `sqlite:`. */
bool lite_look(const struct store_options *options, const char *path,
               struct store_look *out, struct err *err) MUST_USE;
bool pg_look(const struct store_options *options, struct store_look *out,
             struct err *err) MUST_USE;

/* Cuts a text to its place in the facts. */
void look_copy(char *out, size_t size, struct str text);
/* Notes what this binary may do with such a schema; version 0 is none. */
void look_judge_schema(struct store_look *look, uint32_t version,
                       uint32_t oldest_binary);
/* True when there is a log to be asked about. */
bool look_has_log(const struct store_look *look);
