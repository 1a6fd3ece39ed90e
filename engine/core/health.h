#pragma once
/*
 * The picture that probes read.
 * Everything comes from memory: no store, no script, no lock under which
 * someone works.
 */
#include "core/engine.h"

enum health_status {
    HEALTH_HEALTHY,
    HEALTH_UNKNOWN,
    HEALTH_DEGRADED,
    HEALTH_UNHEALTHY,
    HEALTH_CRITICAL,
};
/* "healthy" and the like, as documents show it. */
const char *health_status_name(enum health_status status);

/* Each appends its JSON document and returns the HTTP status (200 or 503). */
int health_write(struct engine *engine, struct buf *out);
int health_ready_write(struct engine *engine, struct buf *out);
int health_live_write(struct engine *engine, struct buf *out);
