#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/pg_fault.h"
#include "store/pg_target.h"

#include <stdlib.h>

/* No server is needed: how URLs and the server's errors are read. */

static const char *value_of(const struct pg_target *target, const char *keyword)
{
    for (size_t i = 0; i < target->count; i++)
        if (strcmp(target->keywords[i], keyword) == 0)
            return target->values[i];
    return "";
}

static struct pg_target *target_of(const char *url, struct err *err)
{
    struct store_options options = {.url = url, .statement_timeout_ms = 1000};

    return pg_target_new(&options, PG_WAY_USUAL, err);
}

static void assert_ssl(const char *url, const char *expected)
{
    struct err err;
    struct pg_target *target = target_of(url, &err);

    assert_non_null(target);
    assert_string_equal(value_of(target, "sslmode"), expected);
    pg_target_free(target);
}

static void remote_hosts_are_asked_for_tls(void **state)
{
    (void)state;
    assert_ssl("postgresql://joe@db.example.com/shop", "require");
    assert_ssl("postgresql://joe@localhost,db.example.com/shop", "require");
    assert_ssl("postgres://joe@10.0.0.7:6432/shop", "require");
    assert_ssl("postgresql://joe@db.example.com/shop?sslmode=verify-full",
               "verify-full");
    assert_ssl("postgresql://joe@db.example.com/shop?sslmode=disable",
               "disable");
}

/* The settings stand between the URL and the rules. */
static void settings_say_how_where_the_url_does_not(void **state)
{
    struct store_options options = {
        .url = "postgresql://joe@db.example.com/shop?sslcert=/url/cert.pem",
        .statement_timeout_ms = 1000,
        .tls = {.sslmode = "verify-full",
                .sslrootcert = "/ours/ca.pem",
                .sslcert = "/ours/cert.pem",
                .sslkey = "/ours/key.pem"},
    };
    struct err err;
    struct pg_target *target = pg_target_new(&options, PG_WAY_USUAL, &err);

    (void)state;
    assert_string_equal(value_of(target, "sslmode"), "verify-full");
    assert_string_equal(value_of(target, "sslrootcert"), "/ours/ca.pem");
    assert_string_equal(value_of(target, "sslcert"), "/url/cert.pem");
    assert_string_equal(value_of(target, "sslkey"), "/ours/key.pem");
    pg_target_free(target);

    options.url = "postgresql://joe@localhost/shop?sslmode=disable";
    target = pg_target_new(&options, PG_WAY_USUAL, &err);
    assert_string_equal(value_of(target, "sslmode"), "disable");
    pg_target_free(target);

    options.url = "postgresql://joe@db.example.com/shop";
    options.tls = (struct store_tls){.sslmode = "", .sslkey = ""};
    target = pg_target_new(&options, PG_WAY_USUAL, &err);
    assert_string_equal(value_of(target, "sslmode"), "require");
    assert_string_equal(value_of(target, "sslkey"), "");
    pg_target_free(target);
}

static void this_machine_is_not(void **state)
{
    (void)state;
    assert_ssl("postgresql://joe@localhost/shop", "");
    assert_ssl("postgresql://joe@127.0.0.1:6432/shop", "");
    assert_ssl("postgresql://joe@[::1]/shop", "");
    assert_ssl("postgresql://%2Frun%2Fpostgresql/shop", "");
    assert_ssl("postgresql:///shop", "");
}

static void every_wait_is_given_an_end(void **state)
{
    struct err err;
    struct pg_target *target =
        target_of("postgresql://a,b/shop?connect_timeout=9", &err);

    (void)state;
    assert_string_equal(value_of(target, "connect_timeout"), "9");
    assert_string_equal(value_of(target, "tcp_user_timeout"), "25000");
    assert_string_equal(value_of(target, "keepalives_idle"), "10");
    assert_string_equal(value_of(target, "client_encoding"), "UTF8");
    assert_string_equal(value_of(target, "target_session_attrs"), "read-write");
    pg_target_free(target);
}

static void a_bad_url_is_refused_without_its_password(void **state)
{
    struct err err;

    (void)state;
    assert_null(target_of("postgresql://joe:secr%zt@db/shop", &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_null(strstr(err.text, "secr"));
    assert_null(strstr(err.text, "zt@"));
    assert_null(target_of("postgresql://db/shop?no_such=1", &err));
}

static void sqlstates_say_what_to_do(void **state)
{
    const struct {
        const char *sqlstate;
        enum pg_fault fault;
        enum err_code code;
    } cases[] = {
        {"23505", PG_FAULT_UNIQUE, ERR_DATA},
        {"23502", PG_FAULT_DATA, ERR_DATA},
        {"22P02", PG_FAULT_DATA, ERR_DATA},
        {"P0001", PG_FAULT_DATA, ERR_DATA},
        {"PGF01", PG_FAULT_FENCED, ERR_CONFLICT},
        {"40001", PG_FAULT_STORE, ERR_STORE},
        {"40P01", PG_FAULT_STORE, ERR_STORE},
        {"57P01", PG_FAULT_STORE, ERR_STORE},
        {"53300", PG_FAULT_STORE, ERR_STORE},
        {"08006", PG_FAULT_STORE, ERR_STORE},
        {"55P03", PG_FAULT_LOCKED, ERR_STORE},
        {"25006", PG_FAULT_STALE, ERR_STORE},
        {"26000", PG_FAULT_STALE, ERR_STORE},
        {"42P05", PG_FAULT_STALE, ERR_STORE},
        {"42P07", PG_FAULT_EXISTS, ERR_CONFLICT},
        {"42P01", PG_FAULT_SETUP, ERR_CONFIG},
        {"42501", PG_FAULT_SETUP, ERR_CONFIG},
        {"", PG_FAULT_STORE, ERR_STORE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum pg_fault fault = pg_fault_of(cases[i].sqlstate);
        struct err err;

        assert_int_equal(fault, cases[i].fault);
        assert_false(pg_fault_set(&err, fault, "text", cases[i].sqlstate));
        assert_int_equal(err.code, cases[i].code);
    }
}

static void messages_become_one_line(void **state)
{
    char line[64];

    (void)state;
    pg_one_line("connection refused\n\tIs it running?\nfor the other\n", line,
                sizeof(line));
    assert_string_equal(line, "connection refused; for the other");
    pg_one_line("much too long", line, 8);
    assert_string_equal(line, "much to");
    pg_one_line("a\nb", line, 2);
    assert_string_equal(line, "a");
    pg_one_line("", line, sizeof(line));
    assert_string_equal(line, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remote_hosts_are_asked_for_tls),
        cmocka_unit_test(settings_say_how_where_the_url_does_not),
        cmocka_unit_test(this_machine_is_not),
        cmocka_unit_test(every_wait_is_given_an_end),
        cmocka_unit_test(a_bad_url_is_refused_without_its_password),
        cmocka_unit_test(sqlstates_say_what_to_do),
        cmocka_unit_test(messages_become_one_line),
    };

    unsetenv("PGSSLMODE");
    unsetenv("PGHOST");
    unsetenv("PGCONNECT_TIMEOUT");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
