#include "http/listen.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void an_address_is_a_host_and_a_port(void **state)
{
    struct listen_place place;
    struct err err;

    (void)state;
    assert_true(listen_parse("127.0.0.1:8000", &place, &err));
    assert_string_equal(place.host, "127.0.0.1");
    assert_int_equal(place.port, 8000);
    assert_true(listen_parse("0.0.0.0:0", &place, &err));
    assert_int_equal(place.port, 0);
    assert_true(listen_parse("localhost:65535", &place, &err));
    assert_string_equal(place.host, "127.0.0.1");
}

static void what_is_none_is_told_in_one_line(void **state)
{
    static const char *const bad[] = {
        "",           "8000",        ":8000",         "127.0.0.1",
        "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1",  "127.0.0.1:65536",
        "1.2.3.4:1:", "[::1:80",     "[nonsense]:80", "127.0.0.1:80 ",
    };
    struct listen_place place;
    struct err err;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (listen_parse(bad[i], &place, &err))
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(err.code, ERR_CONFIG);
        assert_true(strlen(err.text) > 10);
    }
}

static void tls_ports_are_refused_with_advice(void **state)
{
    struct listen_place place;
    struct err err;

    (void)state;
    assert_false(listen_parse("127.0.0.1:8443s", &place, &err));
    assert_non_null(strstr(err.text, "proxy"));
}

static void ipv6_works_or_says_why_not(void **state)
{
    struct listen_place place;
    struct err err;

    (void)state;
    if (listen_parse("[::1]:8000", &place, &err))
        assert_string_equal(place.host, "[::1]");
    else
        assert_non_null(strstr(err.text, "IPv6"));
}

static void a_port_in_use_is_named(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct listen_place place = {.host = "127.0.0.1"};
    struct err err;

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    place.port = ntohs(address.sin_port);
    assert_false(listen_check(&place, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.text, "in use"));
    close(fd);
    assert_true(listen_check(&place, &err));
}

static void an_address_of_another_machine_is_told(void **state)
{
    struct listen_place place = {.host = "192.0.2.1", .port = 0};
    struct err err;

    (void)state;
    assert_false(listen_check(&place, &err));
    assert_non_null(strstr(err.text, "no address"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_a_host_and_a_port),
        cmocka_unit_test(what_is_none_is_told_in_one_line),
        cmocka_unit_test(tls_ports_are_refused_with_advice),
        cmocka_unit_test(ipv6_works_or_says_why_not),
        cmocka_unit_test(a_port_in_use_is_named),
        cmocka_unit_test(an_address_of_another_machine_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
