/* The line that long work shows at a terminal. */
#include "cli/progress.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What is written to stderr while `progress` is shown once. */
static void shown(struct progress *progress, uint64_t part, uint64_t total,
                  char *text, size_t size)
{
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);

    assert_non_null(file);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    progress_show(progress, 500, part, total);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

static struct progress begun_10s_ago(void)
{
    struct progress progress;

    progress_begin(&progress);
    progress.shown = true;
    progress.began_us = clock_us() - 10000000;
    return progress;
}

static void a_known_size_shows_a_bar_a_rate_and_the_time_left(void **state)
{
    struct progress progress = begun_10s_ago();
    char text[256];

    (void)state;
    shown(&progress, 50, 100, text, sizeof(text));
    assert_non_null(strstr(text, "[############            ]  50 %"));
    assert_non_null(strstr(text, "500 events"));
    assert_non_null(strstr(text, "/s  0:"));
    assert_non_null(strstr(text, " left"));
}

static void an_unknown_size_shows_the_count_and_the_rate(void **state)
{
    struct progress progress = begun_10s_ago();
    char text[256];

    (void)state;
    shown(&progress, 50, 0, text, sizeof(text));
    assert_null(strchr(text, '%'));
    assert_null(strstr(text, "left"));
    assert_non_null(strstr(text, "500 events"));
}

static void it_is_written_a_few_times_a_second_only(void **state)
{
    struct progress progress = begun_10s_ago();
    char text[256];

    (void)state;
    shown(&progress, 50, 100, text, sizeof(text));
    assert_true(progress.next_us > clock_us() - 10000000);
    progress.next_us = UINT64_MAX;
    shown(&progress, 51, 100, text, sizeof(text));
    assert_string_equal(text, "");
}

static void nothing_is_written_where_there_is_no_terminal(void **state)
{
    struct progress progress = begun_10s_ago();
    char text[256];

    (void)state;
    progress.shown = false;
    shown(&progress, 50, 100, text, sizeof(text));
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_size_shows_a_bar_a_rate_and_the_time_left),
        cmocka_unit_test(an_unknown_size_shows_the_count_and_the_rate),
        cmocka_unit_test(it_is_written_a_few_times_a_second_only),
        cmocka_unit_test(nothing_is_written_where_there_is_no_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
