/*
 * Configuration and scripts, all faults at once, each on its line.
 *
 * A PATH narrows what is reported.  Scripts are loaded by whole trees all the
 * same, because they may require modules of their tree: the configured one when
 * the path is in it, else the folder of the path, whose name tells whether
 * there are projections in it.
 */
#include "cli/commands.h"
#include "cli/setup.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROJECTIONS "projections"

struct checking {
    struct script_set_options options; /* as they are configured */
    size_t scripts;                    /* that are good */
    size_t faults;
};

/* ---- paths ---- */

/* True for the folder itself and for what is below it; all is in "". */
static bool is_in(struct str path, struct str folder)
{
    return str_starts(path, folder) &&
           (folder.len == 0 || path.len == folder.len ||
            path.ptr[folder.len] == '/');
}

static struct str plain(const char *text)
{
    struct str path = str_n(text, strlen(text));

    while (str_starts(path, STR("./")))
        path = str_n(path.ptr + 2, path.len - 2);
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

/* The folder to load so that `path` is loaded: itself, or the one above. */
static struct str folder_of(struct str path)
{
    struct stat about;
    struct buf text = {0};

    buf_str(&text, path);
    bool is_folder = stat(text.ptr, &about) == 0 && S_ISDIR(about.st_mode);
    buf_done(&text);
    while (!is_folder && path.len > 0 && path.ptr[path.len - 1] != '/')
        path.len--;
    while (!is_folder && path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path.len > 0 ? path : STR(".");
}

/* ---- scripts ---- */

static void report_set(struct checking *checking,
                       const struct script_set_options *options,
                       struct str only)
{
    struct script_set *set = script_set_load(options);

    for (size_t i = 0; i < set->fault_count; i++) {
        if (!is_in(str_of(set->faults[i].path), only))
            continue;
        printf("%s\n", set->faults[i].text);
        checking->faults++;
    }
    for (size_t i = 0; i < set->aggregate_count; i++)
        checking->scripts +=
            is_in(str_of(set->aggregate_sources[i]->path), only);
    for (size_t i = 0; i < set->projection_count; i++)
        checking->scripts +=
            is_in(str_of(set->projection_sources[i]->path), only);
    script_set_unref(set);
}

/* A path elsewhere is checked alone; no other tree is loaded with it. */
static void check_elsewhere(struct checking *checking, struct str path)
{
    struct script_set_options options = checking->options;
    struct arena texts = {0};
    const char *folder = arena_str(&texts, folder_of(path)).ptr;
    bool is_projection = strstr(folder, PROJECTIONS) != NULL;

    options.aggregates = is_projection ? "" : folder;
    options.projections = is_projection ? folder : "";
    report_set(checking, &options, path);
    arena_done(&texts);
}

static void check_path(struct checking *checking, const char *text)
{
    struct script_set_options options = checking->options;
    struct str path = plain(text);

    if (access(text, R_OK) != 0) {
        printf("%s: there is no such file or folder\n", text);
        checking->faults++;
    } else if (is_in(path, str_of(options.aggregates))) {
        options.projections = "";
        report_set(checking, &options, path);
    } else if (is_in(path, str_of(options.projections))) {
        options.aggregates = "";
        report_set(checking, &options, path);
    } else {
        check_elsewhere(checking, path);
    }
}

/* ---- public ---- */

static void check_scripts(struct checking *checking,
                          const struct cli_args *args)
{
    if (args->word_count == 0)
        report_set(checking, &checking->options, STR(""));
    for (size_t i = 0; i < args->word_count; i++)
        check_path(checking, args->words[i]);
}

static void check_settings(struct checking *checking,
                           const struct cli_args *args, struct config *config)
{
    struct buf faults = {0};
    struct err ignored = {0};
    bool ok = config_load(config, args_value(args, "config"), NULL, 0, &faults,
                          &ignored);

    for (size_t i = 0; !ok && i < faults.len; i++)
        checking->faults += faults.ptr[i] == '\n';
    fputs(buf_as_str(&faults).ptr, stdout);
    buf_done(&faults);
}

static void print_settings(const struct config *config)
{
    struct buf text = {0};

    config_print(config, &text);
    fputs(buf_as_str(&text).ptr, stdout);
    buf_done(&text);
}

static int check(const struct cli_args *args)
{
    struct checking checking = {0};
    struct config config;

    setup_command_log();
    check_settings(&checking, args, &config);
    if (args_has(args, "settings"))
        print_settings(&config);
    setup_script_options(&config, &checking.options);
    check_scripts(&checking, args);
    config_done(&config);
    if (checking.faults == 0)
        printf("%zu script%s and the configuration are good\n",
               checking.scripts, checking.scripts == 1 ? "" : "s");
    else
        fprintf(stderr, "perigee: %zu fault%s\n", checking.faults,
                checking.faults == 1 ? "" : "s");
    return checking.faults == 0 ? CLI_DONE : CLI_FAILED;
}

const struct cli_command cli_check = {
    .name = "check",
    .usage = "[PATH…]",
    .summary = "Checks the configuration and scripts, reports every fault",
    .help = "Each fault is a line, \"file:line: message\".  Without a PATH "
            "every script is\nchecked.  A PATH outside of the configured "
            "folders holds projections when it says\nso, else aggregates.\n",
    .options = {{"settings", NULL,
                 "print what holds, secrets masked, before the faults"}},
    .max_words = CLI_ANY_WORDS,
    .run = check,
};
