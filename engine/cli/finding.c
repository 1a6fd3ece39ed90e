#include "cli/finding.h"

#include "cli/print.h"

#include <stdarg.h>
#include <stdio.h>

#define FIRST_ROOM 32

static const char *const level_names[] = {
    [FINDING_OK] = "ok",
    [FINDING_WARNING] = "warning",
    [FINDING_PROBLEM] = "problem",
};

/* ---- adding ---- */

/* What is outgrown stays in the arena: there are dozens at most. */
static struct finding *next(struct findings *findings)
{
    if (findings->count == findings->capacity) {
        size_t more = MAX(findings->capacity * 2, FIRST_ROOM);
        struct finding *items =
            arena_zalloc(&findings->arena, more * sizeof(*items));

        if (findings->count > 0)
            memcpy(items, findings->items, findings->count * sizeof(*items));
        findings->items = items;
        findings->capacity = more;
    }
    return &findings->items[findings->count++];
}

static void add(struct findings *findings, enum finding_level level,
                const char *topic, const char *change, const char *format,
                va_list args) PRINTF_LIKE(5, 0);
static void add(struct findings *findings, enum finding_level level,
                const char *topic, const char *change, const char *format,
                va_list args)
{
    struct buf text = {0};

    buf_vprintf(&text, format, args);
    *next(findings) = (struct finding){
        .level = level,
        .topic = topic,
        .text = arena_str(&findings->arena, buf_as_str(&text)).ptr,
        .change = change == NULL
                      ? NULL
                      : arena_str(&findings->arena, str_of(change)).ptr,
    };
    buf_done(&text);
}

void finding_ok(struct findings *findings, const char *topic,
                const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(findings, FINDING_OK, topic, NULL, format, args);
    va_end(args);
}

void finding_warning(struct findings *findings, const char *topic,
                     const char *change, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(findings, FINDING_WARNING, topic, change, format, args);
    va_end(args);
}

void finding_problem(struct findings *findings, const char *topic,
                     const char *change, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(findings, FINDING_PROBLEM, topic, change, format, args);
    va_end(args);
}

void findings_done(struct findings *findings)
{
    arena_done(&findings->arena);
    *findings = (struct findings){0};
}

size_t findings_count(const struct findings *findings, enum finding_level level)
{
    size_t count = 0;

    for (size_t i = 0; i < findings->count; i++)
        count += findings->items[i].level == level;
    return count;
}

/* ---- printing ---- */

static void print_one(const struct finding *finding)
{
    struct buf line = {0};

    buf_printf(&line, "%-7s  %-13s  ", level_names[finding->level],
               finding->topic);
    print_clean(str_of(finding->text), &line);
    print_line(buf_as_str(&line));
    buf_clear(&line);
    if (finding->change != NULL) {
        buf_printf(&line, "%24s-> ", "");
        print_clean(str_of(finding->change), &line);
        print_line(buf_as_str(&line));
    }
    buf_done(&line);
}

void findings_print(const struct findings *findings)
{
    size_t problems = findings_count(findings, FINDING_PROBLEM);
    size_t warnings = findings_count(findings, FINDING_WARNING);

    for (size_t i = 0; i < findings->count; i++)
        print_one(&findings->items[i]);
    printf("\n%zu problem%s, %zu warning%s\n", problems,
           problems == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
}

void findings_print_json(const struct findings *findings)
{
    struct buf line = {0};

    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        struct json_out out;

        buf_clear(&line);
        json_begin(&out, &line);
        json_object(&out, NULL);
        json_put_text(&out, "level", level_names[finding->level]);
        json_put_text(&out, "topic", finding->topic);
        json_put_text(&out, "text", finding->text);
        json_put_opt(&out, "change", str_of(finding->change));
        json_end(&out, '}');
        print_line(buf_as_str(&line));
    }
    buf_done(&line);
}
