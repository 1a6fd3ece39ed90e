/*
 * What can happen to the file of a SQLite store while it is used: each fault
 * is called by its name and with the path, leaves nothing half, and is over
 * when its cause is gone.
 */
#include "unit/store/lite_support.h"

#include <sched.h>
#include <sys/mount.h>

#define ANYBODY 65534 /* whom the permissions of files hold for */

struct bench {
    struct store *store;
    struct store_writer *writer;
    struct uuid first_id; /* of the event at position 1 */
    struct err err;
};

static struct bench open_bench_at(const char *path)
{
    struct bench bench = {.store = open_migrated(path)};

    bench.writer = store_writer_open(bench.store, &bench.err);
    assert_non_null(bench.writer);
    return bench;
}

static struct bench open_bench(void)
{
    return open_bench_at(in_folder("x.db"));
}

static void close_bench(struct bench *bench)
{
    store_writer_close(bench->writer);
    store_close(bench->store);
}

/* One event of a stream of its own. */
static enum append_end append_body(struct bench *bench, const char *body)
{
    struct arena arena = {0};
    struct append_delta delta;
    struct event event = {
        .event_id = uuid_new(),
        .event_type = STR("Placed"),
        .event_version = 1,
        .aggregate_type = STR("Order"),
        .aggregate_version = 1,
        .data = str_of(body),
        .metadata = STR("{}"),
    };
    struct append_row row = {.event = &event};
    enum append_end end = APPEND_ROLLED_BACK;

    if (store_append_begin(bench->writer, (struct log_place){0}, &arena, &delta,
                           &bench->err)) {
        event.position = delta.head.position + 1;
        event.aggregate_id =
            str_of(arena_printf(&arena, "order-%d", (int)event.position));
        row.stream_id = event.position;
        if (event.position == 1)
            bench->first_id = event.event_id;
        end = store_append_commit(
            bench->writer, &(struct append_batch){.rows = &row, .count = 1},
            &bench->err);
    }
    arena_done(&arena);
    return end;
}

static void append_events(struct bench *bench, int count)
{
    for (int i = 0; i < count; i++)
        if (append_body(bench, "{}") != APPEND_COMMITTED)
            fail_msg("%s", bench->err.text);
}

static uint64_t head_of(struct bench *bench)
{
    uint64_t head = 0;

    if (!store_head(bench->store, &head, &bench->err))
        fail_msg("%s", bench->err.text);
    return head;
}

/* The path's last part stands in every text. */
static void assert_says(const struct err *err, enum err_code code,
                        const char *words)
{
    assert_string_equal(err_name(err->code), err_name(code));
    if (strstr(err->text, words) == NULL || strstr(err->text, ".db") == NULL)
        fail_msg("'%s' does not say '%s' and the path", err->text, words);
}

static void assert_cannot_append(struct bench *bench, const char *words)
{
    bench->err = (struct err){0};
    assert_int_equal(append_body(bench, "{}"), APPEND_ROLLED_BACK);
    assert_says(&bench->err, ERR_STORE, words);
}

static void assert_cannot_read(struct bench *bench, const char *words)
{
    uint64_t head;

    bench->err = (struct err){0};
    assert_false(store_head(bench->store, &head, &bench->err));
    assert_says(&bench->err, ERR_STORE, words);
}

static void assert_cannot_open(const char *path, const char *words)
{
    struct err err = {0};
    struct store *store = open_lite(path, &err);

    assert_null(store);
    assert_says(&err, ERR_STORE, words);
}

/* What stands in a file, asked by a connection of the test's own. */
static int count_in(const char *path, const char *what)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db;
    char sql[100];
    int count;

    snprintf(sql, sizeof(sql), "select count(*) from %s", what);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    count = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return count;
}

static void run_in(const char *path, const char *sql)
{
    char *text = NULL;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
    sqlite3_close(db);
}

static void copy_log(const char *from, const char *to)
{
    char sql[200];

    snprintf(sql, sizeof(sql), "vacuum into '%s'", to);
    run_in(from, sql);
}

static void assert_sound(const char *path)
{
    assert_int_equal(
        count_in(path, "pragma_integrity_check where integrity_check <> 'ok'"),
        0);
}

static off_t size_of(const char *path)
{
    struct stat found;

    assert_int_equal(stat(path, &found), 0);
    return found.st_size;
}

static void move(const char *from, const char *to)
{
    assert_int_equal(rename(from, to), 0);
}

/* ---- a full disk ---- */

/* A file system of a few megabytes that only this process sees, and that goes
 * with it; false where mounting is not allowed. */
static bool make_small_disk(void)
{
    assert_int_equal(mkdir(in_folder("disk"), 0777), 0);
    if (unshare(CLONE_NEWNS) == 0 &&
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("none", in_folder("disk"), "tmpfs", 0, "size=4m") == 0)
        return true;
    fprintf(stderr, "\nSKIPPED: a full disk, because nothing may be mounted "
                    "here\n\n");
    return false;
}

static void write_ballast(const char *path, size_t bytes)
{
    char piece[4096];
    int fd = open(path, O_WRONLY | O_CREAT, 0666);

    assert_true(fd >= 0);
    memset(piece, 'x', sizeof(piece));
    for (size_t done = 0; done < bytes; done += sizeof(piece))
        if (write(fd, piece, sizeof(piece)) != sizeof(piece))
            break;
    close(fd);
}

static char *large_body(void)
{
    char *body = mem_alloc(100001);

    memset(body, '1', 100000);
    body[100000] = '\0';
    return body;
}

static int append_until_full(struct bench *bench, const char *body)
{
    for (int count = 0; count < 100; count++)
        if (append_body(bench, body) != APPEND_COMMITTED)
            return count;
    return -1;
}

static void a_full_disk_refuses_whole_appends_until_there_is_room(void **state)
{
    struct snapshot snapshot = {.aggregate_type = STR("Order"),
                                .aggregate_id = STR("order-1"),
                                .version = 1,
                                .shape = STR("v1"),
                                .script_hash = STR("")};
    struct bench bench;
    char *body;
    int count;

    (void)state;
    if (!make_small_disk())
        skip();
    write_ballast(in_folder("disk/ballast"), 2 << 20);
    bench = open_bench_at(in_folder("disk/x.db"));
    body = large_body();
    snapshot.state = str_of(body);
    count = append_until_full(&bench, body);
    assert_in_range(count, 1, 30);
    assert_says(&bench.err, ERR_STORE, "the disk is full");
    assert_int_equal(head_of(&bench), count);
    snapshot.last_id = bench.first_id;
    assert_false(store_snapshot_save(bench.store, &snapshot, 1, &bench.err));
    assert_says(&bench.err, ERR_STORE, "the disk is full");
    assert_int_equal(unlink(in_folder("disk/ballast")), 0);
    assert_int_equal(append_body(&bench, body), APPEND_COMMITTED);
    assert_true(store_snapshot_save(bench.store, &snapshot, 1, &bench.err));
    assert_int_equal(head_of(&bench), count + 1);
    close_bench(&bench);
    assert_sound(in_folder("disk/x.db"));
    assert_int_equal(count_in(in_folder("disk/x.db"), "perigee_event_ids"),
                     count + 1);
    mem_free(body);
    assert_int_equal(umount(in_folder("disk")), 0);
}

static void a_log_is_not_begun_on_a_full_disk(void **state UNUSED)
{
    struct err err = {0};
    struct store *store;
    uint32_t steps;
    struct bench bench;

    if (!make_small_disk())
        skip();
    write_ballast(in_folder("disk/ballast"), 8 << 20);
    store = open_lite(in_folder("disk/x.db"), &err);
    if (store != NULL)
        assert_false(store_migrate(store, &steps, &err));
    store_close(store);
    assert_says(&err, ERR_STORE, "disk");
    assert_int_equal(unlink(in_folder("disk/ballast")), 0);
    bench = open_bench_at(in_folder("disk/x.db"));
    append_events(&bench, 1);
    close_bench(&bench);
    assert_int_equal(umount(in_folder("disk")), 0);
}

/* ---- permissions ---- */

/* Root may do anything, so the test becomes somebody else. */
static void become_anybody(void)
{
    if (geteuid() == 0) {
        assert_int_equal(chown(folder, ANYBODY, ANYBODY), 0);
        assert_int_equal(seteuid(ANYBODY), 0);
    }
}

static void become_oneself(void)
{
    assert_int_equal(seteuid(getuid()), 0);
}

static void a_file_that_may_not_be_written_is_called_that(void **state UNUSED)
{
    struct bench bench;

    become_anybody();
    bench = open_bench();
    append_events(&bench, 2);
    close_bench(&bench);
    assert_int_equal(chmod(in_folder("x.db"), 0444), 0);
    assert_cannot_open(in_folder("x.db"), "may not be written");
    assert_int_equal(chmod(in_folder("x.db"), 0), 0);
    assert_cannot_open(in_folder("x.db"), "cannot be opened");
    assert_int_equal(chmod(in_folder("x.db"), 0644), 0);
    bench = open_bench();
    append_events(&bench, 1);
    assert_int_equal(head_of(&bench), 3);
    close_bench(&bench);
    become_oneself();
}

static void a_folder_that_may_not_be_written_is_called_that(void **state UNUSED)
{
    struct bench bench;

    become_anybody();
    bench = open_bench();
    append_events(&bench, 2);
    close_bench(&bench);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_cannot_open(in_folder("x.db"), "folder may not be written");
    assert_cannot_open(in_folder("new.db"), "cannot be opened");
    assert_int_equal(chmod(folder, 0755), 0);
    bench = open_bench();
    assert_int_equal(head_of(&bench), 2);
    close_bench(&bench);
    become_oneself();
}

/* ---- a file that goes away ---- */

static void a_file_that_was_moved_away_is_missed_until_it_is_back(void **state)
{
    struct bench bench = open_bench();

    (void)state;
    append_events(&bench, 3);
    move(in_folder("x.db"), in_folder("away.db"));
    assert_cannot_append(&bench, "gone");
    assert_cannot_read(&bench, "gone");
    assert_int_equal(access(in_folder("x.db"), F_OK), -1);
    move(in_folder("away.db"), in_folder("x.db"));
    assert_int_equal(head_of(&bench), 3);
    append_events(&bench, 1);
    close_bench(&bench);
    assert_int_equal(count_in(in_folder("x.db"), "perigee_events"), 4);
}

/* The commit is the last moment at which it can be seen. */
static void an_append_that_lost_its_file_is_not_acknowledged(void **state)
{
    struct bench bench = open_bench();
    struct arena arena = {0};
    struct append_delta delta;

    (void)state;
    assert_true(store_append_begin(bench.writer, (struct log_place){0}, &arena,
                                   &delta, &bench.err));
    assert_int_equal(unlink(in_folder("x.db")), 0);
    assert_int_equal(store_append_commit(bench.writer,
                                         &(struct append_batch){0}, &bench.err),
                     APPEND_ROLLED_BACK);
    assert_says(&bench.err, ERR_STORE, "gone");
    arena_done(&arena);
    close_bench(&bench);
    assert_int_equal(access(in_folder("x.db"), F_OK), -1);
}

static struct uuid log_id_of(struct bench *bench)
{
    struct uuid id;

    assert_true(store_log_id(bench->store, &id, &bench->err));
    return id;
}

static void a_file_that_was_replaced_is_not_mixed_with_the_new_one(void **state)
{
    struct bench bench = open_bench();
    struct uuid before = log_id_of(&bench);

    (void)state;
    append_events(&bench, 3);
    copy_log(in_folder("x.db"), in_folder("copy.db"));
    append_events(&bench, 2);
    move(in_folder("x.db"), in_folder("away.db"));
    move(in_folder("copy.db"), in_folder("x.db"));
    assert_cannot_read(&bench, "replaced");
    assert_cannot_append(&bench, "replaced");
    /* What was written is where it belongs, and not in the way. */
    assert_int_equal(size_of(in_folder("x.db-wal")), 0);
    assert_int_equal(count_in(in_folder("away.db"), "perigee_events"), 5);
    close_bench(&bench);

    bench = open_bench();
    assert_int_equal(head_of(&bench), 3);
    assert_false(uuid_eq(before, log_id_of(&bench)));
    append_events(&bench, 1);
    close_bench(&bench);
    assert_sound(in_folder("x.db"));
    assert_sound(in_folder("away.db"));
}

static void a_file_that_was_renamed_is_the_same_log(void **state UNUSED)
{
    struct bench bench = open_bench();
    struct uuid before = log_id_of(&bench);

    append_events(&bench, 3);
    close_bench(&bench);
    move(in_folder("x.db"), in_folder("y.db"));
    bench = open_bench_at(in_folder("y.db"));
    assert_true(uuid_eq(before, log_id_of(&bench)));
    close_bench(&bench);
}

/* ---- the write-ahead log ---- */

static void
a_write_ahead_log_that_was_deleted_costs_one_refusal(void **state UNUSED)
{
    struct bench bench = open_bench();

    append_events(&bench, 3);
    assert_int_equal(unlink(in_folder("x.db-wal")), 0);
    assert_cannot_append(&bench, "write-ahead log");
    assert_int_equal(head_of(&bench), 3);
    append_events(&bench, 2);
    assert_int_equal(head_of(&bench), 5);
    assert_int_equal(count_in(in_folder("x.db"), "perigee_events"), 5);
    close_bench(&bench);
    assert_sound(in_folder("x.db"));
    assert_int_equal(count_in(in_folder("x.db"), "perigee_events"), 5);
}

/* A reader that is lent knows the old one, whether it reads just now or not. */
static void a_deleted_write_ahead_log_waits_for_loans(void **state UNUSED)
{
    struct bench bench = open_bench();
    struct lite_conn *reader;

    append_events(&bench, 3);
    reader = lite_read_begin(bench.store, &bench.err);
    assert_non_null(reader);
    assert_int_equal(unlink(in_folder("x.db-wal")), 0);
    assert_cannot_append(&bench, "write-ahead log");
    assert_cannot_append(&bench, "write-ahead log");
    lite_read_end(bench.store, reader);
    assert_cannot_append(&bench, "write-ahead log");
    append_events(&bench, 1);
    assert_int_equal(head_of(&bench), 4);
    close_bench(&bench);
    assert_sound(in_folder("x.db"));
}

/* As long as somebody reads, the files cannot be changed for others. */
static void a_deleted_write_ahead_log_waits_for_readers(void **state UNUSED)
{
    struct bench bench = open_bench();
    struct lite_conn *reader;

    append_events(&bench, 3);
    reader = lite_read_begin(bench.store, &bench.err);
    assert_non_null(reader);
    assert_true(lite_begin_read(reader, &bench.err));
    assert_true(lite_exec(reader, "select * from perigee_events", &bench.err));
    assert_int_equal(unlink(in_folder("x.db-wal")), 0);
    assert_cannot_append(&bench, "write-ahead log");
    assert_cannot_append(&bench, "write-ahead log");
    assert_cannot_read(&bench, "anew");
    lite_rollback(reader);
    lite_read_end(bench.store, reader);
    assert_cannot_append(&bench, "write-ahead log");
    append_events(&bench, 1);
    assert_int_equal(head_of(&bench), 4);
    close_bench(&bench);
    assert_sound(in_folder("x.db"));
}

/* ---- damage ---- */

static void damage(const char *path, char *saved, size_t size)
{
    int fd = open(path, O_RDWR);
    char noise[8192];

    assert_true(fd >= 0 && size <= sizeof(noise));
    memset(noise, 0x5a, sizeof(noise));
    assert_int_equal(pread(fd, saved, size, 4096), size);
    assert_int_equal(pwrite(fd, noise, size, 4096), size);
    close(fd);
}

static void repair(const char *path, const char *saved, size_t size)
{
    int fd = open(path, O_RDWR);

    assert_int_equal(pwrite(fd, saved, size, 4096), size);
    close(fd);
}

static void a_damaged_file_is_called_that_until_it_is_repaired(void **state)
{
    struct bench bench = open_bench();
    char saved[8192];
    struct err err = {0};
    struct store *store;

    (void)state;
    append_events(&bench, 3);
    close_bench(&bench);
    damage(in_folder("x.db"), saved, sizeof(saved));
    store = open_lite(in_folder("x.db"), &err);
    assert_non_null(store);
    assert_false(store_check_schema(store, &err));
    assert_says(&err, ERR_STORE, "damaged");
    repair(in_folder("x.db"), saved, sizeof(saved));
    if (!store_check_schema(store, &err))
        fail_msg("%s", err.text);
    store_close(store);
}

/* ---- what is not ours, or not for us ---- */

static void a_database_of_somebody_else_is_left_alone(void **state UNUSED)
{
    struct err err = {0};
    struct store *store;
    uint32_t steps;

    run_in(in_folder("x.db"), "create table invoices (id)");
    store = open_lite(in_folder("x.db"), &err);
    assert_non_null(store);
    assert_false(store_check_schema(store, &err));
    assert_says(&err, ERR_CONFIG, "invoices");
    assert_false(store_migrate(store, &steps, &err));
    assert_says(&err, ERR_CONFIG, "invoices");
    store_close(store);
    assert_int_equal(count_in(in_folder("x.db"), "sqlite_master"), 1);
}

static void a_newer_schema_is_named_with_its_file(void **state UNUSED)
{
    struct err err = {0};
    struct store *store;

    store_close(open_migrated(in_folder("x.db")));
    run_in(in_folder("x.db"),
           "update perigee_meta set version = 900, oldest_binary = 900");
    store = open_lite(in_folder("x.db"), &err);
    assert_false(store_check_schema(store, &err));
    assert_says(&err, ERR_CONFIG, "too new");
    store_close(store);
}

/* ---- others that write ---- */

static struct store *open_impatient(const char *path, struct err *err)
{
    struct store_options options = {
        .url = "",
        .pool_size = 3,
        .pool_timeout_ms = 5000,
        .statement_timeout_ms = 200,
    };

    return lite_store_open(&options, path, err);
}

static void another_process_that_keeps_the_lock_is_named(void **state UNUSED)
{
    struct bench bench = {0};
    sqlite3 *other;

    store_close(open_migrated(in_folder("x.db")));
    bench.store = open_impatient(in_folder("x.db"), &bench.err);
    bench.writer = store_writer_open(bench.store, &bench.err);
    append_events(&bench, 1);
    assert_int_equal(sqlite3_open(in_folder("x.db"), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "begin immediate", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_cannot_append(&bench, "another process");
    assert_int_equal(head_of(&bench), 1);
    assert_int_equal(sqlite3_exec(other, "commit", NULL, NULL, NULL),
                     SQLITE_OK);
    append_events(&bench, 1);
    assert_int_equal(head_of(&bench), 2);
    sqlite3_close(other);
    close_bench(&bench);
}

static void a_log_that_is_served_gets_no_other_id(void **state UNUSED)
{
    struct bench serving = open_bench();
    struct bench other = open_bench();
    struct uuid before = log_id_of(&serving);

    assert_true(
        store_claim(serving.store, "http://127.0.0.1:8000", &serving.err));
    assert_false(store_log_renew(other.store, &other.err));
    assert_says(&other.err, ERR_CONFLICT, "http://127.0.0.1:8000");
    assert_true(uuid_eq(before, log_id_of(&other)));
    close_bench(&serving);
    assert_true(store_log_renew(other.store, &other.err));
    assert_false(uuid_eq(before, log_id_of(&other)));
    /* The claim is over with it. */
    assert_true(store_claim(other.store, "http://127.0.0.1:8001", &other.err));
    close_bench(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lite_test(a_full_disk_refuses_whole_appends_until_there_is_room),
        lite_test(a_log_is_not_begun_on_a_full_disk),
        lite_test(a_file_that_may_not_be_written_is_called_that),
        lite_test(a_folder_that_may_not_be_written_is_called_that),
        lite_test(a_file_that_was_moved_away_is_missed_until_it_is_back),
        lite_test(an_append_that_lost_its_file_is_not_acknowledged),
        lite_test(a_file_that_was_replaced_is_not_mixed_with_the_new_one),
        lite_test(a_file_that_was_renamed_is_the_same_log),
        lite_test(a_write_ahead_log_that_was_deleted_costs_one_refusal),
        lite_test(a_deleted_write_ahead_log_waits_for_loans),
        lite_test(a_deleted_write_ahead_log_waits_for_readers),
        lite_test(a_damaged_file_is_called_that_until_it_is_repaired),
        lite_test(a_database_of_somebody_else_is_left_alone),
        lite_test(a_newer_schema_is_named_with_its_file),
        lite_test(another_process_that_keeps_the_lock_is_named),
        lite_test(a_log_that_is_served_gets_no_other_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
