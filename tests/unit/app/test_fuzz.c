/* Every input of every corpus, as make fuzz runs it. */
#include "fuzz/targets.h"

#include "base/buf.h"
#include "base/mem.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CORPUS "tests/fuzz/corpus/"

/* In memory of exactly its size, so that a byte too far is seen. */
static void replay_file(const char *path, void (*target)(struct str))
{
    FILE *file = fopen(path, "re");
    struct buf bytes = {0};
    size_t got;
    char *exact;

    assert_non_null(file);
    while ((got = fread(buf_room(&bytes, 4096), 1, 4096, file)) > 0)
        bytes.len += got;
    fclose(file);
    exact = mem_alloc(bytes.len + (bytes.len == 0));
    memcpy(exact, buf_as_str(&bytes).ptr, bytes.len);
    target(str_n(exact, bytes.len));
    mem_free(exact);
    buf_done(&bytes);
}

static void replay_corpus(const char *name, void (*target)(struct str))
{
    char folder[256], path[512];
    struct dirent *entry;
    size_t count = 0;
    DIR *dir;

    snprintf(folder, sizeof(folder), CORPUS "%s", name);
    dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        print_message("# %s\n", path);
        replay_file(path, target);
        count++;
    }
    closedir(dir);
    assert_true(count > 0);
}

#define X(name)                                                                \
    static void the_corpus_of_##name##_holds(void **state)                     \
    {                                                                          \
        (void)state;                                                           \
        replay_corpus(#name, fuzz_##name);                                     \
    }
FUZZ_TARGETS(X)
#undef X

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name) cmocka_unit_test(the_corpus_of_##name##_holds),
        FUZZ_TARGETS(X)
#undef X
    };

    mem_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
