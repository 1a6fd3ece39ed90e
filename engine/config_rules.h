#pragma once
/*
 * Rules that a range cannot say: what single texts must look like, and what
 * settings must be beside each other.  For config.c, and where a command judges
 * a configuration that holds.
 */
#include "base/buf.h"

struct config;

#define CONFIG_TLS_ADVICE                                                      \
    "TLS for HTTP is a proxy's job: put one in front and let Perigee listen "  \
    "on loopback"

/* What is wrong with the text as a value of the setting, or NULL. */
const char *config_check_text(const char *name, struct str text);
/* True when host:port can be reached from this machine only. */
bool config_is_loopback(const char *listen);
/* Appends a line for each rule over several settings that does not hold. */
void config_check_together(const struct config *config, struct buf *faults);
