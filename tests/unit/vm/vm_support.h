#pragma once
/*
 * A world for tests of vm/: a state whose only script is given as a text, and
 * short ways to run something in it.
 */
#include "base/log.h"
#include "base/mem.h"
#include "vm/script.h"
#include "vm/vm_aggregate.h"
#include "vm/vm_projection.h"
#include "vm/vm_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#define LIMIT_BYTES ((size_t)16 * 1024 * 1024)
#define TIMEOUT_MS  5000 /* long enough for the busiest machine */

/* Of loading and of world_eval; tests of deadlines lower it. */
static uint32_t world_timeout_ms UNUSED = TIMEOUT_MS;

struct world {
    struct source_tree *tree;
    struct arena arena;
    struct vm *vm;
    struct err err;
    int script;
    struct aggregate_decl aggregate;
    struct projection_decl projection;
};

static inline void world_open(struct world *w, const char *text)
{
    struct vm_options options = {.memory_bytes = LIMIT_BYTES,
                                 .load_timeout_ms = world_timeout_ms};

    *w = (struct world){0};
    w->tree = source_tree_of("scripts/test.lua", str_of(text));
    w->vm = vm_new(&options, &w->err);
    assert_non_null(w->vm);
}

static inline void world_close(struct world *w)
{
    vm_free(w->vm);
    source_tree_free(w->tree);
    arena_done(&w->arena);
}

static inline bool world_load_aggregate(struct world *w, const char *text)
{
    world_open(w, text);
    w->script = vm_load_aggregate(w->vm, &w->tree->sources[0], &w->arena,
                                  &w->aggregate, &w->err);
    return w->script >= 0;
}

static inline bool world_load_projection(struct world *w, const char *text)
{
    world_open(w, text);
    w->script = vm_load_projection(w->vm, &w->tree->sources[0], &w->arena,
                                   &w->projection, &w->err);
    return w->script >= 0;
}

/* An event that is complete enough for any handler. */
static inline struct event test_event(const char *type, const char *data)
{
    struct event event = {
        .position = 7,
        .event_type = str_of(type),
        .event_version = 1,
        .aggregate_type = STR("Thing"),
        .aggregate_id = STR("thing-1"),
        .aggregate_version = 3,
        .data = str_of(data),
        .metadata = STR("{\"source\":\"test\"}"),
        .tenant_id = STR("acme"),
        .occurred_at_us = 1291191960000000,
        .recorded_at_us = 1291191960000001,
    };

    assert_true(uuid_parse(STR("01890a5d-ac96-774b-bcce-b302099a8057"),
                           &event.event_id));
    return event;
}

/* Runs `code`, the body of a function that returns a text or nothing, as an
 * `apply`; true with the text in `out` (empty for nothing). */
static inline bool world_eval(struct world *w, const char *code, char *out,
                              size_t size)
{
    struct event event = test_event("Run", "{\"a\":1}");
    struct buf text = {0};
    struct buf state = {0};
    struct json result;
    int id;
    bool ok;

    buf_printf(&text,
               "return { type = 'Thing', apply = { Run = function(state, "
               "event) local function code()\n%s\nend state.result = code() "
               "end } }",
               code);
    if (!world_load_aggregate(w, text.ptr)) {
        buf_done(&text);
        return false;
    }
    buf_done(&text);
    id = vm_state_new(w->vm, w->script, STR("x"), TIMEOUT_MS, &w->err);
    assert_true(id >= 0);
    ok =
        vm_state_apply(w->vm, w->script, id, &event, world_timeout_ms, &w->err);
    if (ok) {
        assert_true(vm_state_encode(w->vm, id, &state, &w->err));
        result = json_get(json_value(buf_as_str(&state)), STR("result"));
        text = (struct buf){0};
        if (result.kind == JSON_STRING)
            json_unescape(result, &text);
        else if (result.kind != JSON_END)
            buf_str(&text, result.raw);
        snprintf(out, size, "%s", text.ptr != NULL ? text.ptr : "");
        buf_done(&text);
        buf_done(&state);
    }
    return ok;
}

/* The code must return this text. */
static inline void expect_text(const char *code, const char *expected)
{
    struct world w;
    char out[4096] = "";

    if (!world_eval(&w, code, out, sizeof(out)))
        fail_msg("%s\n  in: %s", w.err.text, code);
    if (strcmp(out, expected) != 0)
        fail_msg("'%s' expected, '%s' got\n  in: %s", expected, out, code);
    world_close(&w);
}

/* The code must fail with a text that contains this. */
static inline void expect_error(const char *code, const char *part)
{
    struct world w;
    char out[4096] = "";

    if (world_eval(&w, code, out, sizeof(out)))
        fail_msg("an error expected, '%s' got\n  in: %s", out, code);
    if (strstr(w.err.text, part) == NULL)
        fail_msg("'%s' expected in '%s'\n  in: %s", part, w.err.text, code);
    world_close(&w);
}
