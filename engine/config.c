/*
 * Settings, from four places into one struct.
 *
 *   defaults     the table's own texts, parsed like any other
 *   file         vm_read_settings hands over one scalar at a time
 *   environment  PERIGEE_SECTION_KEY for every row, then the conventional
 *                variable, which wins
 *   overrides    the command line
 *   together     rules that look at several settings
 *
 * Each value goes through set_value, which parses by the row's kind, checks its
 * range and its own rule, and either stores it or writes one line to the
 * faults.  Nothing stops at the first mistake.
 */
#include "config.h"

#include "config_rules.h"
#include "config_tokens.h"
#include "vm/vm_settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum kind { KIND_TEXT, KIND_FLAG, KIND_COUNT, KIND_SECONDS, KIND_MILLIS };

struct setting {
    const char *section;
    const char *key;
    const char *name; /* section.key */
    enum kind kind;
    size_t offset;       /* in struct config */
    size_t given_offset; /* likewise, of its flag in `is_given` */
    const char *fallback;
    double min;
    double max;
    const char *variable; /* conventional, or NULL */
    const char *meaning;
};

/* clang-format off */
static const struct setting settings[] = {
#define X(section, key, kind, fallback, min, max, variable, meaning)           \
    {#section, #key, #section "." #key, KIND_##kind,                           \
     offsetof(struct config, section##_##key),                                 \
     offsetof(struct config, is_given.section##_##key), fallback, min, max,    \
     variable, meaning},
    SETTINGS(X)
#undef X
};
/* clang-format on */

#define NAME_MAX_BYTES 96

/* A value on its way in. */
struct given {
    struct str text;
    bool is_number; /* a number of the file; `number` is exact */
    double number;
    bool is_flag;    /* a boolean of the file */
    bool is_default; /* of the table: nobody gave it */
    const char *origin;
};

struct loading {
    struct config *config;
    struct buf *faults;
    const char *origin; /* of the values of the file */
    struct config_tokens tokens;
};

extern char **environ;

/* ---- saying what is wrong ---- */

static bool is_url(const struct setting *setting)
{
    return strcmp(setting->section, "database") == 0 &&
           strstr(setting->key, "url") != NULL;
}

static void write_range(const struct setting *setting, struct buf *out)
{
    switch (setting->kind) {
    case KIND_TEXT:
        buf_text(out, "a text");
        break;
    case KIND_FLAG:
        buf_text(out, "true or false");
        break;
    case KIND_COUNT:
        buf_printf(out, "a whole number from %.15g to %.15g", setting->min,
                   setting->max);
        break;
    case KIND_SECONDS:
        buf_printf(out, "seconds from %.15g to %.15g", setting->min,
                   setting->max);
        break;
    case KIND_MILLIS:
        buf_printf(out, "whole milliseconds from %.15g to %.15g", setting->min,
                   setting->max);
        break;
    }
}

/* Begins a line of the faults: `name = value (where it came from): `. */
static void begin_fault(struct buf *faults, const struct setting *setting,
                        const struct given *given)
{
    buf_printf(faults, "%s = ", setting->name);
    if (!given->is_number && !given->is_flag)
        buf_char(faults, '"');
    if (is_url(setting))
        config_mask_url(given->text, faults);
    else
        buf_str(faults, given->text);
    if (!given->is_number && !given->is_flag)
        buf_char(faults, '"');
    buf_printf(faults, " (%s): ", given->origin);
}

static bool refuse_range(struct buf *faults, const struct setting *setting,
                         const struct given *given)
{
    begin_fault(faults, setting, given);
    buf_text(faults, "must be ");
    write_range(setting, faults);
    buf_char(faults, '\n');
    return false;
}

/* ---- one value ---- */

static void *field(struct config *config, const struct setting *setting)
{
    return (char *)config + setting->offset;
}

/* Digits with at most one point: strtod alone would take "0x10", "1e9", "inf"
 * and white space, too. */
static bool parse_number(struct str text, double *out)
{
    char copy[32];
    size_t points = 0, digits = 0;

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        points += c == '.';
        digits += c >= '0' && c <= '9';
        if (c != '.' && !(c >= '0' && c <= '9') && !(c == '-' && i == 0))
            return false;
    }
    if (points > 1 || digits == 0)
        return false;
    snprintf(copy, sizeof(copy), "%.*s", STR_ARG(text));
    *out = strtod(copy, NULL);
    return true;
}

static bool set_number(struct loading *loading, const struct setting *setting,
                       const struct given *given)
{
    double number = given->number;
    bool good = given->is_number ||
                (!given->is_flag && parse_number(given->text, &number));

    good = good && number >= setting->min && number <= setting->max;
    if (setting->kind != KIND_SECONDS)
        good = good && number == floor(number);
    if (!good)
        return refuse_range(loading->faults, setting, given);

    double scale = setting->kind == KIND_SECONDS ? 1000.0 : 1.0;
    uint32_t *value = field(loading->config, setting);
    *value = (uint32_t)lround(number * scale);
    return true;
}

static bool set_flag(struct loading *loading, const struct setting *setting,
                     const struct given *given)
{
    bool is_true = str_eq(given->text, STR("true"));
    bool *value = field(loading->config, setting);

    if (given->is_number || (!is_true && !str_eq(given->text, STR("false"))))
        return refuse_range(loading->faults, setting, given);
    *value = is_true;
    return true;
}

static bool set_text(struct loading *loading, const struct setting *setting,
                     const struct given *given)
{
    const char **value = field(loading->config, setting);

    if (given->is_number || given->is_flag)
        return refuse_range(loading->faults, setting, given);

    const char *wrong = config_check_text(setting->name, given->text);
    if (wrong != NULL) {
        begin_fault(loading->faults, setting, given);
        buf_printf(loading->faults, "%s\n", wrong);
        return false;
    }
    *value = arena_str(&loading->config->texts, given->text).ptr;
    return true;
}

static bool parse_value(struct loading *loading, const struct setting *setting,
                        const struct given *given)
{
    switch (setting->kind) {
    case KIND_TEXT:
        return set_text(loading, setting, given);
    case KIND_FLAG:
        return set_flag(loading, setting, given);
    case KIND_COUNT:
    case KIND_SECONDS:
    case KIND_MILLIS:
        return set_number(loading, setting, given);
    }
    return false;
}

static bool set_value(struct loading *loading, const struct setting *setting,
                      const struct given *given)
{
    bool *is_given = (bool *)((char *)loading->config + setting->given_offset);

    if (!parse_value(loading, setting, given))
        return false;
    *is_given = !given->is_default;
    return true;
}

/* ---- names ---- */

static const struct setting *find_setting(const char *name)
{
    for (size_t i = 0; i < COUNT(settings); i++) {
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    }
    return NULL;
}

/* One row more of the table of distances, for one letter more of a word. */
static void next_row(size_t *row, const char *word, size_t width, char letter)
{
    size_t diagonal = row[0]++;

    for (size_t i = 1; i <= width; i++) {
        size_t change = diagonal + (letter != word[i - 1]);

        diagonal = row[i];
        row[i] = MIN(change, MIN(row[i], row[i - 1]) + 1);
    }
}

/* Changes of one letter that lead from `a` to `b` (Levenshtein). */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1];
    size_t width = MIN(strlen(b), NAME_MAX_BYTES);

    for (size_t i = 0; i <= width; i++)
        row[i] = i;
    for (; *a != '\0'; a++)
        next_row(row, b, width, *a);
    return row[width];
}

static const char *nearest(const char *name)
{
    const char *best = NULL;
    size_t best_distance = strlen(name) / 3 + 1;

    for (size_t i = 0; i < COUNT(settings); i++) {
        size_t away = distance(name, settings[i].name);
        /* The right word in the wrong section is near, too. */
        const char *point = strchr(name, '.');
        if (point != NULL && strcmp(point + 1, settings[i].key) == 0)
            away = 1;
        if (away <= best_distance) {
            best = settings[i].name;
            best_distance = away;
        }
    }
    return best;
}

static void refuse_name(struct buf *faults, const char *name,
                        const char *origin)
{
    const char *near = nearest(name);

    buf_printf(faults, "%s (%s): ", name, origin);
    if (strncmp(name, "http.tls_", strlen("http.tls_")) == 0)
        buf_text(faults, CONFIG_TLS_ADVICE "\n");
    else if (near != NULL)
        buf_printf(faults, "no such setting; did you mean %s?\n", near);
    else
        buf_text(faults, "no such setting; `perigee help settings` lists "
                         "them\n");
}

/* PERIGEE_DATABASE_POOL_SIZE for database.pool_size. */
static void variable_of(const char *name, char variable[NAME_MAX_BYTES])
{
    snprintf(variable, NAME_MAX_BYTES, "PERIGEE_%s", name);
    for (char *c = variable; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        else if (*c == '.')
            *c = '_';
    }
}

/* ---- sources ---- */

static void set_defaults(struct loading *loading)
{
    for (size_t i = 0; i < COUNT(settings); i++) {
        struct given given = {.text = str_of(settings[i].fallback),
                              .is_default = true,
                              .origin = "default"};
        CHECK(set_value(loading, &settings[i], &given));
    }
}

/* A section may be empty, a setting may not. */
static void take_empty(struct loading *loading, const struct setting *setting)
{
    if (setting != NULL)
        buf_printf(loading->faults, "%s (%s): must be a value, not a table\n",
                   setting->name, loading->origin);
}

static void take_from_file(void *context, const struct setting_value *value)
{
    struct loading *loading = context;
    const struct setting *setting = find_setting(value->key);
    struct given given = {
        .text = value->text,
        .is_number = value->kind == SETTING_IS_NUMBER,
        .number = value->number,
        .is_flag = value->kind == SETTING_IS_BOOL,
        .origin = loading->origin,
    };

    if (config_tokens_take(&loading->tokens, value))
        return;
    if (given.is_flag)
        given.text = value->flag ? STR("true") : STR("false");
    if (value->kind == SETTING_IS_EMPTY)
        take_empty(loading, setting);
    else if (setting == NULL)
        refuse_name(loading->faults, value->key, loading->origin);
    else
        set_value(loading, setting, &given);
}

/* The file to read, or NULL when there is none to be read. */
static const char *choose_file(struct loading *loading, const char *path)
{
    const char *mode = getenv("PERIGEE_ENV");
    struct arena *texts = &loading->config->texts;

    if (path != NULL)
        return path;
    if (mode == NULL || *mode == '\0')
        return access("config/default.lua", F_OK) == 0 ? "config/default.lua"
                                                       : NULL;
    if (strspn(mode, "abcdefghijklmnopqrstuvwxyz0123456789_-") !=
        strlen(mode)) {
        buf_printf(loading->faults,
                   "PERIGEE_ENV = \"%s\": must name a file of config/ without "
                   "its .lua\n",
                   mode);
        return NULL;
    }
    return arena_printf(texts, "config/%s.lua", mode);
}

static void read_file(struct loading *loading, const char *path)
{
    struct err err = {0};
    const char *file = choose_file(loading, path);

    if (file == NULL)
        return;
    loading->origin = file;
    loading->tokens.origin = file;
    loading->config->file =
        arena_str(&loading->config->texts, str_of(file)).ptr;
    if (!vm_read_settings(file, take_from_file, loading, &err))
        buf_printf(loading->faults, "%s\n", err.text);
    loading->config->http_tokens = config_tokens_end(&loading->tokens);
}

static void take_variable(struct loading *loading,
                          const struct setting *setting, const char *variable)
{
    const char *text = getenv(variable);
    struct given given = {.text = str_of(text), .origin = variable};

    if (text != NULL)
        set_value(loading, setting, &given);
}

/* True for PERIGEE_HTTP_…: whoever sets it means a setting.  Others with our
 * prefix are not ours to judge: Kubernetes makes PERIGEE_SERVICE_HOST and
 * PERIGEE_PORT_… for a service called perigee. */
static bool names_a_section(struct str name)
{
    char variable[NAME_MAX_BYTES];

    for (size_t i = 0; i < COUNT(settings); i++) {
        variable_of(settings[i].section, variable);
        if (str_starts(name, str_of(variable)) && name.len > strlen(variable) &&
            name.ptr[strlen(variable)] == '_')
            return true;
    }
    return false;
}

static bool has_part(struct str name, struct str part)
{
    for (size_t i = 0; i + part.len <= name.len; i++) {
        if (str_eq(str_n(name.ptr + i, part.len), part))
            return true;
    }
    return false;
}

/* Of a service called perigee-http Kubernetes makes PERIGEE_HTTP_SERVICE_HOST,
 * PERIGEE_HTTP_PORT = tcp://… and PERIGEE_HTTP_PORT_80_TCP_ADDR. */
static bool names_a_service(struct str name, struct str value)
{
    return has_part(name, STR("_SERVICE_")) || has_part(name, STR("_PORT_")) ||
           (str_ends(name, STR("_PORT")) && has_part(value, STR("://")));
}

static bool is_setting_variable(struct str name)
{
    char variable[NAME_MAX_BYTES];

    for (size_t i = 0; i < COUNT(settings); i++) {
        variable_of(settings[i].name, variable);
        if (str_eq(name, str_of(variable)))
            return true;
    }
    return false;
}

static void refuse_unknown_variables(struct loading *loading)
{
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        struct str rest = str_of(*entry);
        struct str name = str_cut(&rest, '=');

        if (names_a_section(name) && !is_setting_variable(name) &&
            !names_a_service(name, rest))
            buf_printf(loading->faults,
                       "%.*s (environment): names no setting; `perigee help "
                       "settings` lists them\n",
                       STR_ARG(name));
    }
}

static void read_environment(struct loading *loading)
{
    char variable[NAME_MAX_BYTES];

    for (size_t i = 0; i < COUNT(settings); i++) {
        variable_of(settings[i].name, variable);
        take_variable(loading, &settings[i], variable);
        if (settings[i].variable != NULL)
            take_variable(loading, &settings[i], settings[i].variable);
    }
    refuse_unknown_variables(loading);
}

static void read_overrides(struct loading *loading,
                           const struct setting_override *overrides,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct setting *setting = find_setting(overrides[i].name);
        struct given given = {.text = str_of(overrides[i].value),
                              .origin = "command line"};

        CHECK(setting != NULL);
        set_value(loading, setting, &given);
    }
}

/* ---- public ---- */

bool config_load(struct config *config, const char *path,
                 const struct setting_override *overrides, size_t count,
                 struct buf *faults, struct err *err)
{
    struct loading loading = {.config = config, .faults = faults};
    size_t before = faults->len;

    *config = (struct config){0};
    loading.tokens =
        (struct config_tokens){.texts = &config->texts, .faults = faults};
    set_defaults(&loading);
    read_file(&loading, path);
    read_environment(&loading);
    read_overrides(&loading, overrides, count);
    config_check_together(config, faults);
    if (faults->len == before)
        return true;

    struct str rest = str_n(faults->ptr + before, faults->len - before);
    struct str first = str_cut(&rest, '\n');
    return err_set(err, ERR_CONFIG, "%.*s", STR_ARG(first));
}

void config_done(struct config *config)
{
    arena_done(&config->texts);
}

void config_describe(struct buf *out)
{
    char variable[NAME_MAX_BYTES];

    for (size_t i = 0; i < COUNT(settings); i++) {
        const struct setting *setting = &settings[i];

        variable_of(setting->name, variable);
        buf_printf(out, "%s\n    %s\n    ", setting->name, setting->meaning);
        write_range(setting, out);
        buf_printf(out, "; default %s\n    %s%s%s\n",
                   *setting->fallback != '\0' ? setting->fallback : "empty",
                   variable, setting->variable != NULL ? ", " : "",
                   setting->variable != NULL ? setting->variable : "");
    }
    config_tokens_describe(out);
}

static void print_value(const struct config *config,
                        const struct setting *setting, struct buf *out)
{
    const void *value = (const char *)config + setting->offset;

    switch (setting->kind) {
    case KIND_TEXT:
        config_mask_url(str_of(*(const char *const *)value), out);
        break;
    case KIND_FLAG:
        buf_text(out, *(const bool *)value ? "true" : "false");
        break;
    case KIND_SECONDS:
        buf_printf(out, "%.15g", *(const uint32_t *)value / 1000.0);
        break;
    case KIND_COUNT:
    case KIND_MILLIS:
        buf_printf(out, "%u", *(const uint32_t *)value);
        break;
    }
}

void config_print(const struct config *config, struct buf *out)
{
    for (size_t i = 0; i < COUNT(settings); i++) {
        buf_printf(out, "%s = ", settings[i].name);
        print_value(config, &settings[i], out);
        buf_char(out, '\n');
    }
    config_tokens_print(config->http_tokens, out);
}
