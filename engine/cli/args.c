#include "cli/args.h"

#include "base/mem.h"

#include <stdio.h>

static const struct cli_option common[] = {
    {"config", "FILE",
     "settings; default config/$PERIGEE_ENV.lua or config/default.lua"},
    {"help", NULL, "show this"},
};

static const struct cli_option *find_in(const struct cli_option *options,
                                        size_t count, struct str name)
{
    for (size_t i = 0; i < count && options[i].name != NULL; i++) {
        if (str_eq(str_of(options[i].name), name))
            return &options[i];
    }
    return NULL;
}

static const struct cli_option *find_option(const struct cli_command *command,
                                            struct str name)
{
    const struct cli_option *option =
        find_in(command->options, COUNT(command->options), name);

    return option != NULL ? option : find_in(common, COUNT(common), name);
}

static void keep(struct cli_args *args, const struct cli_option *option,
                 const char *value)
{
    size_t at = 0;

    while (at < args->given_count && args->given[at].option != option)
        at++;
    CHECK(at < COUNT(args->given));
    args->given[at].option = option;
    args->given[at].value = value;
    args->given_count = MAX(args->given_count, at + 1);
}

/* Takes the option at `*at`, and its value when that stands in the next word.
 */
static bool take_option(struct cli_args *args, int argc, char **argv, int *at,
                        struct err *err)
{
    struct str value = str_of(argv[*at] + 2);
    struct str name = str_cut(&value, '=');
    const struct cli_option *option = find_option(args->command, name);

    if (option == NULL)
        return err_set(err, ERR_USAGE, "there is no option --%.*s",
                       STR_ARG(name));
    if (option->value == NULL && !str_is_none(value))
        return err_set(err, ERR_USAGE, "--%s takes no value", option->name);
    if (option->value == NULL) {
        keep(args, option, "");
    } else if (!str_is_none(value)) {
        keep(args, option, value.ptr);
    } else if (*at + 1 < argc) {
        *at += 1;
        keep(args, option, argv[*at]);
    } else {
        return err_set(err, ERR_USAGE, "--%s needs a value: %s", option->name,
                       option->value);
    }
    return true;
}

static bool check_words(const struct cli_args *args, struct err *err)
{
    const struct cli_command *command = args->command;

    if (args_has(args, "help"))
        return true;
    if (args->word_count < command->min_words)
        return err_set(err, ERR_USAGE, "usage: perigee %s %s", command->name,
                       command->usage);
    if (args->word_count > command->max_words)
        return err_set(
            err, ERR_USAGE, "\"%s\" is one word too many; usage: perigee %s %s",
            args->words[command->max_words], command->name, command->usage);
    return true;
}

bool args_parse(struct cli_args *args, const struct cli_command *command,
                int argc, char **argv, struct err *err)
{
    bool only_words = false;

    *args = (struct cli_args){.command = command};
    args->words = NEW_ARRAY(const char *, (size_t)argc + 1);
    for (int i = 0; i < argc; i++) {
        bool is_option = !only_words && strncmp(argv[i], "--", 2) == 0;

        if (is_option && argv[i][2] == '\0')
            only_words = true;
        else if (!is_option)
            args->words[args->word_count++] = argv[i];
        else if (!take_option(args, argc, argv, &i, err))
            return false;
    }
    return check_words(args, err);
}

void args_done(struct cli_args *args)
{
    mem_free(args->words);
    *args = (struct cli_args){0};
}

const char *args_value(const struct cli_args *args, const char *name)
{
    for (size_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].option->name, name) == 0)
            return args->given[i].value;
    }
    return NULL;
}

bool args_has(const struct cli_args *args, const char *name)
{
    return args_value(args, name) != NULL;
}

bool args_u64(const struct cli_args *args, const char *name, uint64_t fallback,
              uint64_t *out, struct err *err)
{
    const char *value = args_value(args, name);

    *out = fallback;
    if (value == NULL || str_to_u64(str_of(value), out))
        return true;
    return err_set(err, ERR_USAGE, "--%s needs a whole number, not \"%s\"",
                   name, value);
}

static void print_options(const struct cli_option *options, size_t count)
{
    for (size_t i = 0; i < count && options[i].name != NULL; i++) {
        const char *value = options[i].value;
        int width =
            printf("  --%s%s%s", options[i].name, value != NULL ? " " : "",
                   value != NULL ? value : "");

        printf("%*s%s\n", MAX(26 - width, 2), "", options[i].meaning);
    }
}

void args_help(const struct cli_command *command)
{
    printf("perigee %s %s\n\n%s.\n\n", command->name, command->usage,
           command->summary);
    print_options(command->options, COUNT(command->options));
    print_options(common, COUNT(common));
    if (command->help != NULL)
        printf("\n%s", command->help);
}
