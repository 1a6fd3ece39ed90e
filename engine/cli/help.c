#include "cli/commands.h"
#include "cli/setup.h"

#include <stdio.h>

static void list_commands(void)
{
    size_t count;
    const struct cli_command *const *commands = cli_commands(&count);

    printf("perigee COMMAND [options]\n\n");
    for (size_t i = 0; i < count; i++)
        printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
    printf("\n`perigee help COMMAND` says more, `perigee help settings` lists "
           "what can be\nconfigured.  Exit status: 0 done, 1 failed, 2 wrong "
           "usage or configuration.\n");
}

static void list_settings(void)
{
    struct buf text = {0};

    config_describe(&text);
    fputs(text.ptr, stdout);
    buf_done(&text);
}

static int help(const struct cli_args *args)
{
    const char *topic = args->word_count > 0 ? args->words[0] : NULL;
    const struct cli_command *command = topic != NULL ? cli_find(topic) : NULL;
    struct err err = {0};

    if (topic == NULL)
        list_commands();
    else if (strcmp(topic, "settings") == 0)
        list_settings();
    else if (command != NULL)
        args_help(command);
    else {
        err_set(&err, ERR_USAGE, "there is no help on \"%s\"", topic);
        return setup_fail(&err);
    }
    return CLI_DONE;
}

const struct cli_command cli_help = {
    .name = "help",
    .usage = "[COMMAND|settings]",
    .summary = "Lists commands, or says more about one, or lists settings",
    .max_words = 1,
    .run = help,
};
