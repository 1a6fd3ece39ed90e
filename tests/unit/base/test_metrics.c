#include "base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

/* Metrics have one table for the whole process, so each test counts on a
 * metric, or a label, that no other test moves. */

static void assert_shown(const char *expected)
{
    struct buf text = {0};

    metrics_write(&text);
    if (strstr(text.ptr, expected) == NULL)
        fail_msg("not found:\n%s\nin:\n%s", expected, text.ptr);
    buf_done(&text);
}

static void assert_not_shown(const char *unexpected)
{
    struct buf text = {0};

    metrics_write(&text);
    assert_null(strstr(text.ptr, unexpected));
    buf_done(&text);
}

static void a_counter_family_is_named_without_its_suffix(void **state UNUSED)
{
    metric_add(metric(METRIC_EVENTS_APPENDED), 3);
    metric_add(metric(METRIC_EVENTS_APPENDED), 4);
    assert_shown("# TYPE perigee_events_appended counter\n"
                 "# HELP perigee_events_appended Events committed to the log\n"
                 "perigee_events_appended_total 7\n");
}

static void a_gauge_shows_its_last_value(void **state UNUSED)
{
    struct metric_series *series =
        metric_labelled(METRIC_POOL_CONNECTIONS, "idle");

    metric_set(series, 9);
    metric_set(series, -2);
    assert_shown("# TYPE perigee_pool_connections gauge\n");
    assert_shown("\nperigee_pool_connections{state=\"idle\"} -2\n");
}

static void seconds_fall_into_buckets_that_add_up(void **state UNUSED)
{
    struct metric_series *series = metric(METRIC_HTTP_DURATION);

    metric_observe(series, 0.0);
    metric_observe(series, 0.0005);
    metric_observe(series, 0.00051);
    metric_observe(series, 1.0);
    metric_observe(series, 31.5);
#define BUCKET(le)                                                             \
    "perigee_http_request_duration_seconds_bucket{le=\"" le "\"} "
    assert_shown("# TYPE perigee_http_request_duration_seconds histogram\n"
                 "# UNIT perigee_http_request_duration_seconds seconds\n"
                 "# HELP perigee_http_request_duration_seconds HTTP requests, "
                 "from header to answer\n" BUCKET("0.0005") "2\n" BUCKET(
                     "0.001") "3\n" BUCKET("0.0025") "3\n");
    assert_shown(BUCKET("0.5") "3\n" BUCKET("1.0") "4\n");
    assert_shown(BUCKET("30.0") "4\n" BUCKET(
        "+Inf") "5\n"
                "perigee_http_request_duration_seconds_count 5\n"
                "perigee_http_request_duration_seconds_sum 32.501010\n");
#undef BUCKET
}

static void sizes_fall_into_powers_of_two(void **state UNUSED)
{
    struct metric_series *series = metric(METRIC_APPEND_BATCH);

    metric_observe(series, 1);
    metric_observe(series, 3);
    metric_observe(series, 5000);
#define BUCKET(le) "perigee_append_batch_size_bucket{le=\"" le "\"} "
    assert_shown(BUCKET("1.0") "1\n" BUCKET("2.0") "1\n" BUCKET(
        "4.0") "2\n" BUCKET("8.0") "2\n");
    assert_shown(BUCKET("4096.0") "2\n" BUCKET(
        "+Inf") "3\n"
                "perigee_append_batch_size_count 3\n"
                "perigee_append_batch_size_sum 5004.000000\n");
#undef BUCKET
}

static void each_label_has_one_series_in_order_of_arrival(void **state UNUSED)
{
    struct metric_series *orders =
        metric_labelled(METRIC_SUB_PROCESSED, "orders");
    struct metric_series *countries =
        metric_labelled(METRIC_SUB_PROCESSED, "countries");

    assert_ptr_not_equal(orders, countries);
    assert_ptr_equal(metric_labelled(METRIC_SUB_PROCESSED, "orders"), orders);
    metric_add(orders, 5);
    assert_shown(
        "perigee_subscription_events_processed_total{subscription=\"orders\"} "
        "5\n"
        "perigee_subscription_events_processed_total{subscription="
        "\"countries\"} 0\n");
}

static void a_labelled_histogram_carries_both_labels(void **state UNUSED)
{
    metric_observe(metric_labelled(METRIC_SUB_BATCH, "orders"), 0.02);
    assert_shown("_batch_duration_seconds_bucket{subscription=\"orders\","
                 "le=\"0.025\"} 1\n");
    assert_shown("_batch_duration_seconds_count{subscription=\"orders\"} 1\n");
}

static void label_values_are_escaped(void **state UNUSED)
{
    metric_set(metric_labelled(METRIC_SUB_LAG, "a\"b\\c\nd"), 1);
    assert_shown("{subscription=\"a\\\"b\\\\c\\nd\"} 1\n");
}

static void
a_labelled_metric_without_series_is_only_described(void **state UNUSED)
{
    assert_shown("# TYPE perigee_subscription_state gauge\n");
    assert_not_shown("\nperigee_subscription_state");
}

static void the_text_ends_where_it_says(void **state UNUSED)
{
    struct buf text = {0};
    struct str whole;

    metrics_write(&text);
    whole = buf_as_str(&text);
    assert_true(str_ends(whole, STR("\n# EOF\n")));
    assert_ptr_equal(strstr(text.ptr, "# EOF"), whole.ptr + whole.len - 6);
    buf_done(&text);
}

#define THREADS 4
#define EACH    20000

static void *count_many(void *unused UNUSED)
{
    struct metric_series *kills = metric(METRIC_SANDBOX_KILLS);
    struct metric_series *commands = metric(METRIC_COMMAND_DURATION);

    for (int i = 0; i < EACH; i++) {
        metric_add(kills, 1);
        metric_observe(commands, 0.25);
        metric_labelled(METRIC_SUB_FAILED, i % 2 == 0 ? "even" : "odd");
    }
    return NULL;
}

static void threads_lose_no_count(void **state UNUSED)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, NULL),
                         0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_shown("perigee_sandbox_kills_total 80000\n");
    assert_shown("perigee_command_duration_seconds_count 80000\n"
                 "perigee_command_duration_seconds_sum 20000.000000\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counter_family_is_named_without_its_suffix),
        cmocka_unit_test(a_gauge_shows_its_last_value),
        cmocka_unit_test(seconds_fall_into_buckets_that_add_up),
        cmocka_unit_test(sizes_fall_into_powers_of_two),
        cmocka_unit_test(each_label_has_one_series_in_order_of_arrival),
        cmocka_unit_test(a_labelled_histogram_carries_both_labels),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(a_labelled_metric_without_series_is_only_described),
        cmocka_unit_test(the_text_ends_where_it_says),
        cmocka_unit_test(threads_lose_no_count),
    };

    return cmocka_run_group_tests_name("base/metrics", tests, NULL, NULL);
}
