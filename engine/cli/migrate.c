#include "cli/commands.h"
#include "cli/setup.h"

#include <stdio.h>

static bool migrate_store(const struct config *config, struct err *err)
{
    struct engine_options options;
    uint32_t steps = 0;

    setup_engine_options(config, &options);
    struct store *store = store_open(&options.store, err);
    bool ok = store != NULL && store_migrate(store, &steps, err);
    store_close(store);
    if (ok && steps > 0)
        printf("schema brought up to date: %u step%s\n", steps,
               steps == 1 ? "" : "s");
    else if (ok)
        printf("schema is up to date\n");
    return ok;
}

static int migrate(const struct cli_args *args)
{
    struct config config;
    struct err err = {0};
    int status = CLI_WRONG_USAGE;

    setup_command_log();
    if (setup_config(args, NULL, 0, &config))
        status = migrate_store(&config, &err) ? CLI_DONE : setup_fail(&err);
    config_done(&config);
    return status;
}

const struct cli_command cli_migrate = {
    .name = "migrate",
    .usage = "",
    .summary = "Creates or upgrades the schema of the database",
    .help = "Safe to run twice and from several machines at once.  `serve` "
            "does it too,\nunless database.migrate = false.\n",
    .run = migrate,
};
