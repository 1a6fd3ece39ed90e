#define _GNU_SOURCE /* nftw of folder.h */
#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/api/rig.h"

/*
 * Requests against a whole engine: an aggregate, a projection with one table,
 * and, where a test asks for it, a script that does not load.
 */
struct fixture {
    struct rig rig;
    struct engine *engine; /* the rig's */
    struct arena arena;
    struct api_request request; /* headers that a test sets; kept for the next
                                   call only */
    struct api_reply reply;
};

static const char *const counter =
    "return { type = 'Counter',\n"
    "  initial = function(id) return { sum = 0 } end,\n"
    "  commands = {\n"
    "    add = { input = { by = 'integer' }, run = function(c, input)\n"
    "      c:reject_if(input.by < 0, 'Only upwards')\n"
    "      c:emit('Added', { by = input.by }) end },\n"
    "    touch = { input = {}, run = function(c) c:emit('Touched', {}) end },\n"
    "    fail = { input = {}, run = function() error('a bug') end },\n"
    "  },\n"
    "  apply = { Added = function(s, e) s.sum = s.sum + e.data.by end,\n"
    "            Touched = function(s) s.touched = true end } }\n";

static const char *const sums =
    "return { name = 'sums', version = 3, tables = { sums = { key = 'id',\n"
    "    columns = { id = 'text', sum = 'numeric', at = 'timestamp',\n"
    "                note = 'text?', raw = 'json?' } } },\n"
    "  on = { Added = function(e, db) db.sums:put { id = e.aggregate_id,\n"
    "    sum = e.data.by, at = e.occurred_at,\n"
    "    note = e.data.by % 2 == 0 and 'even' or nil } end } }\n";

static int start(void **state, bool with_fault)
{
    static struct fixture f;

    f = (struct fixture){0};
    rig_prepare(&f.rig);
    folder_write(&f.rig.folder, "a/counter.lua", counter);
    folder_write(&f.rig.folder, "p/sums.lua", sums);
    if (with_fault)
        folder_write(&f.rig.folder, "p/wrong.lua", "return { name = 5 }");
    rig_open(&f.rig);
    f.engine = f.rig.engine;
    *state = &f;
    return 0;
}

static int start_whole(void **state)
{
    return start(state, false);
}

static int start_faulty(void **state)
{
    return start(state, true);
}

static int stop(void **state)
{
    struct fixture *f = *state;

    rig_close(&f->rig);
    arena_done(&f->arena);
    api_reply_done(&f->reply);
    return 0;
}

static int call(struct fixture *f, const char *method, const char *target,
                const char *body)
{
    struct api_request request = f->request;

    arena_reset(&f->arena);
    request.method = str_of(method);
    request.target = str_of(target);
    request.body = body != NULL ? str_of(body) : STR("");
    request.content_type = body != NULL ? STR("application/json") : STR_NONE;
    request.arena = &f->arena;
    api_handle(f->engine, &request, &f->reply);
    f->request = (struct api_request){0};
    return f->reply.status;
}

static int get(struct fixture *f, const char *target)
{
    return call(f, "GET", target, NULL);
}

static void expect(struct fixture *f, int status, const char *part)
{
    if (f->reply.status != status || strstr(f->reply.body.ptr, part) == NULL)
        fail_msg("expected %d and %s, got %d: %s", status, part,
                 f->reply.status, f->reply.body.ptr);
}

static void expect_not(struct fixture *f, const char *part)
{
    if (strstr(f->reply.body.ptr, part) != NULL)
        fail_msg("%s is in %s", part, f->reply.body.ptr);
}

/* The value of `next`, as it is written; NULL at the end. */
static const char *next_of(const struct fixture *f)
{
    static char text[512];
    const char *at = strstr(f->reply.body.ptr, "\"next\":");

    if (at == NULL)
        fail_msg("no next in %s", f->reply.body.ptr);
    at += sizeof("\"next\":") - 1;
    at += *at == '"';
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(at, "\",}"), at);
    return strcmp(text, "null") == 0 ? NULL : text;
}

static void add(struct fixture *f, const char *id, int by)
{
    char target[128], body[64];

    snprintf(target, sizeof(target), "/api/aggregates/Counter/%s/add", id);
    snprintf(body, sizeof(body), "{\"by\":%d}", by);
    call(f, "POST", target, body);
    expect(f, 200, "\"event_type\":\"Added\"");
}

/* Waits until the projection has seen all that is stored. */
static void wait_live(struct fixture *f)
{
    uint64_t until_ms = clock_ms() + 10000;

    do {
        usleep(2000);
        get(f, "/api/projections/sums");
        expect(f, 200, "\"name\":\"sums\"");
    } while ((strstr(f->reply.body.ptr, "\"lag_events\":0") == NULL ||
              strstr(f->reply.body.ptr, "\"state\":\"live\"") == NULL) &&
             clock_ms() < until_ms);
    expect(f, 200, "\"state\":\"live\"");
}

/* ---- commands ---- */

static void a_command_answers_with_events_state_and_etag(void **state)
{
    struct fixture *f = *state;

    f->request.actor_id = STR("me");
    f->request.tenant_id = STR("t\xc3\xa4nt");
    f->request.correlation_id = STR("c-1");
    f->request.traceparent =
        STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    call(f, "POST", "/api/aggregates/Counter/c%2F1/add", " { \"by\" : 5 } ");
    expect(f, 200, "\"aggregate_id\":\"c/1\",\"version\":1");
    expect(f, 200, "\"data\":{\"by\":5}");
    expect(f, 200, "\"actor_id\":\"me\"");
    expect(f, 200, "\"tenant_id\":\"t\xc3\xa4nt\"");
    expect(f, 200, "\"metadata\":{\"traceparent\":\"00-4bf9");
    expect(f, 200, "\"state\":{\"sum\":5}");
    assert_int_equal(f->reply.etag, 1);
    get(f, "/api/aggregates/Counter/c%2F1");
    expect(f, 200, "\"version\":1,\"state\":{\"sum\":5}");
    assert_int_equal(f->reply.etag, 1);
}

static void a_malformed_traceparent_is_forgotten(void **state)
{
    struct fixture *f = *state;

    f->request.traceparent = STR("00-nonsense\"}");
    call(f, "POST", "/api/aggregates/Counter/1/touch", NULL);
    expect(f, 200, "\"metadata\":{}");
}

static void headers_that_are_no_labels_are_bad_requests(void **state)
{
    struct fixture *f = *state;
    char longest[300];

    f->request.actor_id = STR("");
    call(f, "POST", "/api/aggregates/Counter/1/touch", NULL);
    expect(f, 400, "X-Actor-Id");
    f->request.tenant_id = STR("\xff");
    call(f, "POST", "/api/aggregates/Counter/1/touch", NULL);
    expect(f, 400, "X-Tenant-Id");
    memset(longest, 'a', sizeof(longest));
    f->request.correlation_id = str_n(longest, 256);
    call(f, "POST", "/api/aggregates/Counter/1/touch", NULL);
    expect(f, 400, "X-Correlation-Id");
}

static void if_match_decides_over_a_command(void **state)
{
    struct fixture *f = *state;

    f->request.if_match = STR("\"0\"");
    call(f, "POST", "/api/aggregates/Counter/1/touch", NULL);
    expect(f, 200, "\"version\":1");
    f->request.if_match = STR("\"0\"");
    call(f, "POST", "/api/aggregates/Counter/1/touch", NULL);
    expect(f, 409, "\"actual_version\":1");
    f->request.if_match = STR("1");
    call(f, "POST", "/api/aggregates/Counter/1/touch", NULL);
    expect(f, 400, "If-Match");
}

static void refusals_bugs_and_wrong_inputs_differ(void **state)
{
    struct fixture *f = *state;

    call(f, "POST", "/api/aggregates/Counter/1/add", "{\"by\":-1}");
    expect(f, 409, "\"detail\":\"Only upwards\",\"code\":\"rejected\"");
    call(f, "POST", "/api/aggregates/Counter/1/add", "{\"by\":\"x\"}");
    expect(f, 422, "\"field\":\"by\"");
    call(f, "POST", "/api/aggregates/Counter/1/fail", NULL);
    expect(f, 500, "\"code\":\"script_error\"");
    call(f, "POST", "/api/aggregates/Counter/1/nothing", NULL);
    expect(f, 404, "\"code\":\"not_found\"");
    call(f, "POST", "/api/aggregates/Nobody/1/add", NULL);
    expect(f, 404, "\"code\":\"not_found\"");
    get(f, "/api/aggregates/Counter/1");
    expect(f, 404, "\"code\":\"not_found\"");
}

static void a_state_that_was_seen_is_not_sent_again(void **state)
{
    static const char *const seen[] = {"\"1\"", "W/\"1\"", "\"7\", \"1\"", "*"};
    static const char *const unseen[] = {"\"2\"", "1", "\"1", "", "\"01\""};
    struct fixture *f = *state;

    call(f, "POST", "/api/aggregates/Counter/1/touch", NULL);
    for (size_t i = 0; i < COUNT(seen); i++) {
        f->request.if_none_match = str_of(seen[i]);
        assert_int_equal(get(f, "/api/aggregates/Counter/1"), 304);
        assert_int_equal(f->reply.body.len, 0);
        assert_int_equal(f->reply.etag, 1);
    }
    for (size_t i = 0; i < COUNT(unseen); i++) {
        f->request.if_none_match = str_of(unseen[i]);
        assert_int_equal(get(f, "/api/aggregates/Counter/1"), 200);
    }
    f->request.if_none_match = STR("*");
    assert_int_equal(call(f, "POST", "/api/aggregates/Counter/1/touch", NULL),
                     200);
}

static void an_append_may_say_its_version_by_a_header(void **state)
{
    static const char *const plain =
        "{\"events\":[{\"event_type\":\"A\",\"data\":{}}]}";
    static const char *const one =
        "{\"expected_version\":1,\"events\":[{\"event_type\":\"A\","
        "\"data\":{}}]}";
    struct fixture *f = *state;

    f->request.if_match = STR("\"0\"");
    assert_int_equal(call(f, "POST", "/api/streams/Cart/1", plain), 200);
    f->request.if_match = STR("\"0\"");
    assert_int_equal(call(f, "POST", "/api/streams/Cart/1", plain), 409);
    expect(f, 409, "version_conflict");
    f->request.if_match = STR("\"2\"");
    assert_int_equal(call(f, "POST", "/api/streams/Cart/1", one), 400);
    expect(f, 400, "If-Match");
    f->request.if_match = STR("\"1\"");
    assert_int_equal(call(f, "POST", "/api/streams/Cart/1", one), 200);
    f->request.if_match = STR("1");
    assert_int_equal(call(f, "POST", "/api/streams/Cart/1", plain), 400);
}

static void a_state_can_be_read_as_it_was(void **state)
{
    struct fixture *f = *state;

    add(f, "1", 1);
    add(f, "1", 2);
    get(f, "/api/aggregates/Counter/1?at=1");
    expect(f, 200, "\"version\":1,\"state\":{\"sum\":1}");
    get(f, "/api/aggregates/Counter/1?at=3");
    expect(f, 404, "not_found");
    get(f, "/api/aggregates/Counter/1?at=x");
    expect(f, 400, "\"field\":\"at\"");
    get(f, "/api/aggregates/Counter/1?at=0");
    expect(f, 400, "expected a version from 1 on");
}

/* ---- streams and events ---- */

static void an_append_is_read_back_as_it_was_written(void **state)
{
    struct fixture *f = *state;

    call(f, "POST", "/api/streams/Cart/Stra%C3%9Fe%201",
         "{\"expected_version\":\"no_stream\",\"events\":[{\"event_type\":"
         "\"Filled\",\"data\":{\"b\":1.50, \"a\":18446744073709551616}}]}");
    expect(f, 200,
           "{\"version\":1,\"first_position\":1,\"last_position\":1,"
           "\"idempotent\":false}");
    get(f, "/api/streams/Cart/Stra%C3%9Fe%201");
    expect(f, 200,
           "\"aggregate_id\":\"Stra\xc3\x9f"
           "e 1\"");
    expect(f, 200, "\"data\":{\"b\":1.50,\"a\":18446744073709551616}");
    call(f, "POST", "/api/streams/Cart/Stra%C3%9Fe%201",
         "{\"expected_version\":\"no_stream\",\"events\":[{\"event_type\":"
         "\"Filled\",\"data\":{}}]}");
    expect(f, 409, "\"code\":\"version_conflict\"");
    expect(f, 409, "\"actual_version\":1");
}

static void uuid_ids_name_one_stream_in_either_case(void **state)
{
    struct fixture *f = *state;

    call(f, "POST", "/api/streams/Cart/550E8400-E29B-41D4-A716-446655440000",
         "{\"events\":[{\"event_type\":\"A\",\"data\":{},\"aggregate_id\":"
         "\"550E8400-e29b-41d4-a716-446655440000\"}]}");
    expect(f, 200, "\"version\":1");
    get(f, "/api/streams/Cart/550e8400-e29b-41d4-a716-446655440000");
    expect(f, 200, "\"aggregate_id\":\"550e8400-e29b-41d4-a716-446655440000\"");
}

static void a_repeated_append_is_answered_with_the_first_result(void **state)
{
    static const char *const body =
        "{\"expected_version\":0,\"events\":[{\"event_type\":\"A\",\"data\":{},"
        "\"event_id\":\"018f4e6a-0000-7000-8000-00000000000a\"}]}";
    struct fixture *f = *state;

    call(f, "POST", "/api/streams/Cart/1", body);
    expect(f, 200, "\"idempotent\":false");
    call(f, "POST", "/api/streams/Cart/1", body);
    expect(f, 200, "\"version\":1,\"first_position\":1");
    expect(f, 200, "\"idempotent\":true");
    call(f, "POST", "/api/streams/Cart/2", body);
    expect(f, 409, "\"code\":\"duplicate_event\"");
}

static void unknown_event_types_need_a_type_without_a_script(void **state)
{
    struct fixture *f = *state;
    static const char *const body =
        "{\"events\":[{\"event_type\":\"Odd\",\"data\":{}}]}";

    call(f, "POST", "/api/streams/Counter/1", body);
    expect(f, 422, "\"field\":\"events[0].event_type\"");
    call(f, "POST", "/api/streams/Cart/1", body);
    expect(f, 200, "\"version\":1");
}

/* Follows `next` and counts what it finds. */
static int walk(struct fixture *f, const char *target, const char *param,
                const char *item)
{
    char next[512] = "";
    int items = 0;

    for (int pages = 0; pages < 50; pages++) {
        char page[1024];

        if (next[0] == '\0')
            snprintf(page, sizeof(page), "%s", target);
        else
            snprintf(page, sizeof(page), "%s&%s=%s", target, param, next);
        get(f, page);
        expect(f, 200, "\"next\":");
        for (const char *at = f->reply.body.ptr;
             (at = strstr(at, item)) != NULL; at++)
            items++;
        if (next_of(f) == NULL)
            return items;
        snprintf(next, sizeof(next), "%s", next_of(f));
    }
    fail_msg("%s never ends", target);
    return -1;
}

static void pages_lead_to_the_end_and_no_further(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 6; i++)
        add(f, i < 4 ? "a" : "b", i);
    call(f, "POST", "/api/streams/Cart/1",
         "{\"events\":[{\"event_type\":\"Odd\",\"data\":{}}]}");
    for (int limit = 1; limit <= 8; limit++) {
        char target[128];

        snprintf(target, sizeof(target), "/api/events?limit=%d", limit);
        assert_int_equal(walk(f, target, "after", "\"position\""), 7);
        snprintf(target, sizeof(target),
                 "/api/events?event_type=Added&limit=%d", limit);
        assert_int_equal(walk(f, target, "after", "\"position\""), 6);
        snprintf(target, sizeof(target),
                 "/api/events?aggregate_type=Cart&limit=%d", limit);
        assert_int_equal(walk(f, target, "after", "\"position\""), 1);
        snprintf(target, sizeof(target), "/api/streams/Counter/a?limit=%d",
                 limit);
        assert_int_equal(walk(f, target, "from", "\"position\""), 4);
        snprintf(target, sizeof(target),
                 "/api/streams/Counter/a?backward=true&limit=%d", limit);
        assert_int_equal(walk(f, target, "from", "\"position\""), 4);
        snprintf(target, sizeof(target), "/api/streams?limit=%d", limit);
        assert_int_equal(walk(f, target, "after", "\"first_position\""), 3);
    }
    get(f, "/api/events?limit=7");
    assert_null(next_of(f));
    get(f, "/api/events?after=7");
    expect(f, 200, "{\"events\":[],\"next\":null}");
    get(f, "/api/streams/Counter/nobody");
    expect(f, 200, "{\"events\":[],\"next\":null}");
}

/* ---- read models ---- */

static void rows_are_ordered_filtered_and_paged(void **state)
{
    static const char *const orders[] = {"id", "-id", "sum",  "-sum",
                                         "at", "-at", "note", "-note"};
    struct fixture *f = *state;

    for (int i = 0; i < 7; i++)
        add(f, (char[]){(char)('g' - i), '\0'}, i / 2 * 10 + i % 2);
    wait_live(f);
    for (size_t i = 0; i < COUNT(orders); i++) {
        for (int limit = 1; limit <= 8; limit += 3) {
            char target[128];

            snprintf(target, sizeof(target),
                     "/api/projections/sums/tables/sums?limit=%d&order=%s",
                     limit, orders[i]);
            assert_int_equal(walk(f, target, "after", "\"id\""), 7);
        }
    }
    get(f, "/api/projections/sums/tables/sums?order=-sum&limit=1");
    expect(f, 200, "\"rows\":[{\"id\":\"a\",");
    expect(f, 200, "\"sum\":\"30\"");
    get(f, "/api/projections/sums/tables/sums?sum=10.0");
    expect(f, 200, "\"id\":\"e\"");
    get(f, "/api/projections/sums/tables/sums?note&sum=11");
    expect(f, 200, "\"note\":null");
    get(f, "/api/projections/sums/tables/sums?note=even&sum=11");
    expect(f, 200, "{\"rows\":[],\"next\":null}");
    get(f, "/api/projections/sums/tables/sums/a");
    expect(f, 200, "{\"id\":\"a\",");
}

static void wrong_questions_about_rows_are_told_why(void **state)
{
    static const struct {
        const char *target;
        int status;
        const char *part;
    } wrong[] = {
        {"/api/projections/none/tables/sums", 404, "projection 'none'"},
        {"/api/projections/sums/tables/none", 404, "table 'none'"},
        {"/api/projections/sums/tables/sums/none", 404, "no row 'none'"},
        {"/api/projections/sums/tables/sums?colour=red", 400, "id, at, note"},
        {"/api/projections/sums/tables/sums?order=colour", 400, "order"},
        {"/api/projections/sums/tables/sums?order=-", 400, "order"},
        {"/api/projections/sums/tables/sums?order=raw", 400, "json"},
        {"/api/projections/sums/tables/sums?raw=1", 400, "json"},
        {"/api/projections/sums/tables/sums?sum=abc", 400, "\"field\":\"sum\""},
        {"/api/projections/sums/tables/sums?at=abc", 400, "\"field\":\"at\""},
        {"/api/projections/sums/tables/sums?after=abc", 400, "after"},
        {"/api/projections/sums/tables/sums?after", 400, "after"},
        {"/api/projections/sums/tables/sums?limit=0", 400, "limit"},
        {"/api/projections/sums/tables/sums/a?limit=1", 400, "limit"},
    };
    struct fixture *f = *state;

    wait_live(f);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        get(f, wrong[i].target);
        expect(f, wrong[i].status, wrong[i].part);
    }
}

static void a_projection_tells_how_it_stands(void **state)
{
    struct fixture *f = *state;

    add(f, "1", 1);
    wait_live(f);
    get(f, "/api/projections");
    expect(f, 200, "{\"projections\":[{\"name\":\"sums\"");
    expect(f, 200, "\"position\":1,\"head\":1,\"lag_events\":0");
    expect(f, 200,
           "\"last_error\":null,\"script_version\":3,\"script_hash\":\"");
    expect(f, 200, "\"generation\":1}],\"next\":null}");
    get(f, "/api/projections/none");
    expect(f, 404, "not_found");
}

static void scripts_are_listed_with_their_faults(void **state)
{
    struct fixture *f = *state;

    get(f, "/api/scripts");
    expect(f, 200, "\"kind\":\"aggregate\",\"name\":\"Counter\"");
    expect(f, 200, "\"commands\":[\"add\",\"fail\",\"touch\"]");
    expect(f, 200, "\"kind\":\"projection\",\"name\":\"sums\"");
    expect(f, 200, "wrong.lua\",\"message\":\"");
}

/* ---- health ---- */

static void a_whole_engine_is_healthy_ready_and_alive(void **state)
{
    struct fixture *f = *state;

    add(f, "1", 1);
    wait_live(f);
    get(f, "/health");
    expect(f, 200,
           "{\"status\":\"healthy\",\"running\":true,\"phase\":"
           "\"running\",\"subscription_count\":1,\"healthy_count\":1,"
           "\"degraded_count\":0,\"unhealthy_count\":0,"
           "\"total_events_processed\":1");
    expect(f, 200,
           "\"subscriptions\":[{\"name\":\"sums\",\"status\":"
           "\"healthy\",\"state\":\"live\"");
    get(f, "/health/ready");
    expect(f, 200, "{\"ready\":true");
    get(f, "/health/live");
    expect(f, 200, "{\"alive\":true");
    get(f, "/metrics");
    expect(f, 200, "perigee_events_appended_total");
    expect(f, 200, "# EOF");
    expect(f, 200, "perigee_pool_connections{state=\"idle\"} ");
    expect_not(f, "perigee_pool_wait_seconds_count 0\n");
}

static void a_script_that_does_not_load_makes_it_unready(void **state)
{
    struct fixture *f = *state;

    wait_live(f);
    get(f, "/health");
    expect(f, 200, "{\"status\":\"degraded\"");
    get(f, "/health/ready");
    expect(f, 503, "wrong.lua");
    get(f, "/health/live");
    expect(f, 200, "{\"alive\":true");
}

static void a_handler_that_fails_makes_it_unready(void **state)
{
    struct fixture *f = *state;
    uint64_t until_ms = clock_ms() + 10000;

    call(f, "POST", "/api/streams/Other/1",
         "{\"events\":[{\"event_type\":\"Added\",\"data\":{\"by\":\"x\"}}]}");
    expect(f, 200, "\"version\":1");
    do {
        usleep(2000);
        get(f, "/health");
    } while (f->reply.status == 200 && clock_ms() < until_ms);
    expect(f, 503, "{\"status\":\"unhealthy\"");
    expect(f, 503, "\"state\":\"error\"");
    get(f, "/health/ready");
    expect(f, 503, "subscription 'sums' is in error");
    get(f, "/api/projections/sums");
    expect(f, 200, "sums.lua:");
}

static void an_engine_that_stops_is_unready_at_once(void **state)
{
    struct fixture *f = *state;

    wait_live(f);
    engine_move(f->engine, PHASE_STOPPING);
    get(f, "/health/ready");
    expect(f, 503, "shutting down (stopping)");
    get(f, "/health/live");
    expect(f, 200, "\"phase\":\"stopping\"");
}

/* ---- routing ---- */

static void paths_and_methods_are_told_apart(void **state)
{
    static const struct {
        const char *method, *target;
        int status;
        const char *allow;
    } cases[] = {
        {"GET", "/", 404, NULL},
        {"GET", "", 400, NULL},
        {"GET", "/api", 404, NULL},
        {"GET", "/api/", 404, NULL},
        {"GET", "/api/events/", 404, NULL},
        {"GET", "//api/events", 404, NULL},
        {"GET", "/API/events", 404, NULL},
        {"GET", "/api/events%2F", 404, NULL},
        {"GET", "/api%2fevents", 404, NULL},
        {"GET", "/%61pi/events", 200, NULL},
        {"HEAD", "/api/events", 200, NULL},
        {"POST", "/api/events", 405, "GET, HEAD"},
        {"OPTIONS", "/api/events", 405, "GET, HEAD"},
        {"BREW", "/api/events", 405, "GET, HEAD"},
        {"get", "/api/events", 405, "GET, HEAD"},
        {"", "/api/events", 405, "GET, HEAD"},
        {"DELETE", "/api/streams/A/1", 405, "POST, GET, HEAD"},
        {"GET", "/api/aggregates/A/1/x", 405, "POST"},
        {"HEAD", "/api/shutdown", 405, "POST"},
        {"POST", "/api/streams/Order/", 400, NULL},
        {"POST", "/api/streams//1", 400, NULL},
        {"GET", "/api/streams/Order/%00", 400, NULL},
        {"GET", "/api/streams/Order/%C2%85", 400, NULL},
        {"GET", "/api/streams/%C3%84/1", 400, NULL},
        {"GET", "/api/projections/sums/tables/sums/a/b", 404, NULL},
        {"GET", "/1/2/3/4/5/6/7/8/9/10", 404, NULL},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        int status = call(f, cases[i].method, cases[i].target, NULL);

        if (status != cases[i].status)
            fail_msg("%s %s: %d", cases[i].method, cases[i].target, status);
        if (cases[i].allow == NULL)
            assert_null(f->reply.allow);
        else
            assert_string_equal(f->reply.allow, cases[i].allow);
    }
}

static void every_call_but_probes_refuses_unknown_parameters(void **state)
{
    struct fixture *f = *state;
    size_t count;
    const struct api_route *routes = api_routes(&count);

    wait_live(f);
    for (size_t i = 0; i < count; i++) {
        char target[128];

        snprintf(target, sizeof(target), "%s?nobody_knows=1", routes[i].path);
        for (char *at = target; *at != '\0'; at++)
            *at = *at == '{' || *at == '}' ? 's' : *at;
        call(f, routes[i].method, target, NULL);
        if (strncmp(routes[i].path, "/api/", 5) != 0)
            assert_int_equal(f->reply.status, 200);
        else if (strstr(routes[i].path, "{table}") != NULL)
            assert_int_equal(f->reply.status, 404); /* no such table */
        else
            expect(f, 400, "nobody_knows");
    }
}

/* Whether the route of a request may block on the store. */
static bool may_block(struct fixture *f, const char *method, const char *target)
{
    struct api_request request = {
        .method = str_of(method), .target = str_of(target), .arena = &f->arena};

    assert_true(api_admit(&request, &f->reply));
    return request.route->blocks;
}

static void only_what_cannot_block_is_said_not_to(void **state)
{
    struct fixture *f = *state;

    assert_false(may_block(f, "GET", "/health"));
    assert_false(may_block(f, "HEAD", "/health/live"));
    assert_false(may_block(f, "GET", "/metrics?a=b"));
    assert_false(may_block(f, "GET", "/api/projections/x"));
    assert_true(may_block(f, "GET", "/api/events"));
    assert_true(may_block(f, "GET", "/%61pi/events"));
    assert_true(may_block(f, "POST", "/api/streams/A/1"));
}

static void expect_client_fault(struct fixture *f, const char *body)
{
    if (f->reply.status < 400 || f->reply.status > 422)
        fail_msg("%s: %d %s", body, f->reply.status, f->reply.body.ptr);
}

/* Whatever comes, the answer is a document, and a fault of the client. */
static void garbage_gets_an_answer_everywhere(void **state)
{
    static const char *const garbage[] = {
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{}",
        "{\"a\":1}",
        "\x80",
        "   ",
        "{\"events\":1}",
        "{\"events\":[[]]}",
        "{\"events\":[{}]}",
        "{\"by\":{}}",
        "{\"by\":1.5}",
        "{\"by\":NaN}",
        "{\"by\":1,}",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(garbage); i++) {
        call(f, "POST", "/api/streams/Cart/1", garbage[i]);
        expect_client_fault(f, garbage[i]);
        call(f, "POST", "/api/aggregates/Counter/1/add", garbage[i]);
        expect_client_fault(f, garbage[i]);
        assert_string_equal(f->reply.content_type, "application/problem+json");
    }
    get(f, "/api/events");
    expect(f, 200, "\"events\":[]");
}

#define WHOLE(name)  cmocka_unit_test_setup_teardown(name, start_whole, stop)
#define FAULTY(name) cmocka_unit_test_setup_teardown(name, start_faulty, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WHOLE(a_command_answers_with_events_state_and_etag),
        WHOLE(a_malformed_traceparent_is_forgotten),
        WHOLE(headers_that_are_no_labels_are_bad_requests),
        WHOLE(if_match_decides_over_a_command),
        WHOLE(refusals_bugs_and_wrong_inputs_differ),
        WHOLE(a_state_can_be_read_as_it_was),
        WHOLE(a_state_that_was_seen_is_not_sent_again),
        WHOLE(an_append_may_say_its_version_by_a_header),
        WHOLE(an_append_is_read_back_as_it_was_written),
        WHOLE(uuid_ids_name_one_stream_in_either_case),
        WHOLE(a_repeated_append_is_answered_with_the_first_result),
        WHOLE(unknown_event_types_need_a_type_without_a_script),
        WHOLE(pages_lead_to_the_end_and_no_further),
        WHOLE(rows_are_ordered_filtered_and_paged),
        WHOLE(wrong_questions_about_rows_are_told_why),
        WHOLE(a_projection_tells_how_it_stands),
        FAULTY(scripts_are_listed_with_their_faults),
        WHOLE(a_whole_engine_is_healthy_ready_and_alive),
        FAULTY(a_script_that_does_not_load_makes_it_unready),
        WHOLE(a_handler_that_fails_makes_it_unready),
        WHOLE(an_engine_that_stops_is_unready_at_once),
        WHOLE(paths_and_methods_are_told_apart),
        WHOLE(every_call_but_probes_refuses_unknown_parameters),
        WHOLE(only_what_cannot_block_is_said_not_to),
        WHOLE(garbage_gets_an_answer_everywhere),
    };

    log_setup(LOG_CRITICAL, LOG_FORMAT_TEXT, STDERR_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
