/*
 * Life of a tree: the folder is walked, paths are collected; they are sorted;
 * each file is read whole and hashed.  Links are followed, because that is how
 * Kubernetes mounts a ConfigMap; folders whose name begins with a dot (its
 * versions) are not.
 */
#include "vm/source.h"

#include "base/buf.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MAX_FILES      1000
#define MAX_DEPTH      16 /* a link may lead back to where it is */
#define MAX_FILE_BYTES ((size_t)1024 * 1024)

struct paths {
    char **items; /* below the folder */
    size_t count;
    size_t capacity;
};

static char *join(const char *folder, const char *name)
{
    struct buf path = {0};

    if (folder[0] != '\0')
        buf_printf(&path, "%s/", folder);
    buf_text(&path, name);
    return buf_take(&path);
}

/* ---- the walk ---- */

static bool is_script(struct str name)
{
    return str_ends(name, STR(".lua")) && !str_ends(name, STR("_spec.lua")) &&
           !str_starts(name, STR("."));
}

static bool add_path(struct paths *paths, const char *relative, struct err *err)
{
    if (paths->count == MAX_FILES)
        return err_set(err, ERR_SCRIPT, "%s: more than %d scripts", relative,
                       MAX_FILES);
    GROW(paths->items, paths->capacity, paths->count + 1);
    paths->items[paths->count++] = mem_strdup(relative);
    return true;
}

static bool walk(const char *folder, const char *relative, int depth,
                 struct paths *paths, struct err *err);

static bool visit(const char *folder, const char *relative, const char *name,
                  int depth, struct paths *paths, struct err *err)
{
    char *below = join(relative, name);
    char *path = join(folder, below);
    struct stat info;
    bool ok = true;

    if (name[0] == '.' || stat(path, &info) != 0)
        ok = true; /* hidden, or gone since it was listed */
    else if (S_ISDIR(info.st_mode))
        ok = walk(folder, below, depth + 1, paths, err);
    else if (S_ISREG(info.st_mode) && is_script(str_of(name)))
        ok = add_path(paths, below, err);
    mem_free(path);
    mem_free(below);
    return ok;
}

static bool walk(const char *folder, const char *relative, int depth,
                 struct paths *paths, struct err *err)
{
    char *path =
        relative[0] != '\0' ? join(folder, relative) : mem_strdup(folder);
    DIR *dir = depth <= MAX_DEPTH ? opendir(path) : NULL;
    bool ok = true;

    if (depth > MAX_DEPTH)
        ok = err_set(err, ERR_SCRIPT, "%s: folders nested too deep", path);
    else if (dir == NULL && errno != ENOENT)
        ok = err_set(err, ERR_SCRIPT, "%s: %s", path, strerror(errno));
    for (struct dirent *entry; ok && dir != NULL && (entry = readdir(dir));)
        ok = visit(folder, relative, entry->d_name, depth, paths, err);
    if (dir != NULL)
        closedir(dir);
    mem_free(path);
    return ok;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void paths_done(struct paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        mem_free(paths->items[i]);
    mem_free(paths->items);
}

/* ---- files ---- */

/* "sub/_money.lua" is required as "sub._money"; NULL for scripts. */
static char *module_name(const char *relative)
{
    const char *slash = strrchr(relative, '/');
    const char *file = slash != NULL ? slash + 1 : relative;
    char *name;

    if (file[0] != '_')
        return NULL;
    name = mem_str_copy(str_n(relative, strlen(relative) - strlen(".lua")));
    for (char *c = name; *c != '\0'; c++)
        if (*c == '/')
            *c = '.';
    return name;
}

static bool read_text(const char *path, struct buf *out, struct err *err)
{
    FILE *file = fopen(path, "re");
    size_t got;
    bool ok;

    if (file == NULL)
        return err_set(err, ERR_SCRIPT, "%s: %s", path, strerror(errno));
    got = fread(buf_room(out, MAX_FILE_BYTES + 1), 1, MAX_FILE_BYTES + 1, file);
    out->len = got;
    ok = ferror(file) == 0;
    if (!ok)
        err_set(err, ERR_SCRIPT, "%s: %s", path, strerror(errno));
    else if (got > MAX_FILE_BYTES)
        ok = err_set(err, ERR_SCRIPT, "%s: larger than 1 MiB", path);
    fclose(file);
    return ok;
}

static void set_text(struct source *source, struct str text)
{
    source->text = mem_str_copy(text);
    source->text_len = text.len;
    hash_sha256_text(text, source->hash);
}

static bool read_source(struct source *source, const char *folder,
                        const char *relative, struct buf *room, struct err *err)
{
    source->path = join(folder, relative);
    source->module = module_name(relative);
    buf_clear(room);
    if (!read_text(source->path, room, err))
        return false;
    set_text(source, buf_as_str(room));
    return true;
}

static void hash_modules(struct source_tree *tree)
{
    struct buf all = {0};

    for (size_t i = 0; i < tree->count; i++)
        if (tree->sources[i].module != NULL)
            buf_printf(&all, "%s %s\n", tree->sources[i].module,
                       tree->sources[i].hash);
    hash_sha256_text(buf_as_str(&all), tree->modules_hash);
    buf_done(&all);
}

/* ---- the tree ---- */

static bool read_tree(struct source_tree *tree, struct paths *paths,
                      struct err *err)
{
    struct buf room = {0};
    bool ok = walk(tree->folder, "", 0, paths, err);

    if (ok && paths->count > 0)
        qsort(paths->items, paths->count, sizeof(paths->items[0]),
              compare_paths);
    tree->sources = NEW_ARRAY(struct source, paths->count + 1);
    for (size_t i = 0; ok && i < paths->count; i++) {
        tree->count++;
        ok = read_source(&tree->sources[i], tree->folder, paths->items[i],
                         &room, err);
    }
    buf_done(&room);
    return ok;
}

struct source_tree *source_tree_read(const char *folder, struct err *err)
{
    struct source_tree *tree = NEW(struct source_tree);
    struct paths paths = {0};
    bool ok;

    tree->folder = mem_strdup(folder);
    ok = read_tree(tree, &paths, err);
    paths_done(&paths);
    if (!ok) {
        source_tree_free(tree);
        return NULL;
    }
    hash_modules(tree);
    return tree;
}

struct source_tree *source_tree_of(const char *path, struct str text)
{
    struct source_tree *tree = NEW(struct source_tree);

    tree->folder = mem_strdup("");
    tree->sources = NEW_ARRAY(struct source, 1);
    tree->count = 1;
    tree->sources[0].path = mem_strdup(path);
    set_text(&tree->sources[0], text);
    hash_modules(tree);
    return tree;
}

void source_tree_free(struct source_tree *tree)
{
    if (tree == NULL)
        return;
    for (size_t i = 0; i < tree->count; i++) {
        mem_free(tree->sources[i].path);
        mem_free(tree->sources[i].module);
        mem_free(tree->sources[i].text);
    }
    mem_free(tree->sources);
    mem_free(tree->folder);
    mem_free(tree);
}
