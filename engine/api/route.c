#include "api/access.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "api/request.h"

/* clang-format off */
static const struct api_route routes[] = {
    {"POST", "/api/streams/{type}/{id}", api_stream_append, true, API_WRITER,
     "append events to a stream"},
    {"POST", "/api/aggregates/{type}/{id}/{command}", api_command_run, true, API_WRITER,
     "run an aggregate's command"},
    {"GET", "/api/aggregates/{type}/{id}", api_aggregate_read, true, API_READER,
     "the folded state of an aggregate"},
    {"GET", "/api/streams/{type}/{id}", api_stream_read, true, API_READER,
     "the events of a stream"},
    {"GET", "/api/streams", api_stream_list, true, API_READER,
     "streams, in the order of their first events"},
    {"GET", "/api/events", api_event_list, true, API_READER,
     "events in global order"},
    {"GET", "/api/events/live", api_event_live, true, API_READER,
     "events as they are appended, as server-sent events"},
    {"GET", "/api/log", api_log_read, false, API_READER,
     "which log this is, and where it ends"},
    {"GET", "/api/projections", api_projection_list, false, API_READER,
     "how every projection stands"},
    {"GET", "/api/projections/{name}", api_projection_read, false, API_READER,
     "how one projection stands"},
    {"GET", "/api/projections/{name}/tables/{table}", api_row_list, true, API_READER,
     "rows of a read model"},
    {"GET", "/api/projections/{name}/tables/{table}/{key}", api_row_read, true, API_READER,
     "one row of a read model"},
    {"GET", "/api/scripts", api_script_list, false, API_READER,
     "what scripts are loaded"},
    {"POST", "/api/shutdown", api_shutdown, false, API_ADMIN,
     "stop the engine as SIGTERM does"},
    {"GET", "/health", api_health, false, API_ANYONE,
     "health of the engine and of each subscription"},
    {"GET", "/health/ready", api_health_ready, false, API_ANYONE,
     "readiness probe"},
    {"GET", "/health/live", api_health_live, false, API_ANYONE,
     "liveness probe"},
    {"GET", "/metrics", api_metrics, false, API_ANYONE,
     "metrics in OpenMetrics text"},
};
/* clang-format on */

const struct api_route *api_routes(size_t *count_out)
{
    *count_out = COUNT(routes);
    return routes;
}

const char *api_role_name(enum api_role role)
{
    static const char *const names[] = {
        [API_ANYONE] = "anyone",
        [API_READER] = "reader",
        [API_WRITER] = "writer",
        [API_ADMIN] = "admin",
    };

    return names[role];
}

/* ---- matching ---- */

/* `pattern` begins behind its first "/"; "{…}" stands for any one segment,
 * an empty one too, so that its handler can say what is wrong with it. */
static bool matches(struct str pattern, const struct str *segments,
                    size_t count)
{
    size_t at = 0;

    while (!str_is_none(pattern)) {
        struct str part = str_cut(&pattern, '/');

        if (at == count)
            return false;
        if (part.ptr[0] != '{' && !str_eq(part, segments[at]))
            return false;
        at++;
    }
    return at == count;
}

static struct str pattern_of(const struct api_route *route)
{
    return str_of(route->path + 1);
}

/* Whether the route exists for this request and its path leads there. */
static bool leads_to(const struct api_request *request,
                     const struct api_route *route)
{
    if (request->public_only && route->role != API_ANYONE)
        return false;
    return matches(pattern_of(route), request->segments,
                   request->segment_count);
}

static bool serves(const struct api_route *route, struct str method)
{
    return str_eq(str_of(route->method), method) ||
           (str_eq(method, STR("HEAD")) &&
            str_eq(str_of(route->method), STR("GET")));
}

/* "GET, HEAD, POST", or NULL when the path is nobody's. */
static const char *list_methods(const struct api_request *request)
{
    const char *list = NULL;

    for (size_t i = 0; i < COUNT(routes); i++) {
        const char *method = routes[i].method;

        if (!leads_to(request, &routes[i]))
            continue;
        if (strcmp(method, "GET") == 0)
            method = "GET, HEAD";
        list = list == NULL
                   ? method
                   : arena_printf(request->arena, "%s, %s", list, method);
    }
    return list;
}

static const struct api_route *find_route(const struct api_request *request)
{
    for (size_t i = 0; i < COUNT(routes); i++) {
        if (serves(&routes[i], request->method) &&
            leads_to(request, &routes[i]))
            return &routes[i];
    }
    return NULL;
}

static void answer_unrouted(const struct api_request *request,
                            struct api_reply *reply)
{
    const char *allow = list_methods(request);
    struct str path = request->target;
    struct err err;

    path = str_cut(&path, '?');
    if (allow == NULL)
        err_set(&err, ERR_NOT_FOUND,
                "there is no '%.*s' here; see docs/http.md", STR_ARG(path));
    else
        err_set(&err, ERR_METHOD, "%.*s is not for '%.*s'; allowed: %s",
                STR_ARG(request->method), STR_ARG(path), allow);
    api_problem(reply, &err);
    reply->allow = allow;
}

/* ---- the door ---- */

/* Probes, metrics and the shutdown need no store; all else does. */
static bool answers_early(const struct api_route *route)
{
    return !str_starts(str_of(route->path), STR("/api/")) ||
           route->handle == api_shutdown;
}

static void answer_starting(struct engine *engine, struct api_reply *reply)
{
    char text[256];
    struct err err;

    engine_start_error(engine, text, sizeof(text));
    err_set(&err, ERR_STORE, "the engine is starting%s%s",
            text[0] != '\0' ? ": " : "", text);
    api_problem(reply, &err);
}

/* The client has it: only the tag is said. */
static void answer_unchanged(struct api_reply *reply)
{
    reply->status = 304;
    buf_clear(&reply->body);
}

bool api_admit(struct api_request *request, struct api_reply *reply)
{
    struct err err;

    reply_clear(reply);
    if (!request_split(request, &err)) {
        api_problem(reply, &err);
        return false;
    }
    request->route = find_route(request);
    if (request->route == NULL) {
        answer_unrouted(request, reply);
        return false;
    }
    if (access_check(request, request->route->role, &err) &&
        (request->route->role == API_ANYONE ||
         request_check_headers(request, &err)))
        return true;
    api_problem(reply, &err);
    return false;
}

void api_handle(struct engine *engine, struct api_request *request,
                struct api_reply *reply)
{
    if (request->route == NULL && !api_admit(request, reply))
        return;
    reply_clear(reply);
    if (!engine_is_open(engine) && !answers_early(request->route))
        answer_starting(engine, reply);
    else
        request->route->handle(engine, request, reply);
    if (reply->etag != 0 && strcmp(request->route->method, "GET") == 0 &&
        request_has_seen(request, reply->etag))
        answer_unchanged(reply);
}
