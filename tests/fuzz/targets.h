#pragma once
/*
 * What hostile bytes may meet: each target takes any bytes at all and CHECKs
 * what must hold for all of them.
 *
 *   make fuzz                 runs each under libFuzzer, sanitized (driver.c)
 *   unit/app/test_fuzz.c      replays corpus/TARGET/, in every build
 *
 * An input that broke something goes into its corpus, named after what broke.
 */
#include "base/str.h"

/* json      a text at the strict door, walked, compacted, decoded
 * settings  a settings file, and the variables of an environment
 * request   a request, as its bytes name path, query, headers and body
 * append    the body of an append
 * ndjson    a file of events, cut into runs
 * log_file  a file of a whole log: its header, its events
 * pattern   a pattern of Lua and a subject, beside LuaJIT's own matcher */
#define FUZZ_TARGETS(X)                                                        \
    X(json)                                                                    \
    X(settings)                                                                \
    X(request)                                                                 \
    X(append)                                                                  \
    X(ndjson)                                                                  \
    X(log_file)                                                                \
    X(pattern)

#define X(name) void fuzz_##name(struct str input);
FUZZ_TARGETS(X)
#undef X

/* A file with these bytes, for what opens files: its path, valid until
 * fuzz_file_close. */
const char *fuzz_file_open(struct str bytes);
void fuzz_file_close(void);
