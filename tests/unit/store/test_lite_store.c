#include "unit/store/lite_support.h"

static void the_folder_of_the_file_is_made(void **state UNUSED)
{
    struct store *store = open_migrated(in_folder("a/b c/d/x.db"));

    assert_int_equal(access(in_folder("a/b c/d/x.db"), F_OK), 0);
    store_close(store);
}

static void a_folder_that_cannot_be_made_is_named(void **state UNUSED)
{
    struct err err = {0};

    write_file(in_folder("file"), "");
    assert_null(open_lite(in_folder("file/x.db"), &err));
    assert_string_equal(err_name(err.code), err_name(ERR_STORE));
    assert_non_null(strstr(err.text, "file"));
}

static void names_that_sqlite_would_interpret_are_names(void **state UNUSED)
{
    static const char *const names[] = {":memory:", "file:x.db?mode=memory"};
    char *before = getcwd(NULL, 0);

    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < COUNT(names); i++) {
        store_close(open_migrated(names[i]));
        assert_int_equal(access(names[i], F_OK), 0);
    }
    assert_int_equal(chdir(before), 0);
    free(before);
}

static struct append_row one_row(struct event *event, const char *body,
                                 const struct append_delta *delta)
{
    *event = (struct event){
        .position = delta->head.position + 1,
        .event_id = uuid_new(),
        .event_type = STR("Placed"),
        .event_version = 1,
        .aggregate_type = STR("Order"),
        .aggregate_id = STR("a"),
        .aggregate_version = delta->head.position + 1,
        .data = str_of(body),
        .metadata = STR("{}"),
    };
    return (struct append_row){event, 1};
}

static enum append_end append_one(struct store_writer *writer, const char *body,
                                  struct err *err)
{
    struct arena arena = {0};
    struct append_delta delta;
    struct append_row row;
    struct event event;

    if (!store_append_begin(writer, (struct log_place){0}, &arena, &delta, err))
        fail_msg("%s", err->text);
    row = one_row(&event, body, &delta);
    arena_done(&arena);
    return store_append_commit(
        writer, &(struct append_batch){.rows = &row, .count = 1}, err);
}

static void limit_pages(struct store *store, const char *pragma)
{
    struct err err = {0};
    struct lite_conn *conn = lite_write_begin(store, &err);

    assert_non_null(conn);
    assert_true(lite_exec(conn, pragma, &err));
    lite_write_drop(store, conn);
}

static void an_append_to_a_full_disk_happens_later(void **state UNUSED)
{
    struct store *store = open_migrated(in_folder("x.db"));
    struct err err = {0};
    struct store_writer *writer = store_writer_open(store, &err);
    char *body = mem_alloc(1000001);
    uint64_t head;

    memset(body, '1', 1000000);
    body[1000000] = '\0';
    limit_pages(store, "pragma max_page_count = 60");
    assert_int_equal(append_one(writer, body, &err), APPEND_ROLLED_BACK);
    assert_string_equal(err_name(err.code), err_name(ERR_STORE));
    assert_non_null(strstr(err.text, "disk is full"));
    assert_true(store_head(store, &head, &err));
    assert_int_equal(head, 0);
    limit_pages(store, "pragma max_page_count = 100000");
    assert_int_equal(append_one(writer, body, &err), APPEND_COMMITTED);
    mem_free(body);
    store_writer_close(writer);
    store_close(store);
}

static void closing_a_writer_gives_the_turn_back(void **state UNUSED)
{
    struct store *store = open_migrated(in_folder("x.db"));
    struct err err = {0};
    struct store_writer *writer = store_writer_open(store, &err);
    struct arena arena = {0};
    struct append_delta delta;

    assert_true(store_append_begin(writer, (struct log_place){0}, &arena,
                                   &delta, &err));
    store_writer_close(writer);
    writer = store_writer_open(store, &err);
    assert_int_equal(append_one(writer, "{}", &err), APPEND_COMMITTED);
    store_writer_close(writer);
    arena_done(&arena);
    store_close(store);
}

static void a_beat_with_nothing_to_renew_does_not_write(void **state UNUSED)
{
    struct store *store = open_migrated(in_folder("x.db"));
    struct err err = {0};
    struct store_keeper *keeper = store_keeper_open(store, &err);
    struct arena arena = {0};
    struct beat beat;
    struct stat before;
    struct stat after;

    assert_int_equal(stat(in_folder("x.db-wal"), &before), 0);
    for (int i = 0; i < 10; i++)
        assert_true(
            store_keeper_beat(keeper, uuid_new(), 1000, &arena, &beat, &err));
    assert_int_equal(stat(in_folder("x.db-wal"), &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    store_keeper_close(keeper);
    arena_done(&arena);
    store_close(store);
}

/* What a beat writes to the log. */
static void beat_and_read_log(struct store_keeper *keeper, char *out,
                              size_t size)
{
    struct arena arena = {0};
    struct err err = {0};
    struct beat beat;
    int pipes[2];
    ssize_t len;

    assert_int_equal(pipe(pipes), 0);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, pipes[1]);
    assert_true(
        store_keeper_beat(keeper, uuid_new(), 1000, &arena, &beat, &err));
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, 1);
    close(pipes[1]);
    len = read(pipes[0], out, size - 1);
    close(pipes[0]);
    out[MAX(len, 0)] = '\0';
    arena_done(&arena);
}

static void a_beat_tells_who_keeps_a_reader(void **state UNUSED)
{
    struct store *store = open_migrated(in_folder("x.db"));
    struct err err = {0};
    struct store_keeper *keeper = store_keeper_open(store, &err);
    struct lite_conn *reader = lite_read_begin(store, &err);
    char logged[1000];

    assert_non_null(reader);
    beat_and_read_log(keeper, logged, sizeof(logged));
    assert_string_equal(logged, "");
    reader->lent.since_ms -= 10001;
    beat_and_read_log(keeper, logged, sizeof(logged));
    assert_non_null(strstr(logged, "connection held too long"));
    assert_non_null(strstr(logged, "a_beat_tells_who_keeps_a_reader"));
    beat_and_read_log(keeper, logged, sizeof(logged));
    assert_string_equal(logged, "");
    lite_read_end(store, reader);
    store_keeper_close(keeper);
    store_close(store);
}

static void what_others_wrote_into_a_column_is_refused(void **state UNUSED)
{
    struct table_def table = {
        .name = STR("t"),
        .column_count = 2,
        .columns = {{STR("id"), VALUE_TEXT, false},
                    {STR("at"), VALUE_DATE, true}},
    };
    struct projection_def def = {.name = STR("p"),
                                 .generation = 1,
                                 .partitions = 1,
                                 .script_hash = STR(""),
                                 .definition = STR(""),
                                 .tables = &table,
                                 .table_count = 1};
    struct store *store = open_migrated(in_folder("x.db"));
    struct row_query query = {.table = &table, .limit = 10};
    struct arena arena = {0};
    struct err err = {0};
    struct lite_conn *conn;
    struct row *rows;
    size_t count;

    assert_true(store_projection_install(store, &def, 0, &err));
    conn = lite_write_begin(store, &err);
    assert_true(lite_exec(conn, "insert into t__1 values ('a', 'soon')", &err));
    assert_true(lite_write_end(store, conn, LITE_KEEP, &err));
    assert_false(store_rows_list(store, &query, &arena, &rows, &count, &err));
    assert_string_equal(err_name(err.code), err_name(ERR_DATA));
    assert_non_null(strstr(err.text, "column at"));
    arena_done(&arena);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lite_test(the_folder_of_the_file_is_made),
        lite_test(a_folder_that_cannot_be_made_is_named),
        lite_test(names_that_sqlite_would_interpret_are_names),
        lite_test(an_append_to_a_full_disk_happens_later),
        lite_test(closing_a_writer_gives_the_turn_back),
        lite_test(a_beat_with_nothing_to_renew_does_not_write),
        lite_test(a_beat_tells_who_keeps_a_reader),
        lite_test(what_others_wrote_into_a_column_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
