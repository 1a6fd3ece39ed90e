/*
 * A log that was exported, into the store.  Lines are read and checked one by
 * one, and stored in batches as they come; a broken line ends the import with
 * everything before its batch stored, and the same command goes on from there.
 */
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/lines.h"
#include "cli/log_file.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "core/log_import.h"

#include <inttypes.h>
#include <stdio.h>

struct importing {
    const struct cli_args *args;
    struct config config;
    struct store *store;
    struct lines lines;
    struct log_header header;
    uint64_t position; /* of the last event read */
    struct log_import *import;
    struct progress progress;
    struct arena arena; /* of one line */
};

/* ---- the store ---- */

static bool check_not_served(const char *url, struct err *err)
{
    char address[256];

    if (!store_find_server(url, address, sizeof(address)))
        return true;
    return err_set(err, ERR_CONFLICT,
                   "an engine at %s serves this database: stop it first, an "
                   "import goes into the store itself",
                   address);
}

static bool open_store(struct importing *i, struct err *err)
{
    struct engine_options options;
    uint32_t steps;

    if (!setup_config(i->args, NULL, 0, &i->config)) {
        *err = (struct err){.code = ERR_NONE}; /* said already */
        return false;
    }
    setup_engine_options(&i->config, &options);
    if (!check_not_served(options.store.url, err))
        return false;
    i->store = store_open(&options.store, err);
    if (i->store == NULL)
        return false;
    return options.migrate ? store_migrate(i->store, &steps, err)
                           : store_check_schema(i->store, err);
}

/* ---- the file ---- */

static bool fail_in_line(const struct importing *i, uint64_t number,
                         struct err *err)
{
    return err_wrap(err, "%s:%" PRIu64, i->lines.name, number);
}

static bool read_header(struct importing *i, struct err *err)
{
    enum lines_end got = lines_next(&i->lines, err);

    if (got == LINES_END)
        err_set(err, ERR_INVALID_INPUT, "there is nothing in it");
    if (got == LINES_READ &&
        log_header_read(buf_as_str(&i->lines.line), &i->header, err)) {
        i->position = i->header.after;
        return true;
    }
    return fail_in_line(i, 1, err);
}

/* The first event stands in line 2. */
static bool fail_in_batch(const struct importing *i, struct err *err)
{
    uint64_t fault = log_import_fault(i->import);

    return fault == 0 ? false : fail_in_line(i, fault + 1, err);
}

static bool take_line(struct importing *i, struct err *err)
{
    struct event event;

    arena_reset(&i->arena);
    if (!log_event_read(buf_as_str(&i->lines.line), &i->arena, &event, err))
        return fail_in_line(i, i->lines.number, err);
    if (i->position == i->header.last) {
        err_set(err, ERR_INVALID_INPUT,
                "the header says that position %" PRIu64 " is the last one",
                i->header.last);
        return fail_in_line(i, i->lines.number, err);
    }
    i->position++;
    return log_import_add(i->import, &event, err) || fail_in_batch(i, err);
}

static void show(struct importing *i)
{
    const struct log_import_totals *totals = log_import_totals(i->import);

    progress_show(&i->progress, totals->stored + totals->already_there,
                  i->lines.bytes, i->lines.size);
}

static bool take_lines(struct importing *i, struct err *err)
{
    enum lines_end got;

    while ((got = lines_next(&i->lines, err)) == LINES_READ) {
        if (!take_line(i, err))
            return false;
        show(i);
    }
    if (got == LINES_FAILED)
        return fail_in_line(i, i->lines.number, err);
    return log_import_finish(i->import, err) || fail_in_batch(i, err);
}

static bool check_whole(const struct importing *i, struct err *err)
{
    if (i->position == i->header.last)
        return true;
    return err_set(err, ERR_INVALID_INPUT,
                   "%s is not whole: it ends with position %" PRIu64
                   ", and its header says %" PRIu64,
                   i->lines.name, i->position, i->header.last);
}

/* ---- */

static void print_totals(const struct importing *i, double seconds)
{
    const struct log_import_totals *totals = log_import_totals(i->import);
    uint64_t events = totals->stored + totals->already_there;

    if (args_has(i->args, "json"))
        printf("{\"imported\":%" PRIu64 ",\"already_there\":%" PRIu64
               ",\"seconds\":%.3f}\n",
               totals->stored, totals->already_there, seconds);
    else
        printf("imported %" PRIu64 " events, %" PRIu64
               " were there already (%.1f s, %.0f events/s)\n",
               totals->stored, totals->already_there, seconds,
               seconds > 0 ? (double)events / seconds : 0);
}

static bool import_lines(struct importing *i, struct err *err)
{
    i->import = log_import_open(i->store, i->header.after, err);
    if (i->import == NULL)
        return false;
    interrupt_watch();
    progress_begin(&i->progress);
    bool good = take_lines(i, err);
    double seconds = progress_end(&i->progress);
    print_totals(i, seconds);
    return good && interrupt_check(err) && check_whole(i, err);
}

static bool import_log(struct importing *i, struct err *err)
{
    return lines_open(&i->lines, i->args->words[0], LOG_FILE_LINE_MAX, err) &&
           read_header(i, err) && open_store(i, err) && import_lines(i, err);
}

static int run(const struct cli_args *args)
{
    struct importing i = {.args = args};
    struct err err = {0};
    bool good;

    setup_command_log();
    good = import_log(&i, &err);
    log_import_close(i.import);
    store_close(i.store);
    lines_close(&i.lines);
    arena_done(&i.arena);
    config_done(&i.config);
    if (good)
        return CLI_DONE;
    return err.code == ERR_NONE ? CLI_WRONG_USAGE : setup_fail(&err);
}

const struct cli_command cli_import = {
    .name = "import",
    .usage = "FILE",
    .summary = "Puts a log that was exported into an empty store",
    .help = "Events keep their positions, versions, ids and times; - reads "
            "standard input.  An\nimport that was broken off goes on when it "
            "is begun again: what is in the log\nalready must be the same.  "
            "The engine of a SQLite database is stopped meanwhile.\n\n"
            "  perigee import log.ndjson\n"
            "  zstd -dc log.ndjson.zst | perigee import -\n",
    .min_words = 1,
    .max_words = 1,
    .options =
        {
            OPTION_JSON,
        },
    .run = run,
};
