#include "cli/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static int no_run(const struct cli_args *args UNUSED)
{
    return 0;
}

static const struct cli_command command = {
    .name = "greet",
    .usage = "NAME [TITLE]",
    .min_words = 1,
    .max_words = 2,
    .run = no_run,
    .options =
        {
            {"times", "N", "how often"},
            {"loud", NULL, "shout"},
        },
};

#define MAX_WORDS 8

/* Parses words up to NULL; what is left must be given to args_done. */
static bool parse(struct cli_args *args, struct err *err, const char *first,
                  ...) __attribute__((sentinel));
static bool parse(struct cli_args *args, struct err *err, const char *first,
                  ...)
{
    static char texts[MAX_WORDS][64];
    char *argv[MAX_WORDS];
    int argc = 0;
    va_list more;

    *err = (struct err){0};
    va_start(more, first);
    for (const char *word = first; word != NULL;
         word = va_arg(more, const char *)) {
        snprintf(texts[argc], sizeof(texts[argc]), "%s", word);
        argv[argc] = texts[argc];
        argc++;
    }
    va_end(more);
    return args_parse(args, &command, argc, argv, err);
}

static void words_and_options_mix_in_any_order(void **state UNUSED)
{
    struct cli_args args;
    struct err err;

    assert_true(
        parse(&args, &err, "--loud", "Ada", "--times", "3", "Dr", NULL));
    assert_int_equal(args.word_count, 2);
    assert_string_equal(args.words[0], "Ada");
    assert_string_equal(args.words[1], "Dr");
    assert_string_equal(args_value(&args, "times"), "3");
    assert_true(args_has(&args, "loud"));
    args_done(&args);
}

static void a_value_may_stand_behind_an_equals_sign(void **state UNUSED)
{
    struct cli_args args;
    struct err err;

    assert_true(parse(&args, &err, "Ada", "--times=a=b", NULL));
    assert_string_equal(args_value(&args, "times"), "a=b");
    args_done(&args);
    assert_true(parse(&args, &err, "Ada", "--times=", NULL));
    assert_string_equal(args_value(&args, "times"), "");
    args_done(&args);
}

static void the_last_of_repeated_options_counts(void **state UNUSED)
{
    struct cli_args args;
    struct err err;

    assert_true(
        parse(&args, &err, "Ada", "--times", "1", "--times", "2", NULL));
    assert_string_equal(args_value(&args, "times"), "2");
    args_done(&args);
}

static void behind_two_dashes_everything_is_a_word(void **state UNUSED)
{
    struct cli_args args;
    struct err err;

    assert_true(parse(&args, &err, "--", "--loud", NULL));
    assert_string_equal(args.words[0], "--loud");
    assert_false(args_has(&args, "loud"));
    args_done(&args);
}

static void a_single_dash_is_a_word(void **state UNUSED)
{
    struct cli_args args;
    struct err err;

    assert_true(parse(&args, &err, "-", "-1", NULL));
    assert_string_equal(args.words[0], "-");
    assert_string_equal(args.words[1], "-1");
    args_done(&args);
}

static void every_command_takes_config_and_help(void **state UNUSED)
{
    struct cli_args args;
    struct err err;

    assert_true(parse(&args, &err, "--help", "--config", "x.lua", NULL));
    assert_true(args_has(&args, "help"));
    assert_string_equal(args_value(&args, "config"), "x.lua");
    args_done(&args);
}

static void assert_wrong(const char *word, const char *next, const char *says)
{
    struct cli_args args;
    struct err err;

    assert_false(parse(&args, &err, "Ada", word, next, NULL));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.text, says));
    args_done(&args);
}

static void wrong_usage_is_named(void **state UNUSED)
{
    assert_wrong("--lout", NULL, "--lout");
    assert_wrong("--loud=yes", NULL, "--loud takes no value");
    assert_wrong("--times", NULL, "--times needs a value: N");
    assert_wrong("Dr", "too-many", "too-many");
}

static void missing_words_show_the_usage(void **state UNUSED)
{
    struct cli_args args;
    struct err err;

    assert_false(parse(&args, &err, "--loud", NULL));
    assert_non_null(strstr(err.text, "perigee greet NAME [TITLE]"));
    args_done(&args);
}

static void numbers_are_strict(void **state UNUSED)
{
    struct cli_args args;
    struct err err;
    uint64_t number;

    assert_true(parse(&args, &err, "Ada", "--times", "12", NULL));
    assert_true(args_u64(&args, "times", 7, &number, &err));
    assert_int_equal(number, 12);
    args_done(&args);

    assert_true(parse(&args, &err, "Ada", NULL));
    assert_true(args_u64(&args, "times", 7, &number, &err));
    assert_int_equal(number, 7);
    args_done(&args);

    assert_true(parse(&args, &err, "Ada", "--times", "12x", NULL));
    assert_false(args_u64(&args, "times", 7, &number, &err));
    assert_non_null(strstr(err.text, "12x"));
    args_done(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_options_mix_in_any_order),
        cmocka_unit_test(a_value_may_stand_behind_an_equals_sign),
        cmocka_unit_test(the_last_of_repeated_options_counts),
        cmocka_unit_test(behind_two_dashes_everything_is_a_word),
        cmocka_unit_test(a_single_dash_is_a_word),
        cmocka_unit_test(every_command_takes_config_and_help),
        cmocka_unit_test(wrong_usage_is_named),
        cmocka_unit_test(missing_words_show_the_usage),
        cmocka_unit_test(numbers_are_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
