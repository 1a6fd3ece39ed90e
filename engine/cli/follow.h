#pragma once
/*
 * The live events of a running engine, for a command: it listens, and comes
 * back by the cursor of what it has taken when the connection ends, until it
 * has enough or is interrupted (cli/interrupt.h).
 */
#include "base/json.h"
#include "cli/door.h"

struct follow {
    struct door *door;      /* borrowed; leads to a running engine */
    const char *event_type; /* NULL: any, as the next */
    const char *aggregate_type;
    uint64_t after;
    bool (*take)(void *arg, struct json event); /* false: that is enough */
    void *arg;
};

/* False when there is no engine at first, or when it refuses: then or later. */
bool follow_run(const struct follow *follow, struct err *err) MUST_USE;
