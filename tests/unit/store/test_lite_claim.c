#include "unit/store/lite_support.h"

#include "store/lite_claim.h"

#include <signal.h>
#include <sys/wait.h>

static char address[64];

static bool find(const char *path)
{
    return lite_find_server(path, address, sizeof(address));
}

static struct lite_claim *claim(const char *path, const char *where)
{
    struct err err = {0};
    struct lite_claim *taken = lite_claim_take(path, where, &err);

    if (taken == NULL)
        fail_msg("%s", err.text);
    return taken;
}

static void nobody_serves_what_nobody_claimed(void **state UNUSED)
{
    assert_false(find(in_folder("absent.db")));
    write_file(in_folder("x.db"), "");
    assert_false(find(in_folder("x.db")));
}

static void a_claim_is_found_until_it_is_given_back(void **state UNUSED)
{
    struct lite_claim *taken;

    write_file(in_folder("x.db"), "");
    taken = claim(in_folder("x.db"), "http://127.0.0.1:8000");
    assert_true(find(in_folder("x.db")));
    assert_string_equal(address, "http://127.0.0.1:8000");
    lite_claim_give(taken);
    assert_false(find(in_folder("x.db")));
    assert_int_not_equal(access(in_folder("x.db-address"), F_OK), 0);
    lite_claim_give(claim(in_folder("x.db"), "again"));
}

static void a_second_claim_is_told_who_has_it(void **state UNUSED)
{
    struct lite_claim *taken;
    struct err err = {0};

    write_file(in_folder("x.db"), "");
    taken = claim(in_folder("x.db"), "http://here");
    assert_null(lite_claim_take(in_folder("x.db"), "http://there", &err));
    assert_string_equal(err_name(err.code), err_name(ERR_CONFLICT));
    assert_non_null(strstr(err.text, "http://here"));
    /* And the first is none the worse for it. */
    assert_true(find(in_folder("x.db")));
    assert_string_equal(address, "http://here");
    lite_claim_give(taken);
}

static void a_link_leads_to_the_same_claim(void **state UNUSED)
{
    struct lite_claim *taken;
    struct err err = {0};

    write_file(in_folder("x.db"), "");
    assert_int_equal(symlink(in_folder("x.db"), in_folder("link.db")), 0);
    taken = claim(in_folder("x.db"), "http://here");
    assert_true(find(in_folder("link.db")));
    assert_null(lite_claim_take(in_folder("link.db"), "http://there", &err));
    lite_claim_give(taken);
}

static void an_address_without_its_lock_counts_for_nothing(void **state UNUSED)
{
    write_file(in_folder("x.db"), "");
    write_file(in_folder("x.db-lock"), "");
    write_file(in_folder("x.db-address"), "http://long.gone");
    assert_false(find(in_folder("x.db")));
}

static void claim_and_freeze(int ready)
{
    struct err err = {0};

    if (lite_claim_take(in_folder("x.db"), "http://doomed", &err) != NULL &&
        write(ready, "x", 1) == 1)
        pause();
    _exit(1);
}

static void the_claim_of_a_killed_engine_is_free(void **state UNUSED)
{
    int ends[2];
    char byte;
    pid_t child;

    write_file(in_folder("x.db"), "");
    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0)
        claim_and_freeze(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_true(find(in_folder("x.db")));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);

    assert_int_equal(access(in_folder("x.db-address"), F_OK), 0);
    assert_false(find(in_folder("x.db")));
    lite_claim_give(claim(in_folder("x.db"), "http://heir"));
    close(ends[0]);
    close(ends[1]);
}

static void an_address_that_does_not_fit_is_not_found(void **state UNUSED)
{
    struct lite_claim *taken;
    char small[8];

    write_file(in_folder("x.db"), "");
    taken = claim(in_folder("x.db"), "12345678");
    assert_false(lite_find_server(in_folder("x.db"), small, sizeof(small)));
    lite_claim_give(taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lite_test(nobody_serves_what_nobody_claimed),
        lite_test(a_claim_is_found_until_it_is_given_back),
        lite_test(a_second_claim_is_told_who_has_it),
        lite_test(a_link_leads_to_the_same_claim),
        lite_test(an_address_without_its_lock_counts_for_nothing),
        lite_test(the_claim_of_a_killed_engine_is_free),
        lite_test(an_address_that_does_not_fit_is_not_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
