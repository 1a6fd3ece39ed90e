#include "store/pg_target.h"

#include "base/mem.h"

#include <libpq-fe.h>
#include <stdlib.h>

/* clang-format off */
static const struct {
    const char *keyword;
    const char *value;
    const char *variable; /* of the environment, that libpq reads itself */
} defaults[] = {
    {"connect_timeout",      "5",       "PGCONNECT_TIMEOUT"},
    {"keepalives_idle",      "10",      NULL},
    {"keepalives_interval",  "5",       NULL},
    {"keepalives_count",     "3",       NULL},
    {"tcp_user_timeout",     "25000",   NULL},
    {"application_name",     "perigee", "PGAPPNAME"},
};
/* clang-format on */

static const char *value_of(const struct pg_target *target, const char *keyword)
{
    for (size_t i = 0; i < target->count; i++)
        if (strcmp(target->keywords[i], keyword) == 0)
            return target->values[i];
    return NULL;
}

static void put(struct pg_target *target, const char *keyword,
                const char *value)
{
    CHECK(target->count + 1 < PG_TARGET_MAX);
    target->keywords[target->count] =
        arena_str(&target->texts, str_of(keyword)).ptr;
    target->values[target->count++] =
        arena_str(&target->texts, str_of(value)).ptr;
}

static bool is_loopback(struct str host)
{
    return host.len == 0 || host.ptr[0] == '/' || host.ptr[0] == '@' ||
           str_eq(host, STR("localhost")) || str_eq(host, STR("::1")) ||
           str_starts(host, STR("127."));
}

/* A list with commas; an empty one is the unix socket. */
static bool is_local(const char *hosts)
{
    struct str rest = str_of(hosts);

    while (!str_is_none(rest))
        if (!is_loopback(str_cut(&rest, ',')))
            return false;
    return true;
}

/* As libpq chooses: the address when one is given, else the name. */
static const char *hosts_of(const struct pg_target *target)
{
    const char *hosts = value_of(target, "hostaddr");

    if (hosts == NULL)
        hosts = value_of(target, "host");
    if (hosts == NULL)
        hosts = getenv("PGHOST");
    return hosts != NULL ? hosts : "";
}

static void put_defaults(struct pg_target *target)
{
    const char *hosts = hosts_of(target);

    for (size_t i = 0; i < COUNT(defaults); i++) {
        bool in_environment = defaults[i].variable != NULL &&
                              getenv(defaults[i].variable) != NULL;

        if (value_of(target, defaults[i].keyword) == NULL && !in_environment)
            put(target, defaults[i].keyword, defaults[i].value);
    }
    target->is_local = is_local(hosts);
    if (value_of(target, "sslmode") == NULL && getenv("PGSSLMODE") == NULL &&
        !target->is_local)
        put(target, "sslmode", "require");
    if (value_of(target, "target_session_attrs") == NULL &&
        strchr(hosts, ',') != NULL)
        put(target, "target_session_attrs", "read-write");
}

/* What the URL says wins. */
static void put_tls(struct pg_target *target, const struct store_tls *tls)
{
    const struct {
        const char *keyword;
        const char *value;
    } options[] = {
        {"sslmode", tls->sslmode},
        {"sslrootcert", tls->sslrootcert},
        {"sslcert", tls->sslcert},
        {"sslkey", tls->sslkey},
    };

    for (size_t i = 0; i < COUNT(options); i++)
        if (options[i].value != NULL && options[i].value[0] != '\0' &&
            value_of(target, options[i].keyword) == NULL)
            put(target, options[i].keyword, options[i].value);
}

static void put_given(struct pg_target *target, const PQconninfoOption *given)
{
    for (; given->keyword != NULL; given++) {
        /* What is stored as text is UTF-8, whatever the URL says. */
        if (given->val == NULL ||
            strcmp(given->keyword, "client_encoding") == 0)
            continue;
        put(target, given->keyword, given->val);
    }
}

/* Who says what is direct says that the other is not. */
static bool has_pooler(const struct store_options *options)
{
    return options->direct_url != NULL && options->direct_url[0] != '\0';
}

struct pg_target *pg_target_new(const struct store_options *options,
                                enum pg_way way, struct err *err)
{
    bool pooled = way == PG_WAY_USUAL && has_pooler(options);
    const char *url = way == PG_WAY_DIRECT && has_pooler(options)
                          ? options->direct_url
                          : options->url;
    PQconninfoOption *given = PQconninfoParse(url, NULL);
    struct pg_target *target;

    if (given == NULL) {
        err_set(
            err, ERR_CONFIG,
            "the database URL cannot be read: it must look like "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE, with "
            "special characters percent-encoded");
        return NULL;
    }
    target = NEW(struct pg_target);
    target->pooled = pooled;
    target->statement_timeout_ms = options->statement_timeout_ms;
    put_given(target, given);
    PQconninfoFree(given);
    put_tls(target, &options->tls);
    put_defaults(target);
    put(target, "client_encoding", "UTF8");
    return target;
}

void pg_target_free(struct pg_target *target)
{
    if (target == NULL)
        return;
    arena_done(&target->texts);
    mem_free(target);
}
