#include "core/readmodel.h"

#include <inttypes.h>
#include <stdio.h>

#define FIRST_GENERATION 1

/* ---- the first difference of two definitions ---- */

struct difference {
    struct buf path; /* of the value that is being compared */
    struct buf *out;
};

/* Names are enough of a long value: it is for a line of an error. */
#define SHOWN_BYTES 120

static void write_value(struct buf *out, struct json value)
{
    if (value.kind == JSON_END)
        buf_text(out, "nothing");
    else
        buf_add(out, value.raw.ptr, MIN(value.raw.len, SHOWN_BYTES));
}

static bool tell(struct difference *diff, struct json installed,
                 struct json script)
{
    buf_str(diff->out, buf_as_str(&diff->path));
    buf_text(diff->out, ": installed ");
    write_value(diff->out, installed);
    buf_text(diff->out, ", script ");
    write_value(diff->out, script);
    return true;
}

static bool compare(struct difference *diff, struct json installed,
                    struct json script);

static bool compare_at(struct difference *diff, struct str name,
                       struct json installed, struct json script)
{
    size_t len = diff->path.len;
    bool found;

    if (len > 0)
        buf_char(&diff->path, '.');
    buf_str(&diff->path, name);
    found = compare(diff, installed, script);
    diff->path.len = len;
    return found;
}

/* Definitions are written by us: keys are plain, never escaped. */
static bool compare_members(struct difference *diff, struct json installed,
                            struct json script)
{
    struct json_in in = json_open(installed);
    struct json item;
    struct str key;

    while (json_next(&in, &key, &item))
        if (compare_at(diff, key, item, json_get(script, key)))
            return true;
    in = json_open(script);
    while (json_next(&in, &key, &item))
        if (json_get(installed, key).kind == JSON_END &&
            compare_at(diff, key, (struct json){.kind = JSON_END}, item))
            return true;
    return false;
}

static struct json name_of(struct json item)
{
    if (item.kind != JSON_OBJECT)
        return (struct json){.kind = JSON_END};
    return json_get(item, STR("name"));
}

/* Tables belong together by their names, anything else by its place. */
static struct json counterpart(struct json array, struct json item,
                               size_t place)
{
    struct json name = name_of(item);
    struct json_in in = json_open(array);
    struct json other;
    struct str no_key;

    for (size_t i = 0; json_next(&in, &no_key, &other); i++)
        if (name.kind == JSON_STRING ? str_eq(name_of(other).raw, name.raw)
                                     : i == place)
            return other;
    return (struct json){.kind = JSON_END};
}

static bool compare_item(struct difference *diff, struct json installed,
                         struct json script, size_t place)
{
    struct json name = name_of(installed.kind != JSON_END ? installed : script);
    char number[24];

    snprintf(number, sizeof(number), "%zu", place + 1);
    return compare_at(diff,
                      name.kind == JSON_STRING
                          ? str_n(name.raw.ptr + 1, name.raw.len - 2)
                          : str_of(number),
                      installed, script);
}

static bool compare_items(struct difference *diff, struct json installed,
                          struct json script)
{
    struct json_in in = json_open(installed);
    struct json item;
    struct json other;
    struct str no_key;

    for (size_t i = 0; json_next(&in, &no_key, &item); i++)
        if (compare_item(diff, item, counterpart(script, item, i), i))
            return true;
    in = json_open(script);
    for (size_t i = 0; json_next(&in, &no_key, &item); i++) {
        other = counterpart(installed, item, i);
        if (other.kind == JSON_END && compare_item(diff, other, item, i))
            return true;
    }
    return false;
}

static bool compare(struct difference *diff, struct json installed,
                    struct json script)
{
    if (installed.kind == script.kind && installed.kind == JSON_OBJECT)
        return compare_members(diff, installed, script);
    if (installed.kind == script.kind && installed.kind == JSON_ARRAY)
        return compare_items(diff, installed, script);
    if (installed.kind == script.kind && str_eq(installed.raw, script.raw))
        return false;
    return tell(diff, installed, script);
}

bool readmodel_difference(struct str installed, struct str script,
                          struct buf *out)
{
    struct difference diff = {.out = out};
    bool found = compare(&diff, json_value(installed), json_value(script));

    buf_done(&diff.path);
    return found;
}

/* ---- installed and declared ---- */

static bool compare_tables(const struct projection_def *installed,
                           const struct projection_decl *decl, struct err *err)
{
    struct buf text = {0};

    if (!readmodel_difference(installed->definition, decl->definition, &text))
        return true;
    err_set(err, ERR_CONFLICT, "needs a rebuild: the tables differ: %s",
            text.ptr);
    buf_done(&text);
    return false;
}

static bool compare_installed(const struct projection_def *installed,
                              const struct projection_decl *decl,
                              struct err *err)
{
    if (installed->version != decl->version)
        return err_set(err, ERR_CONFLICT,
                       "needs a rebuild: version %" PRIu32
                       " is installed, the script has version %" PRIu32,
                       installed->version, decl->version);
    return compare_tables(installed, decl, err);
}

bool readmodel_is_readable(struct store *store,
                           const struct projection_decl *decl,
                           struct arena *arena, struct err *err)
{
    struct projection_def installed;

    return store_projection_find(store, decl->name, arena, &installed, err) &&
           compare_tables(&installed, decl, err);
}

static struct projection_def definition_of(const struct projection_decl *decl,
                                           uint32_t generation)
{
    return (struct projection_def){
        .name = decl->name,
        .generation = generation,
        .partitions = READMODEL_PARTITIONS,
        .version = decl->version,
        .script_hash = str_of(decl->hash),
        .definition = decl->definition,
        .tables = decl->tables,
        .table_count = decl->table_count,
    };
}

static bool find_start(struct store *store,
                       const struct subscription_decl *subscription,
                       uint64_t *position_out, struct err *err)
{
    *position_out = 0;
    if (!subscription->start_from_given)
        return true;
    switch (subscription->start_from) {
    case START_END:
        return store_head(store, position_out, err);
    case START_POSITION:
        *position_out = subscription->start_position;
        return true;
    case START_CHECKPOINT:
    case START_BEGINNING:
        break;
    }
    return true;
}

static bool install(struct store *store, const struct projection_decl *decl,
                    uint32_t *generation_out, struct err *err)
{
    struct projection_def def = definition_of(decl, FIRST_GENERATION);
    uint64_t position;

    if (!find_start(store, &decl->subscription, &position, err) ||
        !store_projection_install(store, &def, position, err))
        return false;
    *generation_out = FIRST_GENERATION;
    return true;
}

bool readmodel_prepare(struct store *store, const struct projection_decl *decl,
                       uint32_t *generation_out, struct err *err)
{
    struct projection_def installed;
    struct arena arena = {0};
    bool good =
        store_projection_find(store, decl->name, &arena, &installed, err);

    if (good) {
        good = compare_installed(&installed, decl, err);
        if (good)
            *generation_out = installed.generation;
    } else if (err->code == ERR_NOT_FOUND) {
        good = install(store, decl, generation_out, err);
    }
    arena_done(&arena);
    return good;
}

bool readmodel_note(struct store *store, const struct projection_decl *decl,
                    uint32_t generation, struct err *err)
{
    struct projection_def def = definition_of(decl, generation);

    return store_projection_note(store, &def, err);
}
