#pragma once
/*
 * Script files as text: one tree is everything below one folder, read once,
 * then immutable.  Files are listed in byte order of their paths, so that
 * every machine sees the same order.
 *
 * `*.lua` files are scripts; those whose name starts with `_` are shared
 * modules (loaded by require from the same tree); `*_spec.lua` files and
 * folders that start with a dot are left alone.
 */
#include "base/err.h"
#include "base/hash.h"

struct source {
    char *path;   /* as it is shown in messages: folder and relative path */
    char *module; /* for files that start with `_`: the name require takes,
                     else NULL */
    char *text;
    size_t text_len;
    char hash[SHA256_TEXT_SIZE]; /* of the text */
};

struct source_tree {
    char *folder;
    struct source *sources;
    size_t count;
    char modules_hash[SHA256_TEXT_SIZE]; /* of all modules, names and texts */
};

/* Reads the folder; an absent folder is an empty tree.  A file over 1 MiB, one
 * that cannot be read, or more than 1,000 files: ERR_SCRIPT names it. */
struct source_tree *source_tree_read(const char *folder,
                                     struct err *err) MUST_USE;
/* A tree of one script, for tests and `perigee check FILE`. */
struct source_tree *source_tree_of(const char *path, struct str text);
void source_tree_free(struct source_tree *tree);
