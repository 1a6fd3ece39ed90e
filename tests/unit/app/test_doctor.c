#include "cli/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What facts mean that no test can make of a real database. */

#define GIBI (UINT64_C(1) << 30)

static const struct store_look good = {
    .kind = STORE_POSTGRES,
    .is_reached = true,
    .version = "15.20",
    .encoding = "UTF8",
    .schema = LOOK_CURRENT,
    .schema_version = 3,
    .schema_known = 3,
    .log_id = {{1}},
};

/* The level of what is said about the topic; what is said last, when several
 * things are. */
static enum finding_level level_of(const struct store_look *look,
                                   const char *topic)
{
    struct config config = {.database_url = "postgresql://host/db",
                            .database_migrate = true};
    struct findings findings = {0};
    int level = -1;

    doctor_judge_store(&config, look, NULL, &findings);
    for (size_t i = 0; i < findings.count; i++) {
        if (strcmp(findings.items[i].topic, topic) == 0)
            level = (int)findings.items[i].level;
    }
    findings_done(&findings);
    assert_int_not_equal(level, -1);
    return (enum finding_level)level;
}

static void a_clock_may_differ_by_a_second(void **state UNUSED)
{
    struct store_look look = good;

    look.ahead_us = 1000000;
    assert_int_equal(level_of(&look, "clock"), FINDING_OK);
    look.ahead_us = 1000001;
    assert_int_equal(level_of(&look, "clock"), FINDING_WARNING);
    look.ahead_us = -1000000;
    assert_int_equal(level_of(&look, "clock"), FINDING_OK);
    look.ahead_us = -1000001;
    assert_int_equal(level_of(&look, "clock"), FINDING_WARNING);
}

static void another_host_is_reached_encrypted(void **state UNUSED)
{
    struct store_look look = good;

    assert_int_equal(level_of(&look, "tls"), FINDING_WARNING);
    memcpy(look.tls, "TLSv1.3", sizeof("TLSv1.3"));
    assert_int_equal(level_of(&look, "tls"), FINDING_OK);
    look.tls[0] = '\0';
    look.is_local = true;
    assert_int_equal(level_of(&look, "tls"), FINDING_OK);
}

/* The last word on a pool of 10 + 20. */
static struct finding pool_of(uint32_t instances, struct server_limits limits,
                              struct findings *findings)
{
    struct pool_plan plan = {
        .size = 10, .overflow = 20, .instances = instances};

    findings_done(findings);
    doctor_judge_pool(&plan, &limits, findings);
    return findings->items[findings->count - 1];
}

static void all_engines_together_fit_the_server(void **state UNUSED)
{
    struct server_limits limits = {.max_connections = 100, .reserved = 3};
    struct findings findings = {0};

    assert_int_equal(pool_of(3, limits, &findings).level, FINDING_OK);
    limits.reserved = 10;
    assert_int_equal(pool_of(3, limits, &findings).level, FINDING_OK);
    limits.reserved = 11;
    assert_int_equal(pool_of(3, limits, &findings).level, FINDING_WARNING);
    assert_string_equal(pool_of(3, limits, &findings).change,
                        "let database.pool_size and max_overflow be 29 "
                        "together, or the server's max_connections 101");
    assert_non_null(
        strstr(pool_of(60, limits, &findings).change, "run fewer engines"));
    limits.pooled = true;
    assert_int_equal(pool_of(60, limits, &findings).level, FINDING_OK);
    findings_done(&findings);
}

static void a_disk_is_low_below_a_tenth_or_a_gibibyte(void **state UNUSED)
{
    assert_false(doctor_disk_is_low(10 * GIBI, 100 * GIBI));
    assert_true(doctor_disk_is_low(10 * GIBI - 1, 100 * GIBI));
    assert_false(doctor_disk_is_low(GIBI, 5 * GIBI));
    assert_true(doctor_disk_is_low(GIBI - 1, 5 * GIBI));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_may_differ_by_a_second),
        cmocka_unit_test(another_host_is_reached_encrypted),
        cmocka_unit_test(all_engines_together_fit_the_server),
        cmocka_unit_test(a_disk_is_low_below_a_tenth_or_a_gibibyte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
