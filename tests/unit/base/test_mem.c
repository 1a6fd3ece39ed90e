#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* AddressSanitizer's malloc gives NULL as the real one does. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* What a process that runs `body` leaves on stderr, and how it ended. */
static int last_words(void (*body)(void), char *text, size_t size)
{
    size_t len = 0;
    ssize_t got;
    int ends[2];
    int status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    close(ends[1]);
    while ((got = read(ends[0], text + len, size - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void ask_for_everything(void)
{
    volatile size_t size = SIZE_MAX / 4;

    mem_free(mem_alloc(size));
}

static void break_an_invariant(void)
{
    CHECK(1 + 1 == 3);
}

static void running_out_is_one_line_and_a_failed_exit(void **state UNUSED)
{
    char text[4096];
    int status = last_words(ask_for_everything, text, sizeof(text));
    const char *line = strstr(text, "perigee: out of memory (");

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(line);
    assert_string_equal(strchr(line, '\n'), "\n");
}

static void a_failed_check_names_its_place_and_aborts(void **state UNUSED)
{
    char text[4096];
    int status = last_words(break_an_invariant, text, sizeof(text));

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "perigee: tests/unit/base/test_mem.c:"));
    assert_non_null(strstr(text, ": check failed: 1 + 1 == 3\n"));
}

static void nothing_is_still_an_address(void **state UNUSED)
{
    void *ptr = mem_alloc(0);

    assert_non_null(ptr);
    ptr = mem_realloc(ptr, 0);
    assert_non_null(ptr);
    mem_free(ptr);
    mem_free(NULL);
}

static void arrays_double_and_keep_their_items(void **state UNUSED)
{
    size_t capacity = 0;
    int *items = NULL;

    for (int i = 0; i < 1000; i++) {
        GROW(items, capacity, (size_t)i + 1);
        items[i] = i;
    }
    assert_int_equal(capacity, 1024);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(items[i], i);
    mem_free(items);
}

static void copies_of_slices_end_with_a_nul(void **state UNUSED)
{
    char *copy = mem_str_copy(str_n("orders", 3));
    char *empty = mem_str_copy(STR_NONE);
    char *text = mem_strdup("text");

    assert_string_equal(copy, "ord");
    assert_string_equal(empty, "");
    assert_string_equal(text, "text");
    mem_free(copy);
    mem_free(empty);
    mem_free(text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_out_is_one_line_and_a_failed_exit),
        cmocka_unit_test(a_failed_check_names_its_place_and_aborts),
        cmocka_unit_test(nothing_is_still_an_address),
        cmocka_unit_test(arrays_double_and_keep_their_items),
        cmocka_unit_test(copies_of_slices_end_with_a_nul),
    };

    return cmocka_run_group_tests_name("base/mem", tests, NULL, NULL);
}
