/*
 * libFuzzer's entry; -DFUZZ_TARGET says whose.
 */
#include "fuzz/targets.h"

#include "base/log.h"
#include "base/mem.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerInitialize(int *argc UNUSED, char ***argv UNUSED)
{
    mem_setup();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    FUZZ_TARGET(str_n((const char *)data, len));
    return 0;
}
