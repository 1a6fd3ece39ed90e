#include "cli/doctor.h"
#include "cli/setup.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#define CLOCK_MAX_US 1000000

#define MIGRATE "run `perigee migrate`"

/* ---- one database ---- */

/* Without a password, and without parameters that may be one. */
static const char *shown(struct findings *findings, const char *url)
{
    struct buf text = {0};
    const char *copy;

    config_mask_url(str_of(url), &text);
    copy = arena_str(&findings->arena, buf_as_str(&text)).ptr;
    buf_done(&text);
    return copy;
}

static void judge_encoding(const struct store_look *look,
                           struct findings *findings)
{
    if (strcmp(look->encoding, "UTF8") == 0)
        return;
    finding_problem(findings, "database",
                    look->kind == STORE_POSTGRES
                        ? "create another with `create database … encoding "
                          "'UTF8' template template0`"
                        : "give Perigee a file of its own",
                    "it is encoded in %s, and must be in UTF8", look->encoding);
}

/* What is missing is made at the start, unless that is switched off. */
static void judge_upgrade(const struct config *config, const char *what,
                          struct findings *findings)
{
    if (config->database_migrate)
        finding_ok(findings, "schema", "%s: `perigee serve` sees to it", what);
    else
        finding_problem(findings, "schema", MIGRATE,
                        "%s, and database.migrate is off", what);
}

static void judge_schema(const struct config *config,
                         const struct store_look *look,
                         struct findings *findings)
{
    unsigned version = look->schema_version, known = look->schema_known;

    switch (look->schema) {
    case LOOK_NO_SCHEMA:
        judge_upgrade(config, "there is none yet", findings);
        break;
    case LOOK_NOT_OURS:
        finding_problem(findings, "schema",
                        "name another file in database.url: a log needs one "
                        "of its own",
                        "the file is another program's");
        break;
    case LOOK_TOO_OLD:
        judge_upgrade(config, "it is too old for this perigee", findings);
        break;
    case LOOK_OLD:
        finding_warning(findings, "schema", MIGRATE,
                        "version %u, and this perigee knows %u", version,
                        known);
        break;
    case LOOK_CURRENT:
    case LOOK_NEWER:
        finding_ok(findings, "schema", "version %u, this perigee knows %u",
                   version, known);
        break;
    case LOOK_TOO_NEW:
        finding_problem(findings, "schema", "install the newer perigee",
                        "version %u needs a newer perigee than this, which "
                        "knows %u",
                        version, known);
        break;
    }
}

static void show_log(const struct store_look *look, struct findings *findings)
{
    char id[UUID_TEXT_SIZE];

    uuid_format(look->log_id, id);
    if (look->kind == STORE_SQLITE)
        finding_ok(findings, "log",
                   "%s, head %" PRIu64 ", %" PRIu64 " kB with its write-ahead "
                   "log and everything else",
                   id, look->head, look->log_bytes / 1024);
    else
        finding_ok(findings, "log",
                   "%s, head %" PRIu64 "; %" PRIu64 " kB, snapshots %" PRIu64
                   " kB, keys of requests %" PRIu64 " kB",
                   id, look->head, look->log_bytes / 1024,
                   look->snapshot_bytes / 1024, look->key_bytes / 1024);
}

static void judge_clock(const struct store_look *look,
                        struct findings *findings)
{
    double seconds = (double)look->ahead_us / 1e6;

    if (look->kind == STORE_SQLITE)
        return;
    if (look->ahead_us > CLOCK_MAX_US || look->ahead_us < -CLOCK_MAX_US)
        finding_warning(findings, "clock",
                        "synchronise both machines (chrony, systemd-timesyncd)",
                        "the database's is %+.3f s from ours: times of events "
                        "are not in the order they happened",
                        seconds);
    else
        finding_ok(findings, "clock", "the database's is %+.3f s from ours",
                   seconds);
}

static void judge_tls(const struct store_look *look, struct findings *findings)
{
    if (look->kind == STORE_SQLITE)
        return;
    if (look->is_local)
        finding_ok(findings, "tls", "%s, on this machine",
                   look->tls[0] != '\0' ? look->tls : "not needed");
    else if (look->tls[0] == '\0')
        finding_warning(findings, "tls",
                        "set database.sslmode, where the URL or PGSSLMODE "
                        "does not say another, to verify-full or require",
                        "the database is on another host, and passwords and "
                        "events go there in plain text");
    else if (!look->is_certified)
        finding_ok(findings, "tls",
                   "%s; the server's certificate is not checked, as it would "
                   "be with database.sslmode = \"verify-full\" and sslrootcert",
                   look->tls);
    else
        finding_ok(findings, "tls", "%s, certificate checked", look->tls);
}

static void judge_reached(const struct store_look *look, const char *error,
                          struct findings *findings)
{
    if (look->kind == STORE_SQLITE)
        finding_problem(findings, "database",
                        "see that database.url names the file and that this "
                        "user may read and write it",
                        "%s", error);
    else
        finding_problem(findings, "database",
                        "see that it runs there, and that user, password and "
                        "name in database.url are right",
                        "%s", error);
}

void doctor_judge_store(const struct config *config,
                        const struct store_look *look, const char *error,
                        struct findings *findings)
{
    if (!look->is_reached) {
        judge_reached(look, error != NULL ? error : "no answer", findings);
        return;
    }
    finding_ok(findings, "database", "%s %s answers in %u ms",
               look->kind == STORE_SQLITE ? "SQLite" : "PostgreSQL",
               look->version, look->reached_ms);
    judge_encoding(look, findings);
    if (error != NULL)
        finding_problem(findings, "schema",
                        "see that this user may use schema perigee and what "
                        "is in it",
                        "%s", error);
    else
        judge_schema(config, look, findings);
    if (error == NULL && !uuid_is_nil(look->log_id))
        show_log(look, findings);
    judge_clock(look, findings);
    judge_tls(look, findings);
}

/* ---- those of the configuration ---- */

/* True for a SQLite file that nobody has made yet. */
static bool is_absent(const char *url)
{
    const char *path = store_sqlite_path(url);

    return path != NULL && access(path, F_OK) != 0 && errno == ENOENT;
}

static void examine_database(const struct config *config,
                             const struct store_options *options,
                             struct store_look *look, struct findings *findings)
{
    struct err err = {0};

    if (is_absent(options->url)) {
        *look = (struct store_look){.kind = STORE_SQLITE};
        finding_ok(findings, "database", "%s is not there yet", options->url);
        judge_upgrade(config, "there is none yet", findings);
        return;
    }
    bool good = store_look(options, look, &err);
    doctor_judge_store(config, look, good ? NULL : err.text, findings);
}

/* A second way to the same database: only the way matters. */
static void examine_direct(const struct store_options *options,
                           struct findings *findings)
{
    struct store_options direct = *options;
    struct store_look look;
    struct err err = {0};

    direct.url = options->direct_url;
    direct.direct_url = NULL;
    if (!store_look(&direct, &look, &err) && !look.is_reached) {
        finding_problem(findings, "direct_url",
                        "see that database.direct_url leads to the database "
                        "itself: notices and migrations need it",
                        "%s", err.text);
        return;
    }
    finding_ok(findings, "direct_url", "%s answers in %u ms",
               shown(findings, direct.url), look.reached_ms);
    judge_tls(&look, findings);
}

void doctor_examine_stores(const struct config *config,
                           struct findings *findings)
{
    struct engine_options options;
    struct store_look look;
    char address[256];

    setup_engine_options(config, &options);
    if (store_find_server(config->database_url, address, sizeof(address)))
        finding_ok(findings, "engine", "%s is served on %s",
                   shown(findings, config->database_url), address);
    examine_database(config, &options.store, &look, findings);
    if (options.store.direct_url != NULL)
        examine_direct(&options.store, findings);
    doctor_examine_pool(config, &look, findings);
}
