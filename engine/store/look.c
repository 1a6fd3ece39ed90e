#include "store/look_in.h"

#include "store/schema.h"

#include <stdio.h>

void look_copy(char *out, size_t size, struct str text)
{
    snprintf(out, size, "%.*s", STR_ARG(text));
}

void look_judge_schema(struct store_look *look, uint32_t version,
                       uint32_t oldest_binary)
{
    look->schema_version = version;
    if (version == 0)
        look->schema = LOOK_NO_SCHEMA;
    else if (oldest_binary > SCHEMA_VERSION)
        look->schema = LOOK_TOO_NEW;
    else if (version < SCHEMA_OLDEST)
        look->schema = LOOK_TOO_OLD;
    else if (version < SCHEMA_VERSION)
        look->schema = LOOK_OLD;
    else
        look->schema = version > SCHEMA_VERSION ? LOOK_NEWER : LOOK_CURRENT;
}

bool look_has_log(const struct store_look *look)
{
    return look->schema != LOOK_NO_SCHEMA && look->schema != LOOK_NOT_OURS;
}

bool store_look(const struct store_options *options, struct store_look *out,
                struct err *err)
{
    const char *path = store_sqlite_path(options->url);

    *out = (struct store_look){.schema_known = SCHEMA_VERSION};
    if (path != NULL)
        return lite_look(options, path, out, err);
    return pg_look(options, out, err);
}
