/*
 * Rows come in pages and are printed when all are there, because a table's
 * columns are as wide as its widest cell; --limit bounds what is held.  With
 * --json each page is printed as it comes.
 */
#include "cli/commands.h"
#include "cli/door.h"
#include "cli/print.h"

#include <inttypes.h>
#include <stdio.h>

#define PAGE_MAX     1000
#define LIMIT_NORMAL 100

struct listing {
    const struct cli_args *args;
    uint64_t left; /* rows still wanted */
    struct arena arena;
    struct print_table table;
    struct buf after; /* where the next page begins */
    bool more;        /* the store has rows behind the last one */
};

static void write_target(const struct listing *listing, struct buf *target)
{
    const struct cli_args *args = listing->args;
    char limit[24];

    buf_text(target, "/api/projections/");
    door_encode(target, args->words[0]);
    buf_text(target, "/tables/");
    door_encode(target, args->words[1]);
    for (size_t i = 2; i < args->word_count; i++) {
        struct str value = str_of(args->words[i]);
        struct buf name = {0};

        buf_str(&name, str_cut(&value, '='));
        door_param(target, name.ptr, value.ptr);
        buf_done(&name);
    }
    snprintf(limit, sizeof(limit), "%" PRIu64, MIN(listing->left, PAGE_MAX));
    door_param(target, "limit", limit);
    door_param(target, "order", args_value(args, "order"));
    if (listing->more)
        door_param(target, "after", listing->after.ptr);
}

static void add_header(struct listing *listing, struct json row)
{
    struct json_in in = json_open(row);
    struct json value;
    struct str key;

    while (json_next(&in, &key, &value)) {
        print_cell(&listing->table, key);
        listing->table.columns++;
    }
}

static void add_row(struct listing *listing, struct json row)
{
    struct json_in in = json_open(row);
    struct json value;
    struct str key;

    if (listing->table.columns == 0)
        add_header(listing, row);
    while (json_next(&in, &key, &value))
        print_json_cell(&listing->table, value);
}

static void take_page(struct listing *listing, struct json page)
{
    struct json_in in = json_open(json_get(page, STR("rows")));
    struct json next = json_get(page, STR("next"));
    struct json row;
    struct str key;

    while (json_next(&in, &key, &row)) {
        if (args_has(listing->args, "json"))
            print_line(row.raw);
        else
            add_row(listing, row);
        listing->left -= MIN(listing->left, 1);
    }
    listing->more = next.kind != JSON_NULL && next.kind != JSON_END;
    buf_clear(&listing->after);
    if (next.kind == JSON_STRING)
        json_unescape(next, &listing->after);
    else if (listing->more)
        buf_str(&listing->after, next.raw);
}

static bool list_rows(struct door *door, struct listing *listing,
                      struct err *err)
{
    struct buf target = {0}, answer = {0};
    bool ok = true;

    do {
        buf_clear(&target);
        write_target(listing, &target);
        ok = door_call(door, "GET", target.ptr, STR_NONE, &answer, err);
        if (ok)
            take_page(listing, json_value(buf_as_str(&answer)));
    } while (ok && listing->more && listing->left > 0);
    buf_done(&target);
    buf_done(&answer);
    return ok;
}

static void print_listing(struct listing *listing)
{
    if (listing->table.columns > 0)
        print_table(&listing->table);
    else if (!args_has(listing->args, "json"))
        fprintf(stderr, "no rows\n");
    if (listing->more)
        fprintf(stderr, "there are more; --limit N shows them\n");
}

static bool check_filters(const struct cli_args *args, struct err *err)
{
    for (size_t i = 2; i < args->word_count; i++) {
        if (strchr(args->words[i], '=') == NULL)
            return err_set(err, ERR_USAGE,
                           "\"%s\" is not column=value: a filter",
                           args->words[i]);
    }
    return true;
}

static int rows(const struct cli_args *args)
{
    struct listing listing = {.args = args};
    struct err err = {0};

    if (!check_filters(args, &err) ||
        !args_u64(args, "limit", LIMIT_NORMAL, &listing.left, &err))
        return setup_fail(&err);
    listing.table.arena = &listing.arena;
    struct door *door = door_open(args, &err);
    bool ok = door != NULL && list_rows(door, &listing, &err);
    door_close(door);
    if (ok)
        print_listing(&listing);
    arena_done(&listing.arena);
    buf_done(&listing.after);
    return ok ? CLI_DONE : door_fail(&err);
}

const struct cli_command cli_rows = {
    .name = "rows",
    .usage = "PROJECTION TABLE [COLUMN=VALUE…] [--order COLUMN] [--limit N]",
    .summary = "Prints rows of a read model as a table",
    .help = "  perigee rows orders orders status=shipped --order -updated_at\n",
    .min_words = 2,
    .max_words = CLI_ANY_WORDS,
    .options =
        {
            {"order", "COLUMN", "sort by it; -COLUMN: the largest first"},
            {"limit", "N", "rows at most, 100"},
            OPTION_URL,
            OPTION_TOKEN,
            OPTION_JSON,
        },
    .run = rows,
};
