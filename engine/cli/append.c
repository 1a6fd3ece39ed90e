#include "cli/commands.h"
#include "cli/import.h"
#include "cli/interrupt.h"
#include "cli/print.h"
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- one event ---- */

static bool write_expect(const char *expect, struct json_out *out,
                         struct err *err)
{
    static const char *const words[] = {"any", "no_stream", "stream_exists"};
    uint64_t version;

    if (str_to_u64(str_of(expect), &version)) {
        json_put_u64(out, "expected_version", version);
        return true;
    }
    for (size_t i = 0; i < COUNT(words); i++) {
        if (strcmp(expect, words[i]) == 0) {
            json_put_text(out, "expected_version", expect);
            return true;
        }
    }
    return err_set(err, ERR_USAGE,
                   "--expect takes a version, any, no_stream or "
                   "stream_exists, not \"%s\"",
                   expect);
}

static bool write_body(const struct cli_args *args, struct buf *body,
                       struct err *err)
{
    const char *expect = args_value(args, "expect");
    const char *data = args->word_count > 3 ? args->words[3] : "{}";
    struct json_out out;

    if (!json_check(str_of(data), NULL, err))
        return err_wrap(err, "the event's data");
    json_begin(&out, body);
    json_object(&out, NULL);
    if (!write_expect(expect != NULL ? expect : "any", &out, err))
        return false;
    json_array(&out, "events");
    json_object(&out, NULL);
    json_put_text(&out, "event_type", args->words[2]);
    json_put_raw(&out, "data", str_of(data));
    json_end(&out, '}');
    json_end(&out, ']');
    json_end(&out, '}');
    return true;
}

static void print_appended(const struct cli_args *args, struct json answer)
{
    struct buf line = {0};

    buf_printf(&line, "%s/%s is at version ", args->words[0], args->words[1]);
    print_value(json_get(answer, STR("version")), &line);
    buf_text(&line, "; position ");
    print_value(json_get(answer, STR("last_position")), &line);
    print_line(buf_as_str(&line));
    buf_done(&line);
}

static bool append_one(struct door *door, const struct cli_args *args,
                       struct err *err)
{
    struct buf target = {0}, body = {0}, answer = {0};

    buf_text(&target, "/api/streams/");
    door_encode(&target, args->words[0]);
    buf_char(&target, '/');
    door_encode(&target, args->words[1]);
    bool ok =
        door_set_key(door, args_value(args, "idempotency-key"), err) &&
        write_body(args, &body, err) &&
        door_call(door, "POST", target.ptr, buf_as_str(&body), &answer, err);
    if (ok && args_has(args, "json"))
        print_line(buf_as_str(&answer));
    else if (ok)
        print_appended(args, json_value(buf_as_str(&answer)));
    else
        door_drop_place(err);
    buf_done(&target);
    buf_done(&body);
    buf_done(&answer);
    return ok;
}

/* ---- a file ---- */

static bool send_runs(struct import *import, struct ndjson *ndjson,
                      struct progress *progress, struct err *err)
{
    enum ndjson_end got = NDJSON_RUN;

    while (got == NDJSON_RUN) {
        struct run *run = import_next(import, err);
        uint64_t total;

        if (run == NULL)
            return false;
        got = ndjson_next(ndjson, run, err);
        if (got == NDJSON_RUN && !import_send(import, err))
            return false;
        const struct import_totals *totals = import_totals(import);
        uint64_t part = ndjson_bytes(ndjson, &total);
        progress_show(progress, totals->appended + totals->already_stored, part,
                      total);
    }

    struct err fault = *err;
    if (!import_finish(import, err))
        return false;
    *err = fault;
    return got == NDJSON_END;
}

static void print_totals(const struct cli_args *args,
                         const struct import_totals *totals, double seconds)
{
    uint64_t events = totals->appended + totals->already_stored;
    double rate = seconds > 0 ? (double)events / seconds : 0;

    if (args_has(args, "json"))
        printf("{\"appended\":%" PRIu64 ",\"already_stored\":%" PRIu64
               ",\"new_streams\":%" PRIu64 ",\"seconds\":%.3f}\n",
               totals->appended, totals->already_stored, totals->new_streams,
               seconds);
    else
        printf("appended %" PRIu64 " events, %" PRIu64
               " were stored already, %" PRIu64
               " new streams (%.1f s, %.0f events/s)\n",
               totals->appended, totals->already_stored, totals->new_streams,
               seconds, rate);
}

static bool append_file(struct door *door, const struct cli_args *args,
                        struct err *err)
{
    struct ndjson *ndjson = ndjson_open(args_value(args, "file"), err);
    struct progress progress;

    if (ndjson == NULL)
        return false;
    struct import *import = import_new(door, ndjson_name(ndjson));
    interrupt_watch();
    progress_begin(&progress);
    bool ok = send_runs(import, ndjson, &progress, err);
    double seconds = progress_end(&progress);
    print_totals(args, import_totals(import), seconds);
    import_free(import);
    ndjson_close(ndjson);
    return ok && interrupt_check(err);
}

/* ---- public ---- */

static bool check_usage(const struct cli_args *args, struct err *err)
{
    bool is_file = args_has(args, "file");

    if (is_file && args->word_count > 0)
        return err_set(err, ERR_USAGE,
                       "--file names the streams itself; \"%s\" is too much",
                       args->words[0]);
    if (is_file && args_has(args, "expect"))
        return err_set(err, ERR_USAGE, "--expect is for a single event");
    if (is_file && args_has(args, "idempotency-key"))
        return err_set(err, ERR_USAGE,
                       "--idempotency-key is for a single event: a file's "
                       "events have ids and are stored once");
    if (!is_file && args->word_count < 3)
        return err_set(err, ERR_USAGE, "usage: perigee append %s",
                       args->command->usage);
    return true;
}

static int append(const struct cli_args *args)
{
    struct err err = {0};
    bool ok = false;

    if (!check_usage(args, &err))
        return setup_fail(&err);
    struct door *door = door_open(args, &err);
    if (door != NULL)
        ok = args_has(args, "file") ? append_file(door, args, &err)
                                    : append_one(door, args, &err);
    door_close(door);
    return ok ? CLI_DONE : door_fail(&err);
}

const struct cli_command cli_append = {
    .name = "append",
    .usage = "TYPE ID EVENT_TYPE [JSON] | --file FILE",
    .summary = "Appends one event, or all those of a file",
    .help = "A file has one JSON object a line: aggregate_type, aggregate_id, "
            "event_type, data,\nand any other field of an event.  Its order is "
            "kept, and it is safe to append it\nagain, also when it has grown: "
            "what is stored already is not stored twice.\n\n"
            "  perigee append Order 42 OrderShipped '{\"tracking_number\": "
            "\"T1\"}' --expect 1\n"
            "  perigee append --file events.ndjson\n",
    .max_words = 4,
    .options =
        {
            {"expect", "VERSION",
             "or any, no_stream, stream_exists: else nothing is stored"},
            OPTION_KEY,
            {"file", "FILE", "append its lines; - reads standard input"},
            OPTION_URL,
            OPTION_TOKEN,
            OPTION_JSON,
        },
    .run = append,
};
