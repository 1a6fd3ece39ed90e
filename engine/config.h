#pragma once
/*
 * The table of settings: name, default, range, where it can be overridden and
 * what it means.  The only place of these facts: the file's keys, the
 * environment's names, checks, `perigee help settings` and
 * docs/configuration.md come from it (a setting enters it
 * together with its reader).
 *
 * Order of precedence: command line, conventional variable (DATABASE_URL …),
 * PERIGEE_SECTION_KEY, file, default.  Every mistake is reported, not only the
 * first: full name, what was given and from where, what is allowed.
 *
 * Every source is checked, also where a stronger one wins: a wrong value is
 * wrong on the day the stronger one goes away, too.
 *
 * `http.tokens` is a table, not a scalar, and read by config_tokens.c.
 *
 * Durations are seconds in files and variables and milliseconds in memory.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* clang-format off */
#define SETTINGS(X)                                                             \
    /* section, key, kind, default, min, max, conventional variable, meaning */  \
    X(database, url,               TEXT,    "sqlite:data/perigee.db", 0, 0, "DATABASE_URL", "where the log lives: sqlite:PATH or postgresql://user@host/database") \
    X(database, direct_url,        TEXT,    "",        0, 0,         NULL, "for LISTEN and migrations when `url` goes through PgBouncer; default: `url`") \
    X(database, read_schema,       TEXT,    "public",  0, 0,         NULL, "PostgreSQL schema of the read models") \
    X(database, migrate,           FLAG,    "true",    0, 0,         NULL, "create or upgrade the schema at start") \
    X(database, pool_size,         COUNT,   "10",      2, 256,       NULL, "connections that stay open; SQLite: all that it opens") \
    X(database, max_overflow,      COUNT,   "20",      0, 512,       NULL, "more of them under load, closed when idle again (PostgreSQL)") \
    X(database, pool_timeout,      SECONDS, "30",      0.1, 3600,    NULL, "wait for a free connection, then `pool_timeout`") \
    X(database, pool_recycle,      SECONDS, "1800",    0, 86400,     NULL, "a connection older than this is replaced when it comes back; 0: never (PostgreSQL)") \
    X(database, pool_pre_ping,     FLAG,    "true",    0, 0,         NULL, "a connection that sat idle is asked before use, and replaced if dead (PostgreSQL)") \
    X(database, statement_timeout, MILLIS,  "30000",   100, 3600000, NULL, "milliseconds, set on the server for every connection") \
    X(database, instance_count,    COUNT,   "1",       1, 10000,     "INSTANCE_COUNT", "engines on this database; given without `pool_size`, it and `max_db_connections` size the pool") \
    X(database, max_db_connections, COUNT,  "100",     3, 100000,    "MAX_DB_CONNECTIONS", "that all engines together may open, nine tenths of which are shared out; see `instance_count`") \
    X(database, sslmode,           TEXT,    "",        0, 0,         NULL, "disable, allow, prefer, require, verify-ca or verify-full, unless the URL says it; empty: require for remote hosts") \
    X(database, sslrootcert,       TEXT,    "",        0, 0,         NULL, "file of the authorities that verify-ca and verify-full trust, unless the URL says it") \
    X(database, sslcert,           TEXT,    "",        0, 0,         NULL, "file of the certificate shown to the server, unless the URL says it") \
    X(database, sslkey,            TEXT,    "",        0, 0,         NULL, "file of its key, unless the URL says it") \
    X(scripts,  aggregates,        TEXT,    "lua/aggregates", 0, 0,  NULL, "folder of aggregate scripts") \
    X(scripts,  projections,       TEXT,    "projections",    0, 0,  NULL, "folder of projection scripts") \
    X(sandbox,  memory_mb,         COUNT,   "64",      4, 4096,      NULL, "ceiling of one script state") \
    X(aggregates, command_timeout, SECONDS, "5",       0.01, 600,    NULL, "one command, and one page of `apply`") \
    X(aggregates, strict_events,   FLAG,    "true",    0, 0,         NULL, "`apply` lists an aggregate's events: others are refused at every door") \
    X(http,     listen,            TEXT,    "127.0.0.1:8000", 0, 0,  NULL, "host:port; beyond loopback only with tokens, or with auth = \"none\"") \
    X(http,     probe_listen,      TEXT,    "",        0, 0,         NULL, "host:port of probes and metrics alone; empty: they share `listen`") \
    X(http,     auth,              TEXT,    "",        0, 0,         NULL, "\"none\" allows to listen beyond loopback without tokens") \
    X(http,     threads,           COUNT,   "64",      20, 1024,     NULL, "one serves one open connection") \
    X(http,     max_live,          COUNT,   "32",      0, 1000,      NULL, "live streams at once; `threads` must be 20 more") \
    X(subscriptions, workers,      COUNT,   "2",       1, 64,        NULL, "threads that run projections") \
    X(subscriptions, batch_size,   COUNT,   "100",     1, 10000,     NULL, "events a batch, unless the script says another") \
    X(subscriptions, processing_timeout, SECONDS, "30", 0.001, 3600, NULL, "one event's handler") \
    X(partitions, lease_seconds,   COUNT,   "10",      3, 600,       NULL, "a dead instance's work is taken over after this") \
    X(health,   max_lag_events_warning,  COUNT, "5000",  1, 1000000000, NULL, "degraded above this lag") \
    X(health,   max_lag_events_critical, COUNT, "50000", 1, 1000000000, NULL, "critical above this lag") \
    X(health,   stall_timeout,     SECONDS, "60",      1, 86400,     NULL, "liveness fails when a thread has not moved for this long") \
    X(shutdown, timeout,           SECONDS, "60",      0.1, 3600,    "SHUTDOWN_TIMEOUT", "whole shutdown, then it is forced") \
    X(shutdown, drain_timeout,     SECONDS, "30",      0.05, 3600,   "DRAIN_TIMEOUT", "for batches in flight") \
    X(log,      level,             TEXT,    "INFO",    0, 0,         "LOG_LEVEL", "DEBUG, INFO, WARNING, ERROR or CRITICAL") \
    X(log,      format,            TEXT,    "auto",    0, 0,         NULL, "json, text, or auto: text at a terminal")
/* clang-format on */

struct access;

#define SETTING_TYPE_TEXT    const char *
#define SETTING_TYPE_FLAG    bool
#define SETTING_TYPE_COUNT   uint32_t
#define SETTING_TYPE_SECONDS uint32_t /* milliseconds */
#define SETTING_TYPE_MILLIS  uint32_t

struct config {
#define X(section, key, kind, fallback, min, max, variable, meaning)           \
    SETTING_TYPE_##kind section##_##key;
    SETTINGS(X)
#undef X
    struct { /* true: by file, environment or command line */
#define X(section, key, kind, fallback, min, max, variable, meaning)           \
    bool section##_##key;
        SETTINGS(X)
#undef X
    } is_given;
    const struct access *http_tokens; /* in `texts`; NULL: there are none */
    struct arena texts;               /* owner of all texts here */
    const char *file;                 /* that was read, or NULL */
};

struct setting_override { /* from the command line: `--listen` and the like */
    const char *name;     /* "http.listen" */
    const char *value;
};

/* Reads file, environment and overrides, checks everything.  `path` NULL:
 * config/$PERIGEE_ENV.lua, or config/default.lua, which may be absent.
 * On failure `faults` has one line a mistake, ERR_CONFIG has the first, and
 * `config` is to be given to config_done all the same. */
bool config_load(struct config *config, const char *path,
                 const struct setting_override *overrides, size_t count,
                 struct buf *faults, struct err *err) MUST_USE;
void config_done(struct config *config);

/* The table as text, for `perigee help settings` and for docs. */
void config_describe(struct buf *out);
/* Effective values, one a line, secrets in URLs masked. */
void config_print(const struct config *config, struct buf *out);
/* Appends a database URL with its passwords replaced by `***`. */
void config_mask_url(struct str url, struct buf *out);
