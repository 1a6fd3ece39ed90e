#include "run/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#ifdef PERIGEE_FAULTS

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_point_hits_at_its_pass_and_only_then(void **state UNUSED)
{
    assert_false(FAULT("third"));
    assert_false(FAULT("third"));
    assert_true(FAULT("third"));
    assert_false(FAULT("third"));
}

static void a_point_without_a_pass_hits_at_the_first(void **state UNUSED)
{
    assert_true(FAULT("first"));
    assert_false(FAULT("first"));
}

static void points_that_are_not_armed_never_hit(void **state UNUSED)
{
    assert_false(FAULT("other"));
    assert_false(FAULT("thir"));
}

static void a_fault_can_kill_as_the_system_would(void **state UNUSED)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        FAULT_KILL("death");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_point_hits_at_its_pass_and_only_then),
        cmocka_unit_test(a_point_without_a_pass_hits_at_the_first),
        cmocka_unit_test(points_that_are_not_armed_never_hit),
        cmocka_unit_test(a_fault_can_kill_as_the_system_would),
    };

    setenv("PERIGEE_FAULT", "third:3,first,death:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void release_builds_have_no_points(void **state UNUSED)
{
    assert_false(FAULT("first"));
    FAULT_KILL("death");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(release_builds_have_no_points),
    };

    setenv("PERIGEE_FAULT", "first,death", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
