#include "cli/commands.h"
#include "cli/door.h"
#include "cli/print.h"
#include "run/http_client.h"

#include <stdio.h>

static const char *probe_of(const struct cli_args *args)
{
    if (args_has(args, "ready"))
        return "/health/ready";
    return args_has(args, "live") ? "/health/live" : "/health";
}

/* Where to ask: --url, or where the configuration says that probes are
 * answered. */
static bool find_url(const struct cli_args *args, struct buf *url,
                     struct err *err)
{
    struct config config;
    bool ok = true;

    if (args_has(args, "url")) {
        buf_text(url, args_value(args, "url"));
        return true;
    }
    ok = setup_config(args, NULL, 0, &config);
    if (ok)
        door_url_of(*config.http_probe_listen != '\0' ? config.http_probe_listen
                                                      : config.http_listen,
                    url);
    else
        *err = (struct err){.code = ERR_NONE};
    config_done(&config);
    return ok;
}

static void print_subscription(struct json subscription)
{
    struct buf line = {0};

    buf_text(&line, "  ");
    print_value(json_get(subscription, STR("name")), &line);
    buf_text(&line, ": ");
    print_value(json_get(subscription, STR("status")), &line);
    buf_text(&line, ", ");
    print_value(json_get(subscription, STR("state")), &line);
    print_line(buf_as_str(&line));
    buf_done(&line);
}

static void print_subscriptions(struct json list)
{
    struct json_in in;
    struct json item;
    struct str key;

    if (list.kind != JSON_ARRAY)
        return;
    in = json_open(list);
    while (json_next(&in, &key, &item))
        print_subscription(item);
}

/* The documents' own words, plain values only. */
static void print_plain_members(struct json health)
{
    struct arena arena = {0};
    struct print_table table = {
        .arena = &arena, .columns = 2, .headless = true};
    struct json_in in = json_open(health);
    struct json value;
    struct str key;

    while (json_next(&in, &key, &value)) {
        if (value.kind == JSON_ARRAY || value.kind == JSON_OBJECT)
            continue;
        print_cell(&table, key);
        print_json_cell(&table, value);
    }
    if (table.cell_count > 0)
        print_table(&table);
    arena_done(&arena);
}

static void print_answer(const struct cli_args *args, struct str answer)
{
    struct err ignored = {0};
    bool is_json = json_check(answer, NULL, &ignored);

    if (args_has(args, "json") || !is_json) {
        print_line(answer);
        return;
    }
    print_plain_members(json_value(answer));
    print_subscriptions(json_get(json_value(answer), STR("subscriptions")));
}

static bool ask(const struct cli_args *args, const char *url, int *status_out,
                struct err *err)
{
    struct http_client *client = http_client_new(url, err);
    struct buf answer = {0};
    bool ok =
        client != NULL && http_client_call(client, "GET", probe_of(args),
                                           STR_NONE, status_out, &answer, err);

    if (ok)
        print_answer(args, buf_as_str(&answer));
    buf_done(&answer);
    http_client_free(client);
    return ok;
}

static int health(const struct cli_args *args)
{
    struct err err = {0};
    struct buf url = {0};
    int http_status = 0;
    bool ok =
        find_url(args, &url, &err) && ask(args, url.ptr, &http_status, &err);

    buf_done(&url);
    if (!ok)
        return door_fail(&err);
    return http_status == 200 ? CLI_DONE : CLI_FAILED;
}

const struct cli_command cli_health = {
    .name = "health",
    .usage = "[--ready|--live] [--url URL]",
    .summary = "Asks a running engine how it is; exit status 0 or 1",
    .help = "For container health checks.  Without --url it asks where the "
            "configuration says\nthat the engine answers probes; no token is "
            "needed.\n",
    .options =
        {
            {"ready", NULL, "may it be sent requests?"},
            {"live", NULL, "does it move at all?"},
            OPTION_URL,
            OPTION_JSON,
        },
    .run = health,
};
