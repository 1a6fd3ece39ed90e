#pragma once
/*
 * A whole engine over a SQLite log in a folder of its own.  A test includes
 * cmocka.h before this and writes its scripts between the two steps.
 */
#include "core/engine.h"
#include "unit/core/folder.h"

struct rig {
    struct folder folder; /* "a/" and "p/" are for scripts */
    char database[300];   /* the log's path */
    char url[320], aggregates[300], projections[300];
    struct engine *engine;
};

static inline void rig_prepare(struct rig *rig)
{
    const char *path;

    *rig = (struct rig){.folder = folder_new()};
    path = rig->folder.path;
    CHECK(mkdir(folder_path(&rig->folder, "a"), 0700) == 0);
    CHECK(mkdir(folder_path(&rig->folder, "p"), 0700) == 0);
    snprintf(rig->database, sizeof(rig->database), "%s/log.db", path);
    snprintf(rig->url, sizeof(rig->url), "sqlite:%s", rig->database);
    snprintf(rig->aggregates, sizeof(rig->aggregates), "%s/a", path);
    snprintf(rig->projections, sizeof(rig->projections), "%s/p", path);
}

static inline void rig_open(struct rig *rig)
{
    struct engine_options options = {
        .store = {.url = rig->url,
                  .pool_size = 5,
                  .pool_timeout_ms = 5000,
                  .statement_timeout_ms = 5000},
        .scripts = {.aggregates = rig->aggregates,
                    .projections = rig->projections,
                    .memory_bytes = 16 << 20},
        .migrate = true,
        .command_timeout_ms = 2000,
        .append_timeout_ms = 5000,
        .append_max_waiting = 100,
        .workers = 1,
        .lease_ms = 10000,
        .batch_size = 100,
        .processing_timeout_ms = 2000,
        .feed_blocks = 4,
        .stall_timeout_ms = 60000,
        .lag_warning = 5000,
        .lag_critical = 50000,
    };
    struct err err;

    rig->engine = engine_open(&options, ENGINE_SERVE, &err);
    if (rig->engine == NULL)
        fail_msg("the engine does not open: %s", err.text);
}

static inline void rig_close(struct rig *rig)
{
    subscriptions_drain(rig->engine->subs);
    engine_close(rig->engine);
    folder_remove(&rig->folder);
}
