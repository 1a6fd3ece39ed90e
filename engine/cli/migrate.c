#include "cli/commands.h"
#include "cli/setup.h"

#include <stdio.h>

static void print_steps(uint32_t steps)
{
    if (steps > 0)
        printf("schema brought up to date: %u step%s\n", steps,
               steps == 1 ? "" : "s");
    else
        printf("schema is up to date\n");
}

static bool bring_up_to_date(struct store *store, struct err *err)
{
    uint32_t steps = 0;

    if (!store_migrate(store, &steps, err))
        return false;
    print_steps(steps);
    return true;
}

static bool renew_log(struct store *store, struct err *err)
{
    if (!store_log_renew(store, err))
        return false;
    printf("the log has a new id; cursors that were given out are refused\n");
    return true;
}

static bool migrate_store(const struct config *config, bool new_log,
                          struct err *err)
{
    struct engine_options options;

    setup_engine_options(config, &options);
    struct store *store = store_open(&options.store, err);
    bool ok = store != NULL && bring_up_to_date(store, err) &&
              (!new_log || renew_log(store, err));
    store_close(store);
    return ok;
}

static int migrate(const struct cli_args *args)
{
    struct config config;
    struct err err = {0};
    int status = CLI_WRONG_USAGE;

    setup_command_log();
    if (setup_config(args, NULL, 0, &config))
        status = migrate_store(&config, args_has(args, "new-log"), &err)
                     ? CLI_DONE
                     : setup_fail(&err);
    config_done(&config);
    return status;
}

const struct cli_command cli_migrate = {
    .name = "migrate",
    .usage = "[--new-log]",
    .summary = "Creates or upgrades the schema of the database",
    .help = "Safe to run twice and from several machines at once.  `serve` "
            "does it too,\nunless database.migrate = false.\n\n"
            "A log that was restored from a dump or a copy is seen to be "
            "another one, so that\ncursors of the old one are refused.  Where "
            "that cannot be seen (a whole disk was\nput back), --new-log says "
            "so; stop the engines before.\n",
    .options = {{"new-log", NULL, "the log was restored: give it another id"}},
    .run = migrate,
};
