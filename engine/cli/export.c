/*
 * The log into a file, page by page, as the API gives it: from the store
 * itself or from a running engine.  Where the log ended at the start the file
 * ends, however much is appended meanwhile.  A file gets its name when it is
 * whole and on the disk.
 */
#include "cli/commands.h"
#include "cli/door.h"
#include "cli/interrupt.h"
#include "cli/log_file.h"
#include "cli/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_LIMIT 1000

struct exporting {
    const struct cli_args *args;
    struct door *door;
    FILE *out;
    const char *path;   /* as given; NULL: standard output */
    struct buf partial; /* its name until it is whole; empty: it has its own */
    struct log_header header;
    uint64_t position; /* the last one written */
    struct progress progress;
    double seconds; /* that it took */
    struct buf target, answer;
};

/* ---- the file ---- */

/* A device or a pipe must not be replaced by a file. */
static bool may_be_replaced(const char *path)
{
    struct stat about;

    return stat(path, &about) != 0 || S_ISREG(about.st_mode);
}

static bool open_file(struct exporting *export, struct err *err)
{
    const char *name = export->path = args_value(export->args, "file");

    export->out = stdout;
    if (name == NULL || strcmp(name, "-") == 0) {
        export->path = NULL;
        return true;
    }
    if (may_be_replaced(name)) {
        buf_printf(&export->partial, "%s.partial", name);
        name = export->partial.ptr;
    }
    export->out = fopen(name, "we");
    return export->out != NULL ||
           err_set(err, ERR_USAGE, "%s: %s", name, strerror(errno));
}

static bool check_written(struct exporting *export, struct err *err)
{
    if (fflush(export->out) == 0 && !ferror(export->out))
        return true;
    return err_set(err, ERR_INTERNAL, "the output could not be written: %s",
                   strerror(errno));
}

static bool name_file(struct exporting *export, struct err *err)
{
    if (!check_written(export, err))
        return false;
    if (export->partial.len == 0)
        return true;
    if (fsync(fileno(export->out)) == 0 &&
        rename(export->partial.ptr, export->path) == 0)
        return true;
    return err_set(err, ERR_INTERNAL, "%s: %s", export->path, strerror(errno));
}

static void close_file(struct exporting *export, bool good)
{
    if (export->out != NULL && export->path != NULL)
        fclose(export->out);
    if (!good && export->partial.len > 0)
        unlink(export->partial.ptr);
    buf_done(&export->partial);
}

/* ---- the log ---- */

static bool ask_log(struct exporting *export, struct log_header *out,
                    struct err *err)
{
    struct buf log_id = {0};
    struct json answer;
    bool good;

    if (!door_call(export->door, "GET", "/api/log", STR_NONE, &export->answer,
                   err))
        return false;
    answer = json_value(buf_as_str(&export->answer));
    good = json_u64(json_get(answer, STR("head")), &out->head) &&
           json_get(answer, STR("log_id")).kind == JSON_STRING;
    if (good)
        json_unescape(json_get(answer, STR("log_id")), &log_id);
    good = good && uuid_parse(buf_as_str(&log_id), &out->log_id);
    buf_done(&log_id);
    return good || err_set(err, ERR_STORE,
                           "the engine does not say what log "
                           "it serves: is it older?");
}

static bool begin(struct exporting *export, struct err *err)
{
    struct log_header *header = &export->header;
    uint64_t limit;

    if (!args_u64(export->args, "after", 0, &header->after, err) ||
        !args_u64(export->args, "limit", UINT64_MAX, &limit, err) ||
        !ask_log(export, header, err))
        return false;
    if (header->after > header->head)
        return err_set(err, ERR_USAGE,
                       "--after %" PRIu64 ": the log ends at position %" PRIu64,
                       header->after, header->head);
    header->last = header->after + MIN(limit, header->head - header->after);
    export->position = header->after;
    return true;
}

static bool write_event(struct exporting *export, struct json event,
                        struct err *err)
{
    uint64_t position;

    if (!json_u64(json_get(event, STR("position")), &position) ||
        position != export->position + 1)
        return err_set(err, ERR_CONFLICT,
                       "position %" PRIu64 " was not followed by the next: "
                       "the log became another one",
                       export->position);
    export->position = position;
    fwrite(event.raw.ptr, 1, event.raw.len, export->out);
    putc('\n', export->out);
    return true;
}

static bool write_page(struct exporting *export, struct err *err)
{
    struct json page = json_value(buf_as_str(&export->answer));
    struct json_in in = json_open(json_get(page, STR("events")));
    uint64_t before = export->position;
    struct json event;
    struct str key;

    while (export->position < export->header.last &&
           json_next(&in, &key, &event)) {
        if (!write_event(export, event, err))
            return false;
    }
    return export->position > before ||
           err_set(err, ERR_CONFLICT,
                   "the log ends at position %" PRIu64 ", not %" PRIu64
                   " as before",
                   before, export->header.last);
}

static bool read_page(struct exporting *export, struct err *err)
{
    uint64_t left = export->header.last - export->position;

    buf_clear(&export->target);
    buf_printf(&export->target, "/api/events?after=%" PRIu64 "&limit=%" PRIu64,
               export->position, MIN(left, PAGE_LIMIT));
    return door_call(export->door, "GET", export->target.ptr, STR_NONE,
                     &export->answer, err);
}

static bool write_events(struct exporting *export, struct err *err)
{
    const struct log_header *header = &export->header;

    while (export->position < header->last) {
        if (interrupted())
            return err_set(err, ERR_SHUTTING_DOWN, "interrupted");
        if (!read_page(export, err) || !write_page(export, err) ||
            !check_written(export, err))
            return false;
        progress_show(&export->progress, export->position - header->after,
                      export->position - header->after,
                      header->last - header->after);
    }
    return true;
}

/* What was read is one log's only if it is the same one now. */
static bool check_same_log(struct exporting *export, struct err *err)
{
    struct log_header now = {0};

    if (!ask_log(export, &now, err))
        return false;
    return uuid_eq(now.log_id, export->header.log_id) ||
           err_set(err, ERR_CONFLICT, "the log became another one meanwhile");
}

static bool write_log(struct exporting *export, struct err *err)
{
    struct buf line = {0};

    log_header_write(&export->header, &line);
    fwrite(line.ptr, 1, line.len, export->out);
    buf_done(&line);
    return write_events(export, err) && check_same_log(export, err);
}

/* ---- */

static void print_summary(const struct exporting *export)
{
    const struct log_header *header = &export->header;
    uint64_t count = export->position - header->after;
    /* where no event can stand */
    FILE *out = export->path == NULL ? stderr : stdout;

    if (count == 0)
        fprintf(out,
                "exported 0 events: the file ends at position %" PRIu64
                " of %" PRIu64 "\n",
                header->last, header->head);
    else
        fprintf(out,
                "exported %" PRIu64 " events, positions %" PRIu64 " to %" PRIu64
                " of %" PRIu64 " (%.1f s, %.0f events/s)\n",
                count, header->after + 1, header->last, header->head,
                export->seconds,
                export->seconds > 0 ? (double)count / export->seconds : 0);
}

static bool write_file(struct exporting *export, struct err *err)
{
    interrupt_watch();
    progress_begin(&export->progress);
    bool good = write_log(export, err) && name_file(export, err);
    export->seconds = progress_end(&export->progress);
    return good;
}

static bool export_log(struct exporting *export, struct err *err)
{
    bool good =
        begin(export, err) && open_file(export, err) && write_file(export, err);

    close_file(export, good);
    if (good)
        print_summary(export);
    return good;
}

static int run(const struct cli_args *args)
{
    struct exporting export = {.args = args};
    struct err err = {0};
    bool good;

    export.door = door_open(args, &err);
    good = export.door != NULL && export_log(&export, &err);
    door_close(export.door);
    buf_done(&export.target);
    buf_done(&export.answer);
    return good ? CLI_DONE : door_fail(&err);
}

const struct cli_command cli_export = {
    .name = "export",
    .usage = "[--file FILE] [--after N] [--limit N]",
    .summary = "Writes the log, or a part of it, as a file for `import`",
    .help = "The file has a header, then one event a line with every field it "
            "has in the log.\nIt ends where the log ended at the start.  A "
            "file that is there is replaced once\nthe new one is whole.\n\n"
            "  perigee export --file log.ndjson\n"
            "  perigee export | zstd >log.ndjson.zst\n",
    .options =
        {
            {"file", "FILE", "instead of standard output"},
            {"after", "N", "only events behind this position"},
            {"limit", "N", "events at most"},
            OPTION_URL,
            OPTION_TOKEN,
        },
    .run = run,
};
