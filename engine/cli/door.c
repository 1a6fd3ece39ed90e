#include "cli/door.h"

#include "api/request.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/token.h"

#include <stdio.h>

struct door {
    struct config config; /* unused with --url */
    /* exactly one of the two */
    struct http_client *remote;
    struct engine *engine;
    struct arena arena; /* of one local request */
    const char *key;    /* Idempotency-Key, borrowed; NULL: none */
};

/* ---- where it leads ---- */

void door_url_of(const char *address, struct buf *out)
{
    struct str any4 = STR("0.0.0.0:"), any6 = STR("[::]:");
    struct str text = str_of(address);

    if (str_starts(text, any4))
        buf_printf(out, "http://127.0.0.1:%s", address + any4.len);
    else if (str_starts(text, any6))
        buf_printf(out, "http://[::1]:%s", address + any6.len);
    else
        buf_printf(out, "http://%s", address);
}

static bool open_remote(struct door *door, const struct cli_args *args,
                        const char *url, struct err *err)
{
    struct buf token = {0};
    bool ok = token_find(args, &token, err);

    if (ok)
        door->remote = http_client_new(url, err);
    if (door->remote != NULL && token.len > 0)
        http_client_set_token(door->remote, token.ptr);
    buf_done(&token);
    return door->remote != NULL;
}

static bool open_local(struct door *door, struct err *err)
{
    struct engine_options options;

    setup_engine_options(&door->config, &options);
    door->engine = engine_open(&options, ENGINE_COMMANDS, err);
    return door->engine != NULL;
}

static bool open_configured(struct door *door, const struct cli_args *args,
                            struct err *err)
{
    char address[256];
    struct buf url = {0};

    if (!store_find_server(door->config.database_url, address, sizeof(address)))
        return open_local(door, err);
    door_url_of(address, &url);
    bool ok = open_remote(door, args, url.ptr, err);
    buf_done(&url);
    return ok;
}

struct door *door_open(const struct cli_args *args, struct err *err)
{
    struct door *door = NEW(struct door);
    const char *url = args_value(args, "url");
    bool ok;

    setup_command_log();
    if (url != NULL) {
        ok = open_remote(door, args, url, err);
    } else {
        ok = setup_config(args, NULL, 0, &door->config);
        if (!ok)
            *err = (struct err){.code = ERR_NONE};
        ok = ok && open_configured(door, args, err);
    }
    if (ok)
        return door;
    door_close(door);
    return NULL;
}

void door_close(struct door *door)
{
    if (door == NULL)
        return;
    http_client_free(door->remote);
    engine_close(door->engine);
    arena_done(&door->arena);
    config_done(&door->config);
    mem_free(door);
}

struct engine *door_engine(struct door *door)
{
    return door->engine;
}

int door_fail(const struct err *err)
{
    return err->code == ERR_NONE ? CLI_WRONG_USAGE : setup_fail(err);
}

/* ---- requests ---- */

/* Spaces at the ends of a header are not its value's, so a key with them would
 * be another one on its way, or none. */
static bool is_header_text(struct str text)
{
    return request_is_label(text) && text.ptr[0] != ' ' &&
           text.ptr[text.len - 1] != ' ';
}

bool door_set_key(struct door *door, const char *key, struct err *err)
{
    if (key == NULL)
        return true;
    if (!is_header_text(str_of(key)))
        return err_set(err, ERR_USAGE,
                       "--idempotency-key takes 1 to %d bytes of UTF-8 "
                       "without control characters, and no space at its ends",
                       EVENT_ID_MAX_BYTES);
    door->key = key;
    if (door->remote != NULL)
        http_client_set_header(door->remote, "Idempotency-Key", key);
    return true;
}

static int call_local(struct door *door, const char *method, const char *target,
                      struct str body, struct buf *answer)
{
    struct api_request request = {
        .method = str_of(method),
        .target = str_of(target),
        .body = body,
        .content_type = str_is_none(body) ? STR_NONE : STR("application/json"),
        .idempotency_key = str_of(door->key),
        .arena = &door->arena,
    };
    struct api_reply reply = {0};

    api_handle(door->engine, &request, &reply);
    int status = reply.status;
    buf_str(answer, buf_as_str(&reply.body));
    api_reply_done(&reply);
    arena_reset(&door->arena);
    return status;
}

/* A success that is told by somebody else's server is none: what was to be
 * stored there would be believed to be stored. */
static bool check_answer(struct str answer, struct err *err)
{
    struct err ignored = {0};

    if (json_check(answer, NULL, &ignored) &&
        json_value(answer).kind == JSON_OBJECT)
        return true;
    return err_set(err, ERR_STORE,
                   "the answer is not an engine's: is the address right?");
}

/* Always false. */
static bool explain_token(struct err *err)
{
    struct err copy = *err;

    if (err->code != ERR_UNAUTHORIZED)
        return false;
    return err_set(err, ERR_UNAUTHORIZED,
                   "%s (status 401; give one by --token-file FILE or in "
                   "PERIGEE_TOKEN)",
                   copy.text);
}

static bool fail_answered(int status, const struct buf *answer, struct err *err)
{
    door_problem(status, buf_as_str(answer), err);
    return explain_token(err);
}

bool door_call(struct door *door, const char *method, const char *target,
               struct str body, struct buf *answer, struct err *err)
{
    int status = 0;

    buf_clear(answer);
    if (door->engine != NULL)
        status = call_local(door, method, target, body, answer);
    else if (!http_client_call(door->remote, method, target, body, &status,
                               answer, err))
        return false;
    if (status >= 300)
        return fail_answered(status, answer, err);
    return door->engine != NULL || check_answer(buf_as_str(answer), err);
}

bool door_stream(struct door *door, const char *target,
                 const struct http_stream *stream, struct err *err)
{
    struct buf answer = {0};
    int status = 0;
    bool good;

    CHECK(door->remote != NULL);
    good = http_client_stream(door->remote, target, stream, &status, &answer,
                              err) &&
           (status == 200 || fail_answered(status, &answer, err));
    buf_done(&answer);
    return good;
}

/* ---- problem documents ---- */

static void add_text(struct json object, const char *name, struct buf *out)
{
    struct json value = json_get(object, str_of(name));

    if (value.kind == JSON_STRING)
        json_unescape(value, out);
}

/* `; field: message`, unless the detail says it already. */
static void add_fault(struct json fault, struct buf *text)
{
    struct buf message = {0};

    add_text(fault, "message", &message);
    if (message.len > 0 && strstr(text->ptr, message.ptr) == NULL) {
        buf_text(text, "; ");
        add_text(fault, "field", text);
        buf_printf(text, ": %s", message.ptr);
    }
    buf_done(&message);
}

static void add_faults(struct json problem, struct buf *text)
{
    struct json errors = json_get(problem, STR("errors"));
    struct json item;
    struct str key;

    if (errors.kind != JSON_ARRAY)
        return;
    struct json_in in = json_open(errors);
    while (json_next(&in, &key, &item)) {
        if (item.kind == JSON_OBJECT)
            add_fault(item, text);
    }
}

bool door_problem(int status, struct str answer, struct err *err)
{
    struct buf code = {0}, text = {0};
    struct err ignored = {0};

    if (!json_check(answer, NULL, &ignored) ||
        json_value(answer).kind != JSON_OBJECT)
        return err_set(err, ERR_STORE, "the engine answered with status %d",
                       status);

    struct json problem = json_value(answer);
    add_text(problem, "code", &code);
    add_text(problem, "detail", &text);
    if (text.len == 0)
        add_text(problem, "title", &text);
    if (text.len > 0)
        add_faults(problem, &text);
    err_set(err, err_code_of(buf_as_str(&code)), "%.*s",
            STR_ARG(buf_as_str(&text)));
    buf_done(&code);
    buf_done(&text);
    return false;
}

void door_drop_place(struct err *err)
{
    static const char place[] = "events[0].";
    struct err copy = *err;

    if (strncmp(copy.text, place, sizeof(place) - 1) == 0)
        err_set(err, copy.code, "%s", copy.text + sizeof(place) - 1);
}

/* ---- targets ---- */

void door_encode(struct buf *target, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL)
            buf_char(target, *text);
        else
            buf_printf(target, "%%%02X", (unsigned char)*text);
    }
}

void door_param(struct buf *target, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_char(target, memchr(target->ptr, '?', target->len) == NULL ? '?' : '&');
    door_encode(target, name);
    buf_char(target, '=');
    door_encode(target, value);
}
