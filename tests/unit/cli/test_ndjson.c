#include "cli/ndjson.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* A file in a folder of its own, read run by run. */
struct fixture {
    char path[64];
    struct ndjson *ndjson;
    struct run run;
    struct err err;
};

static int make_file(void **state)
{
    static struct fixture fixture;
    int fd;

    fixture = (struct fixture){.path = "test_ndjson_XXXXXX"};
    fd = mkstemp(fixture.path);
    assert_true(fd >= 0);
    close(fd);
    *state = &fixture;
    return 0;
}

static int drop_file(void **state)
{
    struct fixture *fixture = *state;

    ndjson_close(fixture->ndjson);
    run_done(&fixture->run);
    unlink(fixture->path);
    return 0;
}

/* Writes the text and begins to read it. */
static void given(struct fixture *fixture, const char *text)
{
    FILE *file = fopen(fixture->path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
    ndjson_close(fixture->ndjson);
    fixture->err = (struct err){0};
    fixture->ndjson = ndjson_open(fixture->path, &fixture->err);
    assert_non_null(fixture->ndjson);
}

static enum ndjson_end next(struct fixture *fixture)
{
    return ndjson_next(fixture->ndjson, &fixture->run, &fixture->err);
}

#define LINE(id, number)                                                       \
    "{\"aggregate_type\":\"Order\",\"aggregate_id\":\"" id                     \
    "\",\"event_type\":\"Placed\",\"data\":{\"n\":" number "}}"

static struct str line_of(const struct run *run, size_t index)
{
    const struct run_line *line = &run->lines[index];

    return str_n(run->events.ptr + line->offset, line->len);
}

static struct str id_of(const struct run *run, size_t index)
{
    return json_get(json_value(line_of(run, index)), STR("event_id")).raw;
}

static void an_empty_file_has_no_runs(void **state)
{
    given(*state, "");
    assert_int_equal(next(*state), NDJSON_END);
    given(*state, "\n  \n\r\n");
    assert_int_equal(next(*state), NDJSON_END);
}

static void lines_of_one_stream_in_a_row_are_a_run(void **state)
{
    struct fixture *f = *state;

    given(f, LINE("a", "1") "\n" LINE("a", "2") "\n\n" LINE("b", "3") "\n" LINE(
                 "a", "4"));
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.count, 2);
    assert_true(str_eq(f->run.aggregate_type, STR("Order")));
    assert_true(str_eq(f->run.aggregate_id, STR("a")));
    assert_int_equal(f->run.lines[1].number, 2);
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.count, 1);
    assert_true(str_eq(f->run.aggregate_id, STR("b")));
    assert_int_equal(f->run.lines[0].number, 4);
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.lines[0].number, 5);
    assert_int_equal(next(f), NDJSON_END);
}

static void the_same_id_in_another_type_is_another_stream(void **state)
{
    struct fixture *f = *state;

    given(f, LINE("a", "1") "\n{\"aggregate_type\":\"Cart\",\"aggregate_id\":"
                            "\"a\",\"event_type\":\"E\",\"data\":{}}\n");
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.count, 1);
}

static void a_run_ends_after_a_thousand_lines(void **state)
{
    struct fixture *f = *state;
    struct buf text = {0};

    for (int i = 0; i < 1001; i++)
        buf_text(&text, LINE("a", "1") "\n");
    given(f, text.ptr);
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.count, 1000);
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.count, 1);
    buf_done(&text);
}

static void a_run_ends_before_it_gets_too_long(void **state)
{
    struct fixture *f = *state;
    struct buf text = {0};
    size_t seen = 0;

    for (int i = 0; i < 30; i++) {
        buf_text(&text, "{\"aggregate_type\":\"T\",\"aggregate_id\":\"a\","
                        "\"event_type\":\"E\",\"data\":{\"t\":\"");
        for (int c = 0; c < 50000; c++)
            buf_char(&text, 'x');
        buf_text(&text, "\"}}\n");
    }
    given(f, text.ptr);
    while (next(f) == NDJSON_RUN) {
        assert_true(f->run.events.len <= RUN_MAX_BYTES);
        seen += f->run.count;
    }
    assert_int_equal(seen, 30);
    buf_done(&text);
}

static void ids_are_made_from_what_stands_before(void **state)
{
    struct fixture *f = *state;
    char first[64], again[64];

    given(f, LINE("a", "1") "\n" LINE("a", "1") "\n");
    assert_int_equal(next(f), NDJSON_RUN);
    snprintf(first, sizeof(first), "%.*s", STR_ARG(id_of(&f->run, 0)));
    snprintf(again, sizeof(again), "%.*s", STR_ARG(id_of(&f->run, 1)));
    assert_int_equal(strlen(first), 38);
    assert_int_equal(first[15], '5'); /* the version's digit */
    assert_string_not_equal(first, again);
}

static void a_longer_file_has_the_same_ids_where_it_is_the_same(void **state)
{
    struct fixture *f = *state;
    char last[64];

    given(f, LINE("a", "1") "\n" LINE("a", "2"));
    assert_int_equal(next(f), NDJSON_RUN);
    snprintf(last, sizeof(last), "%.*s", STR_ARG(id_of(&f->run, 1)));
    given(f, LINE("a", "1") "\n" LINE("a", "2") "\n" LINE("a", "3") "\n");
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.count, 3);
    assert_true(str_eq(id_of(&f->run, 1), str_of(last)));
}

static void a_change_before_a_line_changes_its_id(void **state)
{
    struct fixture *f = *state;
    char last[64];

    given(f, LINE("a", "1") "\n" LINE("a", "2"));
    assert_int_equal(next(f), NDJSON_RUN);
    snprintf(last, sizeof(last), "%.*s", STR_ARG(id_of(&f->run, 1)));
    given(f, LINE("a", "7") "\n" LINE("a", "2"));
    assert_int_equal(next(f), NDJSON_RUN);
    assert_false(str_eq(id_of(&f->run, 1), str_of(last)));
}

static void an_id_that_is_given_stays(void **state)
{
    struct fixture *f = *state;
    struct str id = STR("\"0192f3a0-0000-7000-8000-000000000001\"");

    given(f, "{\"event_id\":\"0192f3a0-0000-7000-8000-000000000001\","
             "\"aggregate_type\":\"T\",\"aggregate_id\":\"a\","
             "\"event_type\":\"E\",\"data\":{}}");
    assert_int_equal(next(f), NDJSON_RUN);
    assert_true(str_eq(id_of(&f->run, 0), id));
}

static void numbers_and_bodies_stay_as_they_are(void **state)
{
    struct fixture *f = *state;

    given(f, "{\"aggregate_type\":\"T\",\"aggregate_id\":\"a\","
             "\"event_type\":\"E\",\"data\": {\"n\" : 1.50e0}, "
             "\"actor_id\":\"me\"}");
    assert_int_equal(next(f), NDJSON_RUN);
    assert_true(str_starts(line_of(&f->run, 0),
                           STR("{\"event_type\":\"E\",\"data\":{\"n\":1.50e0},"
                               "\"actor_id\":\"me\",\"event_id\":")));
}

static void what_the_store_gives_is_left_out_of_an_export(void **state)
{
    struct fixture *f = *state;
    struct str line;

    given(f, "{\"position\":7,\"aggregate_version\":3,\"recorded_at\":\"x\","
             "\"aggregate_type\":\"T\",\"aggregate_id\":\"a\","
             "\"event_type\":\"E\",\"data\":{}}");
    assert_int_equal(next(f), NDJSON_RUN);
    line = line_of(&f->run, 0);
    assert_int_equal(json_get(json_value(line), STR("position")).kind,
                     JSON_END);
    assert_int_equal(json_get(json_value(line), STR("recorded_at")).kind,
                     JSON_END);
}

static void a_uuid_in_capitals_is_the_same_stream(void **state)
{
    struct fixture *f = *state;

    given(f, LINE("0192F3A0-0000-7000-8000-00000000000A",
                  "1") "\n" LINE("0192f3a0-0000-7000-8000-00000000000a", "2"));
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.count, 2);
}

static void assert_fault(struct fixture *f, const char *bad, const char *says)
{
    struct buf text = {0};

    buf_printf(&text, "%s\n\n%s\n%s\n", LINE("a", "1"), bad, LINE("a", "2"));
    given(f, text.ptr);
    assert_int_equal(next(f), NDJSON_RUN);
    assert_int_equal(f->run.count, 1);
    assert_int_equal(next(f), NDJSON_FAILED);
    assert_non_null(strstr(f->err.text, says));
    buf_clear(&text);
    buf_printf(&text, "%s:3: ", f->path);
    assert_true(str_starts(str_of(f->err.text), buf_as_str(&text)));
    buf_done(&text);
}

static void a_bad_line_is_named_after_those_before_it(void **state)
{
    assert_fault(*state, "{\"a\":", "byte ");
    assert_fault(*state, "[1]", "must be a JSON object");
    assert_fault(*state, "{\"aggregate_type\":\"T\"}",
                 "aggregate_id is missing");
    assert_fault(*state, "{\"aggregate_id\":\"T\"}",
                 "aggregate_type is missing");
    assert_fault(*state, "{\"aggregate_type\":7}",
                 "aggregate_type must be a text");
    assert_fault(*state, "{\"aggregate_type\":\"a b\"}", "aggregate_type");
    assert_fault(*state, "{\"aggregate_id\":\"\"}", "");
}

static void a_line_without_an_end_is_refused_in_bounded_memory(void **state)
{
    struct fixture *f = *state;
    struct buf text = {0};

    for (size_t i = 0; i < LINE_MAX_BYTES + 1; i++)
        buf_char(&text, ' ');
    given(f, text.ptr);
    assert_int_equal(next(f), NDJSON_FAILED);
    assert_int_equal(f->err.code, ERR_TOO_LARGE);
    buf_done(&text);
}

static void a_file_that_is_not_there_is_named(void **state UNUSED)
{
    struct err err = {0};

    assert_null(ndjson_open("no/such/file", &err));
    assert_non_null(strstr(err.text, "no/such/file"));
}

static void how_far_it_is_read_is_known(void **state)
{
    struct fixture *f = *state;
    uint64_t total;

    given(f, LINE("a", "1") "\n" LINE("b", "2") "\n");
    while (next(f) == NDJSON_RUN)
        continue;
    uint64_t bytes = ndjson_bytes(f->ndjson, &total);
    assert_int_equal(bytes, total);
    assert_int_equal(total, 2 * strlen(LINE("a", "1") "\n"));
}

#define WITH_FILE(test)                                                        \
    cmocka_unit_test_setup_teardown(test, make_file, drop_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILE(an_empty_file_has_no_runs),
        WITH_FILE(lines_of_one_stream_in_a_row_are_a_run),
        WITH_FILE(the_same_id_in_another_type_is_another_stream),
        WITH_FILE(a_run_ends_after_a_thousand_lines),
        WITH_FILE(a_run_ends_before_it_gets_too_long),
        WITH_FILE(ids_are_made_from_what_stands_before),
        WITH_FILE(a_longer_file_has_the_same_ids_where_it_is_the_same),
        WITH_FILE(a_change_before_a_line_changes_its_id),
        WITH_FILE(an_id_that_is_given_stays),
        WITH_FILE(numbers_and_bodies_stay_as_they_are),
        WITH_FILE(what_the_store_gives_is_left_out_of_an_export),
        WITH_FILE(a_uuid_in_capitals_is_the_same_stream),
        WITH_FILE(a_bad_line_is_named_after_those_before_it),
        WITH_FILE(a_line_without_an_end_is_refused_in_bounded_memory),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        WITH_FILE(how_far_it_is_read_is_known),
    };

    if (chdir(getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp") != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
