#include "api/handlers.h"
#include "api/reply.h"
#include "api/request.h"

/* clang-format off */
static const struct api_route routes[] = {
    {"POST", "/api/streams/{type}/{id}", api_stream_append, true,
     "append events to a stream"},
    {"POST", "/api/aggregates/{type}/{id}/{command}", api_command_run, true,
     "run an aggregate's command"},
    {"GET", "/api/aggregates/{type}/{id}", api_aggregate_read, true,
     "the folded state of an aggregate"},
    {"GET", "/api/streams/{type}/{id}", api_stream_read, true,
     "the events of a stream"},
    {"GET", "/api/streams", api_stream_list, true,
     "streams, in the order of their first events"},
    {"GET", "/api/events", api_event_list, true,
     "events in global order"},
    {"GET", "/api/projections", api_projection_list, false,
     "how every projection stands"},
    {"GET", "/api/projections/{name}", api_projection_read, false,
     "how one projection stands"},
    {"GET", "/api/projections/{name}/tables/{table}", api_row_list, true,
     "rows of a read model"},
    {"GET", "/api/projections/{name}/tables/{table}/{key}", api_row_read, true,
     "one row of a read model"},
    {"GET", "/api/scripts", api_script_list, false,
     "what scripts are loaded"},
    {"POST", "/api/shutdown", api_shutdown, false,
     "stop the engine as SIGTERM does"},
    {"GET", "/health", api_health, false,
     "health of the engine and of each subscription"},
    {"GET", "/health/ready", api_health_ready, false,
     "readiness probe"},
    {"GET", "/health/live", api_health_live, false,
     "liveness probe"},
    {"GET", "/metrics", api_metrics, false,
     "metrics in OpenMetrics text"},
};
/* clang-format on */

const struct api_route *api_routes(size_t *count_out)
{
    *count_out = COUNT(routes);
    return routes;
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

        if (!matches(pattern_of(&routes[i]), request->segments,
                     request->segment_count))
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
            matches(pattern_of(&routes[i]), request->segments,
                    request->segment_count))
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

void api_handle(struct engine *engine, struct api_request *request,
                struct api_reply *reply)
{
    const struct api_route *route;
    struct err err;

    reply_clear(reply);
    if (!request_split(request, &err)) {
        api_problem(reply, &err);
        return;
    }
    route = find_route(request);
    if (route == NULL)
        answer_unrouted(request, reply);
    else if (!engine_is_open(engine) && !answers_early(route))
        answer_starting(engine, reply);
    else
        route->handle(engine, request, reply);
}

/* Only a path that is spelled exactly like that of a route that cannot block
 * is known not to; one with escapes is routed later and may be any. */
bool api_blocks(struct str method, struct str target)
{
    struct str query = target;
    struct str path = str_cut(&query, '?');
    struct str segments[API_MAX_SEGMENTS];
    size_t count = 0;

    if (path.len == 0)
        return true;
    path = str_n(path.ptr + 1, path.len - 1);
    while (!str_is_none(path) && count < API_MAX_SEGMENTS)
        segments[count++] = str_cut(&path, '/');
    for (size_t i = 0; i < COUNT(routes); i++) {
        if (!routes[i].blocks && serves(&routes[i], method) &&
            matches(pattern_of(&routes[i]), segments, count))
            return false;
    }
    return true;
}
