#include "cli/commands.h"
#include "cli/setup.h"

#include "base/buf.h"

/* The overrides that were given, in `list`; the URL's text is in `url`. */
static size_t overrides_of(const struct cli_args *args,
                           struct setting_override list[2], struct buf *url)
{
    const char *listen = args_value(args, "listen");
    const char *data = args_value(args, "data");
    size_t count = 0;

    if (listen != NULL)
        list[count++] = (struct setting_override){"http.listen", listen};
    if (data != NULL) {
        buf_printf(url, "sqlite:%s/perigee.db", data);
        list[count++] = (struct setting_override){"database.url", url->ptr};
    }
    return count;
}

static int serve(const struct cli_args *args)
{
    struct setting_override overrides[2];
    struct config config;
    struct buf url = {0};
    size_t count = overrides_of(args, overrides, &url);
    int status = CLI_WRONG_USAGE;

    if (setup_config(args, overrides, count, &config))
        status = args->program->serve(&config, args->program);
    config_done(&config);
    buf_done(&url);
    return status;
}

const struct cli_command cli_serve = {
    .name = "serve",
    .usage = "[--listen HOST:PORT] [--data DIR]",
    .summary = "Runs the engine until SIGTERM or SIGINT",
    .help = "A first signal stops it gracefully, a second one by force (exit "
            "status 3).\n"
            "The store need not be there yet: probes answer at once, the rest "
            "once it is\nreached.\n",
    .options =
        {
            {"listen", "HOST:PORT", "instead of http.listen"},
            {"data", "DIR",
             "a SQLite database in DIR, instead of database.url"},
        },
    .run = serve,
};
