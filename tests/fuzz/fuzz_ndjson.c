#include "fuzz/targets.h"

#include "api/append_body.h"
#include "base/hash.h"
#include "cli/ndjson.h"

#include <string.h>

/* The API takes what a run holds, unless it says what is wrong with it. */
static void check_run(const struct run *run)
{
    struct append_request append = {.aggregate_type = run->aggregate_type,
                                    .aggregate_id = run->aggregate_id};
    struct arena arena = {0};
    struct buf body = {0};
    struct err err = {0};

    CHECK(run->count >= 1 && run->count <= RUN_MAX_EVENTS);
    CHECK(run->aggregate_id.len <= EVENT_ID_MAX_BYTES);
    buf_text(&body, "{\"events\":[");
    buf_str(&body, buf_as_str(&run->events));
    buf_text(&body, "]}");
    CHECK(json_check(buf_as_str(&body), NULL, &err));
    if (append_body_read(json_value(buf_as_str(&body)), NULL, &arena, &append,
                         &err))
        CHECK(append.count == run->count);
    else
        CHECK(err.code != ERR_NONE);
    buf_done(&body);
    arena_done(&arena);
}

/* Reads the whole file; the text of all its runs, and how it ended. */
static enum ndjson_end read_all(const char *path, struct buf *text)
{
    struct run run = {0};
    struct err err = {0};
    struct ndjson *ndjson = ndjson_open(path, &err);
    enum ndjson_end end;

    CHECK(ndjson != NULL);
    while (run_reset(&run),
           (end = ndjson_next(ndjson, &run, &err)) == NDJSON_RUN) {
        check_run(&run);
        buf_str(text, run.aggregate_type);
        buf_str(text, run.aggregate_id);
        buf_str(text, buf_as_str(&run.events));
        buf_char(text, '\n');
    }
    CHECK(end == NDJSON_END || err.code != ERR_NONE);
    ndjson_close(ndjson);
    run_done(&run);
    return end;
}

/* The same file gives the same runs and ids, each time. */
void fuzz_ndjson(struct str input)
{
    const char *path = fuzz_file_open(input);
    struct buf first = {0}, second = {0};

    CHECK(read_all(path, &first) == read_all(path, &second));
    CHECK(str_eq(buf_as_str(&first), buf_as_str(&second)));
    buf_done(&first);
    buf_done(&second);
    fuzz_file_close();
}
