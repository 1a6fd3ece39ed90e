#define _GNU_SOURCE /* posix_openpt */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* A log into a nameless file, and what was written to it. */
struct fixture {
    FILE *file;
    struct buf text;
};

static int open_log(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->file = tmpfile();
    assert_non_null(fixture->file);
    *state = fixture;
    return 0;
}

static int close_log(void **state)
{
    struct fixture *fixture = *state;

    log_setup(LOG_INFO, LOG_FORMAT_TEXT, STDOUT_FILENO);
    fclose(fixture->file);
    buf_done(&fixture->text);
    free(fixture);
    return 0;
}

static void log_to(struct fixture *fixture, enum log_level level,
                   enum log_format format)
{
    log_setup(level, format, fileno(fixture->file));
}

static const char *written(struct fixture *fixture)
{
    int fd = fileno(fixture->file);
    off_t size = lseek(fd, 0, SEEK_END);

    assert_true(size >= 0);
    buf_clear(&fixture->text);
    assert_int_equal(
        pread(fd, buf_room(&fixture->text, (size_t)size), (size_t)size, 0),
        size);
    fixture->text.len = (size_t)size;
    return buf_as_str(&fixture->text).ptr;
}

/* The lines from behind the time stamp on, whose length never changes. */
static void assert_text(struct fixture *fixture, const char *expected)
{
    const char *line = written(fixture);
    int64_t wall_us;

    assert_true(clock_parse(str_n(line, CLOCK_TEXT_SIZE - 1), &wall_us));
    assert_string_equal(line + CLOCK_TEXT_SIZE - 1, expected);
}

static void a_json_record_has_the_fixed_members_first(void **state)
{
    struct fixture *fixture = *state;
    const char *line;
    struct str rest;
    struct err err;

    log_to(fixture, LOG_INFO, LOG_FORMAT_JSON);
    log_warning("store", "retried", LOG_TEXT("table", "orders"),
                LOG_U64("position", UINT64_MAX), LOG_I64("delta", -1),
                LOG_DOUBLE("duration_ms", 1.5), LOG_BOOL("forced", true),
                LOG_JSON("report", STR("{\"a\":[1]}")));
    line = written(fixture);
    rest = str_of(line);
    assert_true(json_check(str_cut(&rest, '\n'), NULL, &err));
    assert_true(str_starts(str_of(line), STR("{\"timestamp\":\"20")));
    assert_string_equal(
        strstr(line, ",\"level\""),
        ",\"level\":\"WARNING\",\"logger\":\"store\",\"message\":\"retried\","
        "\"table\":\"orders\",\"position\":18446744073709551615,\"delta\":-1,"
        "\"duration_ms\":1.5,\"forced\":true,\"report\":{\"a\":[1]}}\n");
}

static void the_time_of_a_record_is_now_in_utc(void **state)
{
    struct fixture *fixture = *state;
    int64_t before_us = clock_wall_us();
    const char *line;
    int64_t wall_us;

    log_to(fixture, LOG_INFO, LOG_FORMAT_JSON);
    log_info("app", "started");
    line = written(fixture);
    line += strlen("{\"timestamp\":\"");
    assert_true(clock_parse(str_n(line, CLOCK_TEXT_SIZE - 1), &wall_us));
    assert_in_range(wall_us, before_us, clock_wall_us());
}

static void hostile_values_stay_one_record(void **state)
{
    struct fixture *fixture = *state;
    struct str rest;
    struct err err;

    log_to(fixture, LOG_INFO, LOG_FORMAT_JSON);
    log_info("http", "seen", LOG_TEXT("path", "a\"\n{\"level\":\"ERROR\"}\n"),
             LOG_STR("bytes", STR("\xff\xfe\x1b[31m")));
    rest = str_of(written(fixture));
    assert_true(json_check(str_cut(&rest, '\n'), NULL, &err));
    assert_int_equal(rest.len, 0);
}

static void absent_values_are_left_out(void **state)
{
    struct fixture *fixture = *state;

    log_to(fixture, LOG_INFO, LOG_FORMAT_JSON);
    log_info("app", "done", LOG_TEXT("tenant", NULL),
             LOG_JSON("report", STR_NONE), LOG_TEXT("empty", ""));
    assert_non_null(
        strstr(written(fixture), "\"message\":\"done\",\"empty\":\"\"}\n"));
}

static void an_error_is_its_code_and_its_text(void **state)
{
    struct fixture *fixture = *state;
    struct err err;

    log_to(fixture, LOG_INFO, LOG_FORMAT_JSON);
    err_set(&err, ERR_STORE, "connection lost");
    log_error("writer", "append failed", LOG_ERR(&err));
    assert_non_null(strstr(written(fixture),
                           "\"code\":\"store_unavailable\",\"exception\":"
                           "\"connection lost\"}\n"));
}

static void text_for_people_is_one_line_without_colour_in_a_file(void **state)
{
    struct fixture *fixture = *state;

    log_to(fixture, LOG_INFO, LOG_FORMAT_TEXT);
    log_info("subscription", "moved", LOG_TEXT("subscription", "orders"),
             LOG_U64("position", 12), LOG_TEXT("to", "live"));
    assert_text(fixture, " INFO     subscription: moved subscription=orders "
                         "position=12 to=live\n");
}

static void text_values_that_are_no_words_are_quoted(void **state)
{
    struct fixture *fixture = *state;

    log_to(fixture, LOG_INFO, LOG_FORMAT_TEXT);
    log_critical("app", "ends", LOG_TEXT("a", "two words"),
                 LOG_TEXT("b", "x=1"), LOG_TEXT("c", ""),
                 LOG_TEXT("d", "\x1b[2J\n"), LOG_TEXT("e", NULL),
                 LOG_BOOL("f", false), LOG_TEXT("g", "say \"no\""));
    assert_text(fixture, " CRITICAL app: ends a=\"two words\" b=\"x=1\" c=\"\" "
                         "d=\"\\u001b[2J\\n\" f=false g=\"say \\\"no\\\"\"\n");
}

static void levels_below_the_chosen_one_are_silent(void **state)
{
    struct fixture *fixture = *state;

    log_to(fixture, LOG_ERROR, LOG_FORMAT_TEXT);
    log_debug("app", "one");
    log_info("app", "two");
    log_warning("app", "three");
    assert_string_equal(written(fixture), "");
    assert_false(log_is_on(LOG_WARNING));
    assert_true(log_is_on(LOG_ERROR));
    log_error("app", "four");
    assert_text(fixture, " ERROR    app: four\n");
}

static void a_terminal_gets_colour(void **state UNUSED)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    char text[256];
    ssize_t got;
    int slave;

    assert_true(master >= 0);
    assert_int_equal(grantpt(master) | unlockpt(master), 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    log_setup(LOG_INFO, LOG_FORMAT_TEXT, slave);
    log_error("app", "red");
    got = read(master, text, sizeof(text) - 1);
    assert_true(got > 0);
    text[got] = '\0';
    assert_non_null(strstr(text, " \x1b[31mERROR   \x1b[0m app: red"));
    log_setup(LOG_INFO, LOG_FORMAT_JSON, slave);
    log_error("app", "plain");
    got = read(master, text, sizeof(text) - 1);
    assert_true(got > 0);
    text[got] = '\0';
    assert_null(strchr(text, '\x1b'));
    close(slave);
    close(master);
}

static void logging_keeps_errno(void **state)
{
    struct fixture *fixture = *state;

    log_setup(LOG_INFO, LOG_FORMAT_TEXT, -1);
    errno = ENOSPC;
    log_error("app", "into nowhere");
    assert_int_equal(errno, ENOSPC);
    assert_string_equal(written(fixture), "");
}

#define THREADS 4
#define EACH    500
#define LARGE   ((size_t)2000000)

static void *log_many(void *name)
{
    char filler[6000]; /* more than a pipe is sure to keep together */

    memset(filler, 'x', sizeof(filler));
    for (uint64_t i = 0; i < EACH; i++)
        log_info("test", "line", LOG_TEXT("thread", name), LOG_U64("i", i),
                 LOG_STR("filler", str_n(filler, sizeof(filler))));
    return NULL;
}

/* Reads a pipe that the log writes to until that end is closed. */
struct reader {
    int ends[2];
    pthread_t thread;
    long pause_us; /* between two reads: keeps the pipe full */
    struct buf text;
};

static void *read_all(void *argument)
{
    struct reader *reader = argument;
    struct timespec pause = {.tv_nsec = reader->pause_us * 1000};
    ssize_t got;

    while ((got = read(reader->ends[0], buf_room(&reader->text, 65536),
                       65536)) > 0) {
        reader->text.len += (size_t)got;
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void start_reader(struct reader *reader)
{
    assert_int_equal(pipe(reader->ends), 0);
    log_setup(LOG_INFO, LOG_FORMAT_JSON, reader->ends[1]);
    assert_int_equal(pthread_create(&reader->thread, NULL, read_all, reader),
                     0);
}

/* How many lines there were; each must be a record. */
static size_t end_reader(struct reader *reader)
{
    size_t lines = 0;
    struct str rest;
    struct err err;

    close(reader->ends[1]);
    pthread_join(reader->thread, NULL);
    close(reader->ends[0]);
    rest = buf_as_str(&reader->text);
    for (; rest.len > 0; lines++)
        assert_true(json_check(str_cut(&rest, '\n'), NULL, &err));
    buf_done(&reader->text);
    return lines;
}

static void lines_of_several_threads_never_mix(void **state UNUSED)
{
    static char names[THREADS][2] = {"a", "b", "c", "d"};
    struct reader reader = {0};
    pthread_t threads[THREADS];

    start_reader(&reader);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, names[i]),
                         0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(end_reader(&reader), THREADS * EACH);
}

static void wake(int signal UNUSED)
{
}

/* Only this thread takes the signal: the reader is started with it blocked. */
static void a_signal_in_the_middle_loses_nothing(void **state UNUSED)
{
    struct itimerval often = {{0, 1000}, {0, 1000}};
    struct sigaction action = {.sa_handler = wake};
    struct reader reader = {.pause_us = 2000};
    char *large = mem_alloc(LARGE);
    sigset_t alarms;

    memset(large, 'x', LARGE);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigaction(SIGALRM, &action, NULL);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    start_reader(&reader);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    log_info("test", "large", LOG_STR("filler", str_n(large, LARGE)));
    log_info("test", "small");
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    assert_int_equal(end_reader(&reader), 2);
    mem_free(large);
}

static void a_throttle_lets_one_through_and_counts_the_rest(void **state UNUSED)
{
    struct log_throttle throttle = {0};
    uint64_t held = 99;

    assert_true(log_may(&throttle, 3600000, &held));
    assert_int_equal(held, 0);
    for (int i = 0; i < 42; i++)
        assert_false(log_may(&throttle, 3600000, &held));
    throttle.next_ms = clock_ms();
    assert_true(log_may(&throttle, 3600000, &held));
    assert_int_equal(held, 42);
    assert_false(log_may(&throttle, 3600000, &held));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_log, close_log)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_json_record_has_the_fixed_members_first),
        TEST(the_time_of_a_record_is_now_in_utc),
        TEST(hostile_values_stay_one_record),
        TEST(absent_values_are_left_out),
        TEST(an_error_is_its_code_and_its_text),
        TEST(text_for_people_is_one_line_without_colour_in_a_file),
        TEST(text_values_that_are_no_words_are_quoted),
        TEST(levels_below_the_chosen_one_are_silent),
        TEST(a_terminal_gets_colour),
        TEST(logging_keeps_errno),
        TEST(lines_of_several_threads_never_mix),
        TEST(a_signal_in_the_middle_loses_nothing),
        TEST(a_throttle_lets_one_through_and_counts_the_rest),
    };

    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
