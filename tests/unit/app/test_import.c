#include "cli/import.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

/* A folder of its own with a SQLite database, opened by a door in process. */
struct fixture {
    char folder[64];
    struct cli_args args;
    struct door *door;
    struct import_totals totals; /* of the last import */
    struct err err;
};

static void no_files(void)
{
    static const char *const names[] = {"log.db", "log.db-wal", "log.db-shm",
                                        "config.lua", "events.ndjson"};

    for (size_t i = 0; i < COUNT(names); i++)
        unlink(names[i]);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

static int begin(void **state)
{
    static struct fixture f;
    static char option[] = "--config=config.lua";
    char *argv[] = {option};
    const char *parent = getenv("TMPDIR");

    f = (struct fixture){0};
    snprintf(f.folder, sizeof(f.folder), "%s/test_import_XXXXXX",
             parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(f.folder));
    assert_int_equal(chdir(f.folder), 0);
    write_file("config.lua",
               "return { database = { url = \"sqlite:log.db\" } }");
    assert_true(args_parse(&f.args, cli_find("append"), 1, argv, &f.err));
    f.door = door_open(&f.args, &f.err);
    assert_non_null(f.door);
    *state = &f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    door_close(f->door);
    args_done(&f->args);
    no_files();
    rmdir(f->folder);
    return 0;
}

static bool send_all(struct import *import, struct ndjson *file,
                     struct err *err)
{
    enum ndjson_end got = NDJSON_RUN;

    while (got == NDJSON_RUN) {
        struct run *run = import_next(import, err);

        if (run == NULL)
            return false;
        got = ndjson_next(file, run, err);
        if (got == NDJSON_RUN && !import_send(import, err))
            return false;
    }
    return import_finish(import, err) && got == NDJSON_END;
}

static bool import_text(struct fixture *f, const char *text)
{
    write_file("events.ndjson", text);
    f->err = (struct err){0};
    struct ndjson *file = ndjson_open("events.ndjson", &f->err);
    assert_non_null(file);
    struct import *import = import_new(f->door, ndjson_name(file));
    bool ok = send_all(import, file, &f->err);
    f->totals = *import_totals(import);
    import_free(import);
    ndjson_close(file);
    return ok;
}

static void assert_totals(const struct fixture *f, uint64_t appended,
                          uint64_t already_stored, uint64_t new_streams)
{
    assert_int_equal(f->totals.appended, appended);
    assert_int_equal(f->totals.already_stored, already_stored);
    assert_int_equal(f->totals.new_streams, new_streams);
}

/* The log as `stream:n` words in order; `n` is what the event's data holds. */
static const char *whole_log(struct fixture *f)
{
    static struct buf words;
    struct buf answer = {0};
    struct json item;
    struct str key;

    buf_clear(&words);
    assert_true(door_call(f->door, "GET", "/api/events?limit=1000", STR_NONE,
                          &answer, &f->err));
    struct json_in in =
        json_open(json_get(json_value(buf_as_str(&answer)), STR("events")));
    while (json_next(&in, &key, &item)) {
        struct json data = json_get(item, STR("data"));

        json_unescape(json_get(item, STR("aggregate_id")), &words);
        buf_printf(&words, ":%.*s ", STR_ARG(json_get(data, STR("n")).raw));
    }
    buf_done(&answer);
    return words.len > 0 ? words.ptr : "";
}

#define LINE(id, n)                                                            \
    "{\"aggregate_type\":\"T\",\"aggregate_id\":\"" id                         \
    "\",\"event_type\":\"E\",\"data\":{\"n\":" n "}}\n"
#define KNOWN(id, n, event)                                                    \
    "{\"aggregate_type\":\"T\",\"aggregate_id\":\"" id                         \
    "\",\"event_type\":\"E\",\"data\":{\"n\":" n "},\"event_id\":"             \
    "\"0192f3a0-0000-7000-8000-00000000000" event "\"}\n"

static void events_stand_in_the_order_of_the_file(void **state)
{
    struct fixture *f = *state;

    assert_true(import_text(f, LINE("a", "1") LINE("a", "2") LINE("b", "3")
                                   LINE("a", "4") LINE("c", "5")));
    assert_totals(f, 5, 0, 3);
    assert_string_equal(whole_log(f), "a:1 a:2 b:3 a:4 c:5 ");
}

static void the_same_file_again_stores_nothing(void **state)
{
    struct fixture *f = *state;
    const char *text = LINE("a", "1") LINE("a", "2") LINE("b", "3");

    assert_true(import_text(f, text));
    assert_true(import_text(f, text));
    assert_totals(f, 0, 3, 0);
    assert_string_equal(whole_log(f), "a:1 a:2 b:3 ");
}

static void a_file_that_has_grown_goes_on_where_it_ended(void **state)
{
    struct fixture *f = *state;

    assert_true(import_text(f, LINE("b", "1") LINE("a", "2") LINE("a", "3")));
    assert_true(import_text(f,
                            LINE("b", "1") LINE("a", "2") LINE("a", "3")
                                LINE("a", "4") LINE("b", "5") LINE("a", "6")));
    assert_totals(f, 3, 3, 0);
    assert_string_equal(whole_log(f), "b:1 a:2 a:3 a:4 b:5 a:6 ");
}

static void every_stored_beginning_of_a_run_is_found(void **state)
{
    struct fixture *f = *state;
    struct buf text = {0};

    for (int lines = 1; lines <= 9; lines++) {
        buf_printf(&text, LINE("a", "%d"), lines);
        assert_true(import_text(f, text.ptr));
        assert_totals(f, 1, (uint64_t)lines - 1, lines == 1);
    }
    assert_string_equal(whole_log(f), "a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 a:9 ");
    buf_done(&text);
}

static void many_runs_keep_their_order_across_group_commits(void **state)
{
    struct fixture *f = *state;
    struct buf text = {0}, wanted = {0};

    for (int i = 0; i < 900; i++) {
        buf_printf(&text, i % 2 == 0 ? LINE("a", "%d") : LINE("b", "%d"), i);
        buf_printf(&wanted, i % 2 == 0 ? "a:%d " : "b:%d ", i);
    }
    assert_true(import_text(f, text.ptr));
    assert_string_equal(whole_log(f), wanted.ptr);
    buf_done(&text);
    buf_done(&wanted);
}

static void a_bad_line_ends_it_behind_everything_before(void **state)
{
    struct fixture *f = *state;

    assert_false(
        import_text(f, LINE("a", "1") LINE("b", "2") "{\n" LINE("b", "3")));
    assert_totals(f, 2, 0, 2);
    assert_non_null(strstr(f->err.text, "events.ndjson:3: byte "));
    assert_string_equal(whole_log(f), "a:1 b:2 ");
}

static void a_bad_event_within_a_run_is_named_by_its_line(void **state)
{
    struct fixture *f = *state;

    assert_false(import_text(
        f, LINE("a", "1") LINE(
               "a", "2") "\n"
                         "{\"aggregate_type\":\"T\",\"aggregate_id\":\"a\","
                         "\"event_type\":\"E\",\"data\":[]}\n" LINE("a", "4")));
    assert_totals(f, 2, 0, 1);
    assert_non_null(strstr(f->err.text, "events.ndjson:4: data"));
    assert_string_equal(whole_log(f), "a:1 a:2 ");
}

static void an_id_that_stands_in_two_lines_is_named(void **state)
{
    struct fixture *f = *state;

    assert_false(import_text(f, KNOWN("a", "1", "1") KNOWN("a", "2", "2")
                                    KNOWN("a", "3", "1") LINE("a", "4")));
    assert_totals(f, 2, 0, 1);
    assert_non_null(strstr(f->err.text, "events.ndjson:3: its event_id"));
}

static void nothing_behind_a_duplicate_is_stored(void **state)
{
    struct fixture *f = *state;

    assert_true(import_text(f, KNOWN("other", "0", "7")));
    assert_false(import_text(f,
                             LINE("a", "1") LINE("b", "2") KNOWN("a", "3", "7")
                                 LINE("c", "4") LINE("a", "5")));
    assert_totals(f, 2, 0, 2);
    assert_int_equal(f->err.code, ERR_DUPLICATE_EVENT);
    assert_non_null(strstr(f->err.text, "events.ndjson:3: "));
    assert_string_equal(whole_log(f), "other:0 a:1 b:2 ");
}

static void other_content_under_a_stored_id_is_a_fault(void **state)
{
    struct fixture *f = *state;

    assert_true(import_text(f, KNOWN("a", "1", "1") KNOWN("a", "2", "2")));
    assert_false(import_text(f, KNOWN("a", "1", "1") KNOWN("a", "7", "2")));
    assert_int_equal(f->err.code, ERR_DUPLICATE_EVENT);
    assert_string_equal(whole_log(f), "a:1 a:2 ");
}

static void problem_documents_become_one_line(void **state UNUSED)
{
    struct err err = {0};

    door_problem(
        422,
        STR("{\"code\":\"invalid_input\",\"detail\":\"total: missing\","
            "\"errors\":[{\"field\":\"total\",\"message\":\"missing\"},"
            "{\"field\":\"id\",\"message\":\"a text expected\"}]}"),
        &err);
    assert_int_equal(err.code, ERR_INVALID_INPUT);
    assert_string_equal(err.text, "total: missing; id: a text expected");
    door_problem(502, STR("<html>"), &err);
    assert_int_equal(err.code, ERR_STORE);
    assert_non_null(strstr(err.text, "502"));
}

static void targets_are_encoded(void **state UNUSED)
{
    struct buf target = {0};

    buf_text(&target, "/x/");
    door_encode(&target, "a/b ü?%");
    door_param(&target, "q", "1&2");
    door_param(&target, "none", NULL);
    door_param(&target, "r", "");
    assert_string_equal(target.ptr, "/x/a%2Fb%20%C3%BC%3F%25?q=1%262&r=");
    buf_done(&target);
}

#define WITH_DOOR(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DOOR(events_stand_in_the_order_of_the_file),
        WITH_DOOR(the_same_file_again_stores_nothing),
        WITH_DOOR(a_file_that_has_grown_goes_on_where_it_ended),
        WITH_DOOR(every_stored_beginning_of_a_run_is_found),
        WITH_DOOR(many_runs_keep_their_order_across_group_commits),
        WITH_DOOR(a_bad_line_ends_it_behind_everything_before),
        WITH_DOOR(a_bad_event_within_a_run_is_named_by_its_line),
        WITH_DOOR(an_id_that_stands_in_two_lines_is_named),
        WITH_DOOR(nothing_behind_a_duplicate_is_stored),
        WITH_DOOR(other_content_under_a_stored_id_is_a_fault),
        cmocka_unit_test(problem_documents_become_one_line),
        cmocka_unit_test(targets_are_encoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
