#include "fuzz/targets.h"

#include "base/mem.h"
#include "config.h"

#define MAX_VARIABLES 32

extern char **environ;

/* What stands behind a NUL is a variable; the file is what stands before the
 * first one. */
static size_t read_variables(struct str rest, char *variables[])
{
    size_t count = 0;

    while (!str_is_none(rest) && count < MAX_VARIABLES) {
        struct str entry = str_cut(&rest, '\0');

        variables[count] = mem_alloc(entry.len + 1);
        memcpy(variables[count], entry.ptr, entry.len);
        variables[count][entry.len] = '\0';
        count++;
    }
    variables[count] = NULL;
    return count;
}

static void load(const char *path)
{
    struct config config;
    struct buf faults = {0}, text = {0};
    struct err err = {0};
    bool ok = config_load(&config, path, NULL, 0, &faults, &err);

    CHECK(ok == (faults.len == 0));
    CHECK(ok || err.code == ERR_CONFIG);
    CHECK(ok || faults.ptr[faults.len - 1] == '\n');
    config_print(&config, &text);
    CHECK(text.len > 0);
    buf_done(&text);
    buf_done(&faults);
    config_done(&config);
}

void fuzz_settings(struct str input)
{
    struct str rest = input;
    const char *path = fuzz_file_open(str_cut(&rest, '\0'));
    char *variables[MAX_VARIABLES + 1];
    size_t count = read_variables(rest, variables);
    char **before = environ;

    environ = variables;
    load(path);
    environ = before;
    for (size_t i = 0; i < count; i++)
        mem_free(variables[i]);
    fuzz_file_close();
}
