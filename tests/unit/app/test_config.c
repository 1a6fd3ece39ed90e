#define _GNU_SOURCE /* environ */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A settings file in a folder that is the working directory, and what came of
 * reading it. */
struct fixture {
    char folder[64];
    struct config config;
    struct buf faults;
    struct err err;
};

static void forget(struct fixture *f)
{
    config_done(&f->config);
    buf_done(&f->faults);
    f->config = (struct config){0};
    f->err = (struct err){0};
}

static void forget_environment(void)
{
    clearenv();
}

static int begin(void **state)
{
    static struct fixture fixture;
    const char *parent = getenv("TMPDIR");

    fixture = (struct fixture){0};
    snprintf(fixture.folder, sizeof(fixture.folder), "%s/test_config_XXXXXX",
             parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(fixture.folder));
    assert_int_equal(chdir(fixture.folder), 0);
    forget_environment();
    *state = &fixture;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    forget(f);
    unlink("a.lua");
    unlink("config/default.lua");
    unlink("config/staging.lua");
    rmdir("config");
    rmdir(f->folder);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool load(struct fixture *f, const char *path)
{
    forget(f);
    return config_load(&f->config, path, NULL, 0, &f->faults, &f->err);
}

static bool load_text(struct fixture *f, const char *text)
{
    write_file("a.lua", text);
    return load(f, "a.lua");
}

static size_t fault_count(const struct fixture *f)
{
    size_t lines = 0;

    for (size_t i = 0; i < f->faults.len; i++)
        lines += f->faults.ptr[i] == '\n';
    return lines;
}

static void assert_fault(const struct fixture *f, const char *says)
{
    if (f->faults.ptr == NULL || strstr(f->faults.ptr, says) == NULL)
        fail_msg("no \"%s\" in:\n%s", says,
                 f->faults.ptr != NULL ? f->faults.ptr : "");
}

/* ---- every row of the table ---- */

enum kind { KIND_TEXT, KIND_FLAG, KIND_COUNT, KIND_SECONDS, KIND_MILLIS };

struct row {
    const char *section;
    const char *key;
    enum kind kind;
    const char *fallback;
    double min;
    double max;
    const char *variable;
    size_t offset;
};

/* clang-format off */
static const struct row rows[] = {
#define X(section, key, kind, fallback, min, max, variable, meaning)           \
    {#section, #key, KIND_##kind, fallback, min, max, variable,                \
     offsetof(struct config, section##_##key)},
    SETTINGS(X)
#undef X
};

/* Texts that are right for settings with rules of their own. */
static const struct {
    const char *key;
    const char *good;
} good_texts[] = {
    {"url",         "postgresql://ada@db/log"},
    {"direct_url",  "postgresql://ada@direct/log"},
    {"read_schema", "reading"},
    {"sslmode",     "verify-full"},
    {"listen",      "127.0.0.1:9000"},
    {"probe_listen", "127.0.0.1:9001"},
    {"auth",        "none"},
    {"level",       "WARNING"},
    {"format",      "json"},
};
/* clang-format on */

/* A right value that is not the default, as it stands in a variable. */
static const char *other_value(const struct row *row)
{
    static char text[32];

    for (size_t i = 0; i < COUNT(good_texts); i++) {
        if (row->kind == KIND_TEXT && strcmp(row->key, good_texts[i].key) == 0)
            return good_texts[i].good;
    }
    if (row->kind == KIND_TEXT)
        return "elsewhere";
    if (row->kind == KIND_FLAG)
        return strcmp(row->fallback, "true") == 0 ? "false" : "true";
    /* Near the end that keeps stall_timeout above processing_timeout, and
     * threads above max_live. */
    bool is_high = strcmp(row->key, "stall_timeout") == 0 ||
                   strcmp(row->key, "threads") == 0;
    snprintf(text, sizeof(text), "%.15g", is_high ? row->max : row->min);
    return text;
}

static const void *value_of(const struct fixture *f, const struct row *row)
{
    return (const char *)&f->config + row->offset;
}

static void assert_value(const struct fixture *f, const struct row *row,
                         const char *text)
{
    const void *value = value_of(f, row);
    double scale = row->kind == KIND_SECONDS ? 1000 : 1;

    if (row->kind == KIND_TEXT)
        assert_string_equal(*(const char *const *)value, text);
    else if (row->kind == KIND_FLAG)
        assert_int_equal(*(const bool *)value, strcmp(text, "true") == 0);
    else
        assert_int_equal(*(const uint32_t *)value,
                         (uint32_t)(strtod(text, NULL) * scale + 0.5));
}

static void variable_of(const struct row *row, char *out, size_t size)
{
    snprintf(out, size, "PERIGEE_%s_%s", row->section, row->key);
    for (char *c = out; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 32);
    }
}

static void without_anything_every_setting_has_its_default(void **state)
{
    struct fixture *f = *state;

    assert_true(load(f, NULL));
    assert_null(f->config.file);
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_value(f, &rows[i], rows[i].fallback);
}

static void every_setting_is_read_from_a_file(void **state)
{
    struct fixture *f = *state;
    char text[256];

    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *quote = rows[i].kind == KIND_TEXT ? "\"" : "";

        snprintf(text, sizeof(text), "return { %s = { %s = %s%s%s } }",
                 rows[i].section, rows[i].key, quote, other_value(&rows[i]),
                 quote);
        if (!load_text(f, text))
            fail_msg("%s: %s", text, f->faults.ptr);
        assert_value(f, &rows[i], other_value(&rows[i]));
        assert_string_equal(f->config.file, "a.lua");
    }
}

static void every_setting_is_read_from_the_environment(void **state)
{
    struct fixture *f = *state;
    char variable[96];

    for (size_t i = 0; i < COUNT(rows); i++) {
        variable_of(&rows[i], variable, sizeof(variable));
        setenv(variable, other_value(&rows[i]), 1);
        if (!load(f, NULL))
            fail_msg("%s: %s", variable, f->faults.ptr);
        assert_value(f, &rows[i], other_value(&rows[i]));
        unsetenv(variable);
    }
}

static void what_somebody_gave_is_known(void **state)
{
    struct fixture *f = *state;

    assert_true(load(f, NULL));
    assert_false(f->config.is_given.database_pool_size);
    assert_false(f->config.is_given.database_instance_count);
    /* Also when it says what the default says. */
    assert_true(load_text(f, "return { database = { pool_size = 10 } }"));
    assert_true(f->config.is_given.database_pool_size);
    assert_false(f->config.is_given.database_max_overflow);
    setenv("INSTANCE_COUNT", "1", 1);
    setenv("PERIGEE_DATABASE_MAX_OVERFLOW", "20", 1);
    assert_true(load(f, NULL));
    assert_true(f->config.is_given.database_instance_count);
    assert_true(f->config.is_given.database_max_overflow);
    assert_false(f->config.is_given.database_pool_size);
    unsetenv("INSTANCE_COUNT");
    unsetenv("PERIGEE_DATABASE_MAX_OVERFLOW");
}

static void c_db_02_no_instances_are_refused(void **state)
{
    struct fixture *f = *state;

    setenv("INSTANCE_COUNT", "0", 1);
    assert_false(load(f, NULL));
    assert_fault(f, "database.instance_count = \"0\" (INSTANCE_COUNT): must "
                    "be a whole number from 1 to");
    unsetenv("INSTANCE_COUNT");
}

static void conventional_variables_are_read_and_win(void **state)
{
    struct fixture *f = *state;
    char variable[96];
    size_t seen = 0;

    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].variable == NULL)
            continue;
        seen++;
        variable_of(&rows[i], variable, sizeof(variable));
        setenv(variable, rows[i].fallback, 1);
        setenv(rows[i].variable, other_value(&rows[i]), 1);
        assert_true(load(f, NULL));
        assert_value(f, &rows[i], other_value(&rows[i]));
        forget_environment();
    }
    assert_true(seen >= 4);
}

static void assert_refused(struct fixture *f, const struct row *row,
                           double number)
{
    char variable[96], name[96], text[32];

    variable_of(row, variable, sizeof(variable));
    snprintf(name, sizeof(name), "%s.%s", row->section, row->key);
    snprintf(text, sizeof(text), "%.15g", number);
    setenv(variable, text, 1);
    assert_false(load(f, NULL));
    assert_int_equal(f->err.code, ERR_CONFIG);
    assert_fault(f, name);
    assert_fault(f, text);
    assert_fault(f, variable);
    unsetenv(variable);
}

static void every_number_out_of_range_is_refused(void **state)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        double step = rows[i].kind == KIND_SECONDS ? 0.0005 : 1;

        if (rows[i].kind == KIND_TEXT || rows[i].kind == KIND_FLAG)
            continue;
        assert_refused(*state, &rows[i], rows[i].min - step);
        assert_refused(*state, &rows[i], rows[i].max + step);
        if (rows[i].min > 0)
            assert_refused(*state, &rows[i], 0);
    }
}

static void live_streams_must_leave_threads_for_all_else(void **state)
{
    struct fixture *f = *state;

    assert_false(load_text(f, "return { http = { threads = 51 } }"));
    assert_fault(f, "http.max_live = 32: each live stream keeps one of "
                    "http.threads = 51, and 20 more are needed for all else");
    assert_true(load_text(f, "return { http = { threads = 52 } }"));
    assert_true(
        load_text(f, "return { http = { threads = 20, max_live = 0 } }"));
    assert_false(
        load_text(f, "return { http = { threads = 20, max_live = 1 } }"));
}

/* ---- strictness ---- */

static void numbers_are_taken_in_plain_notation_only(void **state)
{
    static const char *const bad[] = {"",     " 5",  "5 ",  "5s",    "1e1",
                                      "0x10", "inf", "nan", "1.2.3", "--5",
                                      "-",    ".",   "5,0", "ten"};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        setenv("SHUTDOWN_TIMEOUT", bad[i], 1);
        if (load(f, NULL))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_fault(f, "seconds from 0.1 to 3600");
    }
    setenv("SHUTDOWN_TIMEOUT", "1.25", 1);
    assert_true(load(f, NULL));
    assert_int_equal(f->config.shutdown_timeout, 1250);
}

static void counts_are_whole_numbers(void **state)
{
    struct fixture *f = *state;

    assert_false(load_text(f, "return { database = { pool_size = 2.5 } }"));
    assert_fault(f, "database.pool_size = 2.5 (a.lua): must be a whole number "
                    "from 2 to 256");
}

static void wrong_types_are_refused(void **state)
{
    struct fixture *f = *state;

    assert_false(load_text(f, "return { database = { pool_size = true,"
                              " migrate = 1, url = 7 } }"));
    assert_int_equal(fault_count(f), 3);
    assert_fault(f, "database.pool_size = true (a.lua)");
    assert_fault(f, "database.migrate = 1 (a.lua): must be true or false");
    assert_fault(f, "database.url = 7 (a.lua): must be a text");
}

static void a_number_of_the_environment_in_a_file_is_a_number(void **state)
{
    struct fixture *f = *state;

    setenv("POOL", "12", 1);
    assert_true(
        load_text(f, "return { database = { pool_size = env \"POOL\" } }"));
    assert_int_equal(f->config.database_pool_size, 12);
}

static void all_mistakes_are_told_at_once(void **state)
{
    struct fixture *f = *state;

    setenv("LOG_LEVEL", "LOUD", 1);
    setenv("PERIGEE_HTTP_THREADS", "1", 1);
    setenv("PERIGEE_HTTP_BOGUS", "1", 1);
    assert_false(load_text(f, "return { database = { pool_size = 0 },"
                              " http = { listen = \"nowhere\" },"
                              " databse = { url = \"x\" } }"));
    assert_int_equal(fault_count(f), 6);
    assert_fault(f, "LOG_LEVEL");
    assert_fault(f, "PERIGEE_HTTP_THREADS");
    assert_fault(f, "PERIGEE_HTTP_BOGUS (environment): names no setting");
    assert_fault(f, "database.pool_size = 0 (a.lua)");
    assert_fault(f, "http.listen = \"nowhere\" (a.lua): must be host:port");
    assert_fault(f, "databse.url (a.lua): no such setting; did you mean "
                    "database.url?");
}

static void a_wrong_value_is_told_although_a_stronger_one_wins(void **state)
{
    struct fixture *f = *state;

    setenv("PERIGEE_DATABASE_POOL_SIZE", "5", 1);
    assert_false(load_text(f, "return { database = { pool_size = 0 } }"));
    assert_int_equal(fault_count(f), 1);
}

static void an_unknown_key_without_a_neighbour_gets_no_guess(void **state)
{
    struct fixture *f = *state;

    assert_false(load_text(f, "return { zebra = { stripes = 3 } }"));
    assert_fault(f, "zebra.stripes (a.lua): no such setting; `perigee help");
}

static void the_right_key_in_the_wrong_section_is_found(void **state)
{
    struct fixture *f = *state;

    assert_false(load_text(f, "return { store = { pool_size = 3 } }"));
    assert_fault(f, "did you mean database.pool_size?");
}

static void our_own_variables_that_are_no_settings_pass(void **state)
{
    setenv("PERIGEE_HELLO", "1", 1);
    setenv("PERIGEE_FAULT", "x:1", 1);
    assert_true(load(*state, NULL));
}

static void variables_that_kubernetes_makes_pass(void **state)
{
    struct fixture *f = *state;

    setenv("PERIGEE_HTTP_SERVICE_HOST", "10.0.0.1", 1);
    setenv("PERIGEE_HTTP_SERVICE_PORT", "80", 1);
    setenv("PERIGEE_HTTP_PORT", "tcp://10.0.0.1:80", 1);
    setenv("PERIGEE_HTTP_PORT_80_TCP_ADDR", "10.0.0.1", 1);
    assert_true(load(f, NULL));
    setenv("PERIGEE_HTTP_PORT", "9000", 1);
    assert_false(load(f, NULL));
    assert_fault(f, "PERIGEE_HTTP_PORT (environment): names no setting");
}

static void an_error_in_the_file_names_its_line(void **state)
{
    struct fixture *f = *state;

    assert_false(load_text(f, "return {\n  database = = 1\n}"));
    assert_fault(f, "a.lua:2:");
}

/* ---- which file ---- */

static void the_default_file_is_read_when_it_is_there(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkdir("config", 0700), 0);
    write_file("config/default.lua", "return { http = { threads = 66 } }");
    assert_true(load(f, NULL));
    assert_int_equal(f->config.http_threads, 66);
    assert_string_equal(f->config.file, "config/default.lua");
}

static void perigee_env_chooses_the_file(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkdir("config", 0700), 0);
    write_file("config/default.lua", "return { http = { threads = 66 } }");
    write_file("config/staging.lua", "return { http = { threads = 77 } }");
    setenv("PERIGEE_ENV", "staging", 1);
    assert_true(load(f, NULL));
    assert_int_equal(f->config.http_threads, 77);
}

static void a_file_that_was_named_must_be_there(void **state)
{
    struct fixture *f = *state;

    assert_false(load(f, "missing.lua"));
    assert_fault(f, "missing.lua");
    setenv("PERIGEE_ENV", "production", 1);
    assert_false(load(f, NULL));
    assert_fault(f, "config/production.lua");
    setenv("PERIGEE_ENV", "../secrets", 1);
    assert_false(load(f, NULL));
    assert_fault(f, "PERIGEE_ENV = \"../secrets\"");
}

static void the_command_line_wins_over_all(void **state)
{
    struct fixture *f = *state;
    struct setting_override overrides[] = {
        {"http.listen", "127.0.0.1:1"},
        {"http.threads", "x"},
    };

    setenv("PERIGEE_HTTP_LISTEN", "127.0.0.1:2", 1);
    forget(f);
    assert_true(
        config_load(&f->config, NULL, overrides, 1, &f->faults, &f->err));
    assert_string_equal(f->config.http_listen, "127.0.0.1:1");
    forget(f);
    assert_false(
        config_load(&f->config, NULL, overrides, 2, &f->faults, &f->err));
    assert_fault(f, "http.threads = \"x\" (command line)");
}

/* ---- rules ---- */

static bool listens(struct fixture *f, const char *listen, const char *auth)
{
    setenv("PERIGEE_HTTP_LISTEN", listen, 1);
    setenv("PERIGEE_HTTP_AUTH", auth, 1);
    return load(f, NULL);
}

static void beyond_loopback_only_in_words(void **state)
{
    static const char *const open[] = {"0.0.0.0:8000", "192.168.1.5:80",
                                       "[::]:8000",    "example.org:80",
                                       ":8000",        "127.example.org:80"};
    static const char *const closed[] = {"127.0.0.1:0", "127.9.9.9:1",
                                         "localhost:8000", "[::1]:8000"};

    for (size_t i = 0; i < COUNT(open); i++) {
        assert_false(listens(*state, open[i], ""));
        assert_fault(*state, "http.listen");
        assert_fault(*state, "http.auth = \"none\"");
        assert_true(listens(*state, open[i], "none"));
    }
    for (size_t i = 0; i < COUNT(closed); i++)
        assert_true(listens(*state, closed[i], ""));
}

static void addresses_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "8000",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:x",
                                      "::1:8000"};

    for (size_t i = 0; i < COUNT(bad); i++) {
        if (listens(*state, bad[i], "none"))
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

static void tls_is_refused_with_advice(void **state)
{
    struct fixture *f = *state;

    assert_false(listens(f, "127.0.0.1:8443s", ""));
    assert_fault(f, "proxy");
    forget_environment();
    assert_false(load_text(f, "return { http = { tls_cert = \"x\" } }"));
    assert_fault(f, "http.tls_cert (a.lua): TLS for HTTP is a proxy's job");
}

static void a_slow_handler_must_not_look_dead(void **state)
{
    struct fixture *f = *state;

    assert_false(load_text(f, "return { health = { stall_timeout = 30 } }"));
    assert_fault(f, "health.stall_timeout = 30: must be more than "
                    "subscriptions.processing_timeout = 30");
}

/* ---- secrets ---- */

static void assert_masked(const char *url, const char *masked)
{
    struct buf out = {0};

    config_mask_url(str_of(url), &out);
    assert_string_equal(out.len > 0 ? out.ptr : "", masked);
    buf_done(&out);
}

static void passwords_in_urls_are_masked(void **state UNUSED)
{
    assert_masked("postgresql://ada:secret@db:5432/log",
                  "postgresql://ada:***@db:5432/log");
    assert_masked("postgresql://ada:se:cr@et@db/log",
                  "postgresql://ada:***@db/log");
    assert_masked("postgresql://db/log?password=secret&sslmode=require",
                  "postgresql://db/log?password=***&sslmode=require");
    assert_masked("postgresql://db/log?password=se@cret",
                  "postgresql://db/log?password=***");
    assert_masked("postgresql://ada:pw@db/log?password=se@cret&x=1",
                  "postgresql://ada:***@db/log?password=***&x=1");
    assert_masked("postgresql://ada@db/log", "postgresql://ada@db/log");
    assert_masked("host=db password=secret user=ada",
                  "host=db password=*** user=ada");
    assert_masked("sqlite:data/perigee.db", "sqlite:data/perigee.db");
    assert_masked("", "");
}

static void a_fault_shows_no_password(void **state)
{
    struct fixture *f = *state;

    setenv("DATABASE_URL", "mysql://ada:secret@db/log", 1);
    assert_false(load(f, NULL));
    assert_fault(f, "database.url = \"mysql://ada:***@db/log\" (DATABASE_URL)");
    assert_null(strstr(f->faults.ptr, "secret"));
    assert_null(strstr(f->err.text, "secret"));
}

static void what_is_printed_is_what_holds_without_secrets(void **state)
{
    struct fixture *f = *state;
    struct buf text = {0};

    setenv("DATABASE_URL", "postgres://ada:secret@db/log", 1);
    setenv("DRAIN_TIMEOUT", "2.5", 1);
    assert_true(load(f, NULL));
    config_print(&f->config, &text);
    assert_non_null(strstr(text.ptr, "database.url = postgres://ada:***@"));
    assert_non_null(strstr(text.ptr, "shutdown.drain_timeout = 2.5\n"));
    assert_non_null(strstr(text.ptr, "database.migrate = true\n"));
    assert_null(strstr(text.ptr, "secret"));
    buf_done(&text);
}

static void the_description_has_every_setting(void **state UNUSED)
{
    struct buf text = {0};
    char variable[96];

    config_describe(&text);
    for (size_t i = 0; i < COUNT(rows); i++) {
        variable_of(&rows[i], variable, sizeof(variable));
        assert_non_null(strstr(text.ptr, variable));
    }
    buf_done(&text);
}

/* From the top of the project, where tests start. */
static void the_manual_has_the_description_word_for_word(void **state UNUSED)
{
    FILE *file = fopen("docs/configuration.md", "r");
    struct buf manual = {0};
    struct buf text = {0};
    int c;

    assert_non_null(file);
    while ((c = getc(file)) != EOF)
        buf_char(&manual, (char)c);
    fclose(file);
    config_describe(&text);
    if (strstr(manual.ptr, text.ptr) == NULL)
        fail_msg("docs/configuration.md is not what `perigee help settings` "
                 "prints");
    buf_done(&manual);
    buf_done(&text);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manual_has_the_description_word_for_word),
        WITH_FOLDER(without_anything_every_setting_has_its_default),
        WITH_FOLDER(every_setting_is_read_from_a_file),
        WITH_FOLDER(every_setting_is_read_from_the_environment),
        WITH_FOLDER(what_somebody_gave_is_known),
        WITH_FOLDER(c_db_02_no_instances_are_refused),
        WITH_FOLDER(conventional_variables_are_read_and_win),
        WITH_FOLDER(every_number_out_of_range_is_refused),
        WITH_FOLDER(live_streams_must_leave_threads_for_all_else),
        WITH_FOLDER(numbers_are_taken_in_plain_notation_only),
        WITH_FOLDER(counts_are_whole_numbers),
        WITH_FOLDER(wrong_types_are_refused),
        WITH_FOLDER(a_number_of_the_environment_in_a_file_is_a_number),
        WITH_FOLDER(all_mistakes_are_told_at_once),
        WITH_FOLDER(a_wrong_value_is_told_although_a_stronger_one_wins),
        WITH_FOLDER(an_unknown_key_without_a_neighbour_gets_no_guess),
        WITH_FOLDER(the_right_key_in_the_wrong_section_is_found),
        WITH_FOLDER(our_own_variables_that_are_no_settings_pass),
        WITH_FOLDER(variables_that_kubernetes_makes_pass),
        WITH_FOLDER(an_error_in_the_file_names_its_line),
        WITH_FOLDER(the_default_file_is_read_when_it_is_there),
        WITH_FOLDER(perigee_env_chooses_the_file),
        WITH_FOLDER(a_file_that_was_named_must_be_there),
        WITH_FOLDER(the_command_line_wins_over_all),
        WITH_FOLDER(beyond_loopback_only_in_words),
        WITH_FOLDER(addresses_that_are_none_are_refused),
        WITH_FOLDER(tls_is_refused_with_advice),
        WITH_FOLDER(a_slow_handler_must_not_look_dead),
        cmocka_unit_test(passwords_in_urls_are_masked),
        WITH_FOLDER(a_fault_shows_no_password),
        WITH_FOLDER(what_is_printed_is_what_holds_without_secrets),
        cmocka_unit_test(the_description_has_every_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
