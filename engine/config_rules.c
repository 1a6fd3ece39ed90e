#include "config_rules.h"

#include "config.h"
#include "http/server.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

/* Where the last `c` is, or the text's length. */
static size_t last_of(struct str text, char c)
{
    for (size_t i = text.len; i > 0; i--) {
        if (text.ptr[i - 1] == c)
            return i - 1;
    }
    return text.len;
}

/* Splits host:port, brackets around an IPv6 host taken off. */
static bool split_listen(struct str listen, struct str *host, struct str *port)
{
    size_t colon = last_of(listen, ':');

    if (colon == listen.len)
        return false;
    *host = str_n(listen.ptr, colon);
    *port = str_n(listen.ptr + colon + 1, listen.len - colon - 1);
    if (str_starts(*host, STR("[")) && str_ends(*host, STR("]"))) {
        *host = str_n(host->ptr + 1, host->len - 2);
        return true;
    }
    return last_of(*host, ':') == host->len;
}

static const char *check_listen(struct str text)
{
    struct str host, port;
    uint64_t number;

    if (!split_listen(text, &host, &port))
        return "must be host:port, for example 127.0.0.1:8000";
    if (port.len > 1 && port.ptr[port.len - 1] == 's')
        return CONFIG_TLS_ADVICE;
    if (!str_to_u64(port, &number) || number > 65535)
        return "the port must be a number from 0 to 65535";
    return NULL;
}

static const char *check_probe_listen(struct str text)
{
    return text.len == 0 ? NULL : check_listen(text);
}

static const char *check_auth(struct str text)
{
    bool good = text.len == 0 || str_eq(text, STR("none"));

    return good ? NULL : "must be \"none\" or empty";
}

static bool is_postgres(struct str url)
{
    return str_starts(url, STR("postgresql://")) ||
           str_starts(url, STR("postgres://"));
}

static const char *check_url(struct str text)
{
    struct str sqlite = STR("sqlite:");
    bool good = is_postgres(text) ||
                (str_starts(text, sqlite) && text.len > sqlite.len);

    return good ? NULL
                : "must be sqlite:PATH or postgresql://user@host/database";
}

static const char *check_direct_url(struct str text)
{
    bool good = text.len == 0 || is_postgres(text);

    return good ? NULL : "must be postgresql://user@host/database or empty";
}

static const char *check_sslmode(struct str text)
{
    static const char *const modes[] = {
        "", "disable", "allow", "prefer", "require", "verify-ca", "verify-full",
    };

    for (size_t i = 0; i < COUNT(modes); i++) {
        if (str_eq(text, str_of(modes[i])))
            return NULL;
    }
    return "must be disable, allow, prefer, require, verify-ca, verify-full or "
           "empty";
}

static bool is_identifier(struct str text)
{
    if (text.len == 0 || text.len > 63 ||
        (text.ptr[0] >= '0' && text.ptr[0] <= '9'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c != '_' && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

static const char *check_schema(struct str text)
{
    return is_identifier(text) ? NULL : "must be a plain name: a-z, 0-9 and _";
}

static const char *check_folder(struct str text)
{
    return text.len > 0 ? NULL : "must name a folder";
}

static const char *check_level(struct str text)
{
    static const char *const levels[] = {"DEBUG", "INFO", "WARNING", "ERROR",
                                         "CRITICAL"};

    for (size_t i = 0; i < COUNT(levels); i++) {
        if (str_eq(text, str_of(levels[i])))
            return NULL;
    }
    return "must be DEBUG, INFO, WARNING, ERROR or CRITICAL";
}

static const char *check_format(struct str text)
{
    bool good = str_eq(text, STR("json")) || str_eq(text, STR("text")) ||
                str_eq(text, STR("auto"));

    return good ? NULL : "must be json, text or auto";
}

/* clang-format off */
static const struct rule {
    const char *name;
    const char *(*check)(struct str text); /* what is wrong, or NULL */
} rules[] = {
    {"database.url",         check_url},
    {"database.direct_url",  check_direct_url},
    {"database.read_schema", check_schema},
    {"database.sslmode",     check_sslmode},
    {"scripts.aggregates",   check_folder},
    {"scripts.projections",  check_folder},
    {"http.listen",          check_listen},
    {"http.probe_listen",    check_probe_listen},
    {"http.auth",            check_auth},
    {"log.level",            check_level},
    {"log.format",           check_format},
};
/* clang-format on */

const char *config_check_text(const char *name, struct str text)
{
    for (size_t i = 0; i < COUNT(rules); i++) {
        if (strcmp(rules[i].name, name) == 0)
            return rules[i].check(text);
    }
    return NULL;
}

/* An address only: a name may begin with 127. and lead anywhere. */
static bool is_loopback_v4(struct str host)
{
    struct in_addr address;
    char text[INET_ADDRSTRLEN];

    if (host.len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", STR_ARG(host));
    return inet_pton(AF_INET, text, &address) == 1 &&
           ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool config_is_loopback(const char *listen)
{
    struct str host, port;

    return split_listen(str_n(listen, strlen(listen)), &host, &port) &&
           (str_eq(host, STR("localhost")) || str_eq(host, STR("::1")) ||
            is_loopback_v4(host));
}

/* The user's part of a URL, `scheme://user:password`, without the password. */
static void mask_user(struct str user, struct buf *out)
{
    struct str scheme = str_cut(&user, ':');
    struct str name = str_cut(&user, ':');

    buf_printf(out, "%.*s:%.*s", STR_ARG(scheme), STR_ARG(name));
    if (!str_is_none(user))
        buf_text(out, ":***");
}

/* Copies up to and including the next `password=` and leaves out its value. */
static struct str mask_parameter(struct str rest, struct buf *out)
{
    struct str secret = STR("password=");
    size_t at = 0;

    while (at < rest.len &&
           !str_starts(str_n(rest.ptr + at, rest.len - at), secret))
        at++;
    buf_add(out, rest.ptr, at);
    if (at == rest.len)
        return STR_NONE;
    buf_printf(out, "%.*s***", STR_ARG(secret));
    while (at < rest.len && rest.ptr[at] != '&' && rest.ptr[at] != ' ')
        at++;
    return str_n(rest.ptr + at, rest.len - at);
}

/* Parameters first: a password among them may have an "@", too. */
void config_mask_url(struct str url, struct buf *out)
{
    struct buf half = {0};
    struct str rest = url;

    while (rest.len > 0)
        rest = mask_parameter(rest, &half);
    rest = buf_as_str(&half);
    size_t at = last_of(rest, '@');
    if (at < rest.len) {
        mask_user(str_n(rest.ptr, at), out);
        rest = str_n(rest.ptr + at, rest.len - at);
    }
    buf_str(out, rest);
    buf_done(&half);
}

/* ---- rules over several settings ---- */

/* Those that never wait for the store, and some that may. */
#define THREADS_BESIDE_LIVE (HTTP_SPARE_THREADS + 4)

/* Probes say nothing that needs a token, so http.probe_listen may be any. */
static void check_access(const struct config *config, struct buf *faults)
{
    bool says_none = config->http_auth[0] != '\0';

    if (config->http_tokens != NULL && says_none)
        buf_text(faults,
                 "http.auth = \"none\": means that no token is needed, but "
                 "http.tokens has some; leave one of the two out\n");
    if (config->http_tokens == NULL && !says_none &&
        !config_is_loopback(config->http_listen))
        buf_printf(faults,
                   "http.listen = \"%s\": without http.tokens Perigee listens "
                   "on loopback only; set http.auth = \"none\" if everybody "
                   "who reaches this address may do everything\n",
                   config->http_listen);
}

/* Port 0 takes a free one, for each of the two. */
static void check_probe_address(const struct config *config, struct buf *faults)
{
    if (strcmp(config->http_probe_listen, config->http_listen) == 0 &&
        !str_ends(str_of(config->http_listen), STR(":0")))
        buf_printf(faults,
                   "http.probe_listen = \"%s\": must differ from http.listen; "
                   "leave it empty if probes are to share that\n",
                   config->http_probe_listen);
}

void config_check_together(const struct config *config, struct buf *faults)
{
    check_access(config, faults);
    check_probe_address(config, faults);
    if (config->http_threads < config->http_max_live + THREADS_BESIDE_LIVE)
        buf_printf(faults,
                   "http.max_live = %" PRIu32 ": each live stream keeps one of "
                   "http.threads = %" PRIu32 ", and %d more are needed for all "
                   "else\n",
                   config->http_max_live, config->http_threads,
                   THREADS_BESIDE_LIVE);
    if (config->health_stall_timeout <=
        config->subscriptions_processing_timeout)
        buf_printf(faults,
                   "health.stall_timeout = %.15g: must be more than "
                   "subscriptions.processing_timeout = %.15g, or a slow "
                   "handler looks like a dead engine\n",
                   config->health_stall_timeout / 1000.0,
                   config->subscriptions_processing_timeout / 1000.0);
}
