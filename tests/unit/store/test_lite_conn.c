#include "unit/store/lite_support.h"

#include "store/lite_wal.h"

static struct lite_options options;

static struct lite_conn *open_conn(enum lite_use use)
{
    struct err err = {0};
    struct lite_conn *conn;

    options = (struct lite_options){
        .path = in_folder("x.db"), .busy_ms = 1000, .statement_ms = 1000};
    conn = lite_conn_open(&options, use, &err);
    if (conn == NULL)
        fail_msg("%s", err.text);
    lite_conn_lend(conn, 0);
    return conn;
}

static void run(struct lite_conn *conn, const char *sql)
{
    struct err err = {0};

    if (!lite_exec(conn, sql, &err))
        fail_msg("%s: %s", sql, err.text);
}

/* The first column of all rows, with a space behind each. */
static void assert_rows(struct lite_conn *conn, const char *sql,
                        const char *wanted)
{
    struct err err = {0};
    struct buf got = {0};
    enum lite_row row;
    AUTO_STMT stmt = lite_prepare(conn, sql, &err);

    assert_non_null(stmt);
    while ((row = lite_step(conn, stmt, &err)) == LITE_ROW)
        buf_printf(&got, "%.*s ", STR_ARG(lite_column_str(stmt, 0)));
    if (row == LITE_FAILED)
        fail_msg("%s", err.text);
    assert_string_equal(buf_as_str(&got).ptr, wanted);
    buf_done(&got);
}

static void assert_fails(struct lite_conn *conn, const char *sql,
                         enum err_code code, const char *words)
{
    struct err err = {0};

    assert_false(lite_exec(conn, sql, &err));
    assert_string_equal(err_name(err.code), err_name(code));
    if (strstr(err.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, words);
}

static void a_writer_is_durable_and_a_reader_cannot_write(void **state UNUSED)
{
    struct lite_conn *writer = open_conn(LITE_WRITES);
    struct lite_conn *reader = open_conn(LITE_READS);

    assert_rows(writer, "pragma journal_mode", "wal ");
    assert_rows(writer, "pragma synchronous", "2 ");
    assert_rows(writer, "pragma foreign_keys", "1 ");
    assert_rows(reader, "pragma journal_mode", "wal ");
    run(writer, "create table t (a)");
    assert_fails(reader, "insert into t values (1)", ERR_STORE, "written");
    lite_conn_close(reader);
    lite_conn_close(writer);
}

static void decimals_sort_and_sum_by_value_in_sql(void **state UNUSED)
{
    struct lite_conn *conn = open_conn(LITE_WRITES);

    run(conn, "create table t (n text collate decimal)");
    run(conn,
        "insert into t values ('10'), ('9.5'), ('-1'), ('9.50'), ('0.1')");
    assert_rows(conn, "select n from t order by n, rowid",
                "-1 0.1 9.5 9.50 10 ");
    assert_rows(conn, "select count(*) from t where n = '9.500'", "2 ");
    assert_rows(conn, "select decimal_sum(n) from t", "28.10 ");
    assert_rows(conn, "select decimal_sum(n) from t where n > '100'", " ");
    assert_fails(conn, "select decimal_sum('a lot')", ERR_CONFIG, "number");
    lite_conn_close(conn);
}

static void a_full_disk_is_called_that(void **state UNUSED)
{
    struct lite_conn *conn = open_conn(LITE_WRITES);

    run(conn, "create table t (a)");
    run(conn, "pragma max_page_count = 4");
    assert_fails(conn, "insert into t values (randomblob(100000))", ERR_STORE,
                 "disk is full");
    lite_conn_close(conn);
}

static void a_file_that_is_no_database_is_called_that(void **state UNUSED)
{
    struct lite_options bad = {.path = in_folder("bad.db"), .busy_ms = 1};
    struct err err = {0};

    write_file(bad.path, "This is a letter, and a long one as letters go; it "
                         "has never been a database and never will be one.");
    assert_null(lite_conn_open(&bad, LITE_WRITES, &err));
    assert_string_equal(err_name(err.code), err_name(ERR_STORE));
    assert_non_null(strstr(err.text, "damaged"));
    assert_non_null(strstr(err.text, "bad.db"));
}

static void damage_inside_a_file_is_called_that(void **state UNUSED)
{
    struct lite_conn *conn = open_conn(LITE_WRITES);
    int fd;

    run(conn, "create table t (a); insert into t values (randomblob(50000));"
              "create index i on t (a); pragma wal_checkpoint(truncate)");
    lite_conn_close(conn);
    fd = open(in_folder("x.db"), O_WRONLY);
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, 4096), 4);
    close(fd);
    conn = open_conn(LITE_WRITES);
    assert_fails(conn, "insert into t values (1); select * from t", ERR_STORE,
                 "damaged");
    lite_conn_close(conn);
}

static void
another_process_that_writes_is_waited_for_and_named(void **state UNUSED)
{
    struct lite_conn *conn = open_conn(LITE_WRITES);
    struct lite_conn *other = open_conn(LITE_WRITES);
    uint64_t began_ms = clock_ms();
    struct err err = {0};

    assert_true(lite_begin_write(other, &err));
    assert_false(lite_begin_write(conn, &err));
    assert_true(clock_ms() - began_ms >= 900);
    assert_string_equal(err_name(err.code), err_name(ERR_STORE));
    assert_non_null(strstr(err.text, "locked"));
    lite_rollback(other);
    assert_true(lite_begin_write(conn, &err));
    lite_rollback(conn);
    lite_conn_close(other);
    lite_conn_close(conn);
}

static void a_commit_that_fails_is_rolled_back(void **state UNUSED)
{
    struct lite_conn *conn = open_conn(LITE_WRITES);
    struct err err = {0};

    run(conn, "create table parent (id integer primary key);"
              "create table child (parent integer references parent (id)"
              "  deferrable initially deferred)");
    assert_true(lite_begin_write(conn, &err));
    run(conn, "insert into child values (7)");
    assert_false(lite_commit(conn, &err));
    assert_string_equal(err_name(err.code), err_name(ERR_DATA));
    assert_true(lite_conn_settle(conn));
    assert_rows(conn, "select count(*) from child", "0 ");
    lite_conn_close(conn);
}

static void a_reader_that_reads_for_too_long_is_ended(void **state UNUSED)
{
    static const char endless[] =
        "with recursive n (i) as (select 1 union all select i + 1 from n)"
        " select count(*) from n";
    struct lite_conn *writer = open_conn(LITE_WRITES);
    struct lite_conn *reader = open_conn(LITE_READS);

    lite_conn_lend(reader, clock_ms() + 50);
    assert_fails(reader, endless, ERR_STORE, "too long");
    lite_conn_lend(reader, clock_ms() + 10000);
    assert_rows(reader, "select 1", "1 ");
    lite_conn_close(reader);
    lite_conn_close(writer);
}

static void
statements_are_kept_for_a_loan_and_forgotten_by_age(void **state UNUSED)
{
    struct lite_conn *conn = open_conn(LITE_WRITES);
    struct err err = {0};
    sqlite3_stmt *first = lite_prepare(conn, "select 0", &err);
    char sql[32];

    for (int i = 1; i < 250; i++) {
        snprintf(sql, sizeof(sql), "select %d", i);
        assert_non_null(lite_prepare(conn, sql, &err));
    }
    assert_ptr_equal(lite_prepare(conn, "select 0", &err), first);
    assert_int_equal(conn->cached, 250);
    assert_true(lite_conn_settle(conn));
    assert_in_range(conn->cached, 1, 100);

    /* What the next loans use stays. */
    for (int loan = 0; loan < 300; loan++) {
        lite_conn_lend(conn, 0);
        assert_rows(conn, "select 'kept'", "kept ");
        snprintf(sql, sizeof(sql), "select -%d", loan);
        assert_non_null(lite_prepare(conn, sql, &err));
        assert_true(lite_conn_settle(conn));
    }
    assert_in_range(conn->cached, 1, 100);
    lite_conn_close(conn);
}

static void write_and_tend(struct lite_conn *conn)
{
    struct err err = {0};

    assert_true(lite_begin_write(conn, &err));
    run(conn, "insert into t values (randomblob(400000))");
    assert_true(lite_commit(conn, &err));
    lite_wal_tend(conn);
}

#define MEBIBYTE (1 << 20)

static off_t wal_size(void)
{
    struct stat found;

    assert_int_equal(stat(in_folder("x.db-wal"), &found), 0);
    return found.st_size;
}

static void the_wal_stays_short_while_nobody_reads(void **state UNUSED)
{
    struct lite_conn *conn = open_conn(LITE_WRITES);

    run(conn, "create table t (a)");
    for (int i = 0; i < 100; i++)
        write_and_tend(conn);
    assert_true(wal_size() < 12 * MEBIBYTE);
    lite_conn_close(conn);
}

#define READERS 3

struct reading {
    struct thread *thread;
    struct lite_conn *conn;
    int *stop; /* atomic, shared */
    bool good;
};

/* One snapshot after the other, each for some milliseconds: together the
 * threads leave no moment without a reader in the WAL. */
static void read_without_pause(void *arg)
{
    static const char some_work[] =
        "with recursive n (i) as (select count(*) from t"
        "  union all select i + 1 from n limit 30000) select count(*) from n";
    struct reading *me = arg;
    struct err err = {0};

    while (me->good && __atomic_load_n(me->stop, __ATOMIC_SEQ_CST) == 0) {
        me->good = lite_begin_read(me->conn, &err) &&
                   lite_exec(me->conn, some_work, &err);
        lite_rollback(me->conn);
    }
}

static void the_wal_is_bounded_while_readers_never_pause(void **state UNUSED)
{
    struct lite_conn *conn = open_conn(LITE_WRITES);
    struct reading readers[READERS];
    struct err err = {0};
    off_t longest = 0;
    int stop = 0;

    run(conn, "create table t (a)");
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reading){
            .conn = open_conn(LITE_READS), .stop = &stop, .good = true};
        readers[i].thread =
            thread_start("reader", read_without_pause, &readers[i], &err);
        assert_non_null(readers[i].thread);
    }
    for (int i = 0; i < 250; i++) {
        write_and_tend(conn);
        longest = MAX(longest, wal_size());
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (size_t i = 0; i < READERS; i++) {
        thread_join(readers[i].thread);
        assert_true(readers[i].good);
        lite_conn_close(readers[i].conn);
    }
    print_message("longest WAL: %ld MiB\n", (long)(longest / MEBIBYTE));
    assert_true(longest < 80 * MEBIBYTE);
    lite_conn_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lite_test(a_writer_is_durable_and_a_reader_cannot_write),
        lite_test(decimals_sort_and_sum_by_value_in_sql),
        lite_test(a_full_disk_is_called_that),
        lite_test(a_file_that_is_no_database_is_called_that),
        lite_test(damage_inside_a_file_is_called_that),
        lite_test(another_process_that_writes_is_waited_for_and_named),
        lite_test(a_commit_that_fails_is_rolled_back),
        lite_test(a_reader_that_reads_for_too_long_is_ended),
        lite_test(statements_are_kept_for_a_loan_and_forgotten_by_age),
        lite_test(the_wal_stays_short_while_nobody_reads),
        lite_test(the_wal_is_bounded_while_readers_never_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
