#include "base/event.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define assert_str(s, text) assert_true(str_eq((s), STR(text)))

static const char uuid_text[] = "0190d2c4-7d6e-7c3a-9f57-1c2d3e4f5a6b";

static struct event full_event(void)
{
    struct event event = {
        .position = 7,
        .event_type = STR("OrderCreated"),
        .event_version = 1,
        .aggregate_type = STR("Order"),
        .aggregate_id = STR("42"),
        .aggregate_version = 3,
        .data = STR("{\"total\":1.50}"),
        .metadata = STR("{}"),
        .tenant_id = STR("acme"),
        .actor_id = STR("\"joe\""),
        .correlation_id = STR("c-1"),
        .causation_id = STR(""),
        .occurred_at_us = INT64_C(1291191960000000),
        .recorded_at_us = INT64_C(1291191960000001),
    };

    assert_true(uuid_parse(str_of(uuid_text), &event.event_id));
    return event;
}

/* ---- pages ---- */

static void a_page_owns_what_is_in_it(void **state UNUSED)
{
    struct event_page *page = event_page_new();
    struct event event = full_event();
    char id[] = "cart-1";
    const struct event *kept;

    event.aggregate_id = str_of(id);
    event.tenant_id = STR_NONE;
    event_page_add(page, &event);
    id[0] = 'x';
    kept = &page->events[0];
    assert_int_equal(page->count, 1);
    assert_str(kept->aggregate_id, "cart-1");
    assert_str(kept->data, "{\"total\":1.50}");
    assert_true(str_is_none(kept->tenant_id));
    assert_false(str_is_none(kept->causation_id));
    assert_true(uuid_eq(kept->event_id, event.event_id));
    assert_int_equal(kept->position, 7);
    event_page_unref(page);
}

static void a_page_counts_what_it_holds(void **state UNUSED)
{
    struct event_page *page = event_page_new();
    struct event event = full_event();

    assert_int_equal(page->count, 0);
    assert_int_equal(page->scanned_to, 0);
    event_page_add(page, &event);
    assert_int_equal(page->bytes, 12 + 5 + 2 + 14 + 2 + 4 + 5 + 3);
    assert_int_equal(page->scanned_to, 7);
    event.position = 6; /* read backward */
    event_page_add(page, &event);
    assert_int_equal(page->scanned_to, 7);
    event_page_unref(page);
}

static void a_page_grows_and_keeps_its_order(void **state UNUSED)
{
    struct event_page *page = event_page_new();
    struct event event = full_event();

    for (uint64_t i = 1; i <= 1000; i++) {
        char id[24];

        event.position = i;
        event.aggregate_id =
            str_n(id, (size_t)snprintf(id, sizeof(id), "a-%u", (unsigned)i));
        event_page_add(page, &event);
    }
    assert_int_equal(page->count, 1000);
    for (uint64_t i = 1; i <= 1000; i++) {
        char id[24];

        snprintf(id, sizeof(id), "a-%u", (unsigned)i);
        assert_int_equal(page->events[i - 1].position, i);
        assert_true(str_eq(page->events[i - 1].aggregate_id, str_of(id)));
    }
    event_page_unref(page);
}

static void a_page_lives_until_its_last_reader(void **state UNUSED)
{
    struct event_page *page = event_page_new();
    struct event event = full_event();

    event_page_add(page, &event);
    assert_ptr_equal(event_page_ref(page), page);
    event_page_unref(page);
    assert_str(page->events[0].event_type, "OrderCreated"); /* ASan watches */
    event_page_unref(page);
    event_page_unref(NULL);
}

static void *ref_and_unref(void *page)
{
    for (int i = 0; i < 20000; i++) {
        event_page_ref(page);
        event_page_unref(page);
    }
    event_page_unref(page);
    return NULL;
}

static void threads_may_share_a_page(void **state UNUSED)
{
    struct event_page *page = event_page_new();
    pthread_t threads[4];

    for (size_t i = 0; i < COUNT(threads); i++) {
        int failed = pthread_create(&threads[i], NULL, ref_and_unref,
                                    event_page_ref(page));

        assert_int_equal(failed, 0);
    }
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(page->refs, 1);
    event_page_unref(page);
}

/* ---- JSON ---- */

static void
an_event_is_written_in_the_order_of_the_contract(void **state UNUSED)
{
    struct event event = full_event();
    struct buf text = {0};
    struct json_out out;
    struct err err;

    json_begin(&out, &text);
    event_write(&out, NULL, &event);
    assert_string_equal(
        text.ptr,
        "{\"position\":7,"
        "\"event_id\":\"0190d2c4-7d6e-7c3a-9f57-1c2d3e4f5a6b\","
        "\"event_type\":\"OrderCreated\",\"event_version\":1,"
        "\"aggregate_type\":\"Order\",\"aggregate_id\":\"42\","
        "\"aggregate_version\":3,\"data\":{\"total\":1.50},\"metadata\":{},"
        "\"tenant_id\":\"acme\",\"actor_id\":\"\\\"joe\\\"\","
        "\"correlation_id\":\"c-1\",\"causation_id\":\"\","
        "\"occurred_at\":\"2010-12-01T08:26:00.000000Z\","
        "\"recorded_at\":\"2010-12-01T08:26:00.000001Z\"}");
    assert_true(json_check(buf_as_str(&text), NULL, &err));
    buf_done(&text);
}

static void absent_fields_are_left_out(void **state UNUSED)
{
    struct event event = full_event();
    struct buf text = {0};
    struct json_out out;
    struct json written;

    event.tenant_id = event.actor_id = STR_NONE;
    event.correlation_id = event.causation_id = STR_NONE;
    json_begin(&out, &text);
    json_object(&out, NULL);
    event_write(&out, "event", &event);
    json_end(&out, '}');
    written = json_get(json_value(buf_as_str(&text)), STR("event"));
    assert_int_equal(written.kind, JSON_OBJECT);
    assert_int_equal(json_get(written, STR("tenant_id")).kind, JSON_END);
    assert_int_equal(json_get(written, STR("actor_id")).kind, JSON_END);
    assert_int_equal(json_get(written, STR("correlation_id")).kind, JSON_END);
    assert_int_equal(json_get(written, STR("causation_id")).kind, JSON_END);
    assert_int_equal(json_get(written, STR("recorded_at")).kind, JSON_STRING);
    buf_done(&text);
}

/* ---- names and ids ---- */

static void fill(char *text, size_t len)
{
    memset(text, 'a', len);
    text[len] = '\0';
}

static void names_are_a_letter_and_what_may_follow(void **state UNUSED)
{
    static const char *good[] = {"Order", "o", "order.v2", "Order_Line-3"};
    static const char *bad[] = {
        "",           "1Order",  "_x",           ".x",      "-x",
        "Order Line", "Order/1", "Ord\xc3\xa9r", "Order\n", "a:b",
    };
    char text[EVENT_ID_MAX_BYTES + 2];
    struct err err;

    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(event_check_name(str_of(good[i]), "event_type", &err));
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(event_check_name(str_of(bad[i]), "event_type", &err));
        assert_int_equal(err.code, ERR_INVALID_ID);
        assert_memory_equal(err.text, "event_type: ", 12);
    }
    fill(text, EVENT_ID_MAX_BYTES);
    assert_true(event_check_name(str_of(text), "event_type", &err));
    fill(text, EVENT_ID_MAX_BYTES + 1);
    assert_false(event_check_name(str_of(text), "event_type", &err));
    assert_false(event_check_name(STR_NONE, "event_type", &err));
    assert_false(event_check_name(STR("a\0b"), "event_type", &err));
}

static void ids_are_kept_and_uuids_made_lower_case(void **state UNUSED)
{
    static const char *rows[][2] = {
        {"42", "42"},
        {"Cart/42 of J\xc3\xbcrgen", "Cart/42 of J\xc3\xbcrgen"},
        {" ", " "},
        {"\xc2\xa0", "\xc2\xa0"},
        {"\xe2\x80\x93\xf0\x9f\x98\xb9", "\xe2\x80\x93\xf0\x9f\x98\xb9"},
        {"550E8400-E29B-41D4-A716-446655440000",
         "550e8400-e29b-41d4-a716-446655440000"},
        {"550E8400E29B41D4A716446655440000",
         "550E8400E29B41D4A716446655440000"},
    };
    char longest[EVENT_ID_MAX_BYTES + 1];
    char normal[EVENT_ID_MAX_BYTES];
    struct str out;
    struct err err;

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(event_check_id(str_of(rows[i][0]), normal, &out, &err));
        assert_true(str_eq(out, str_of(rows[i][1])));
        assert_ptr_equal(out.ptr, normal);
    }
    fill(longest, EVENT_ID_MAX_BYTES);
    assert_true(event_check_id(str_of(longest), normal, &out, &err));
    assert_true(str_eq(out, str_of(longest)));
}

static void ids_with_control_characters_are_refused(void **state UNUSED)
{
    static const char *bad[] = {
        "",          "a\n",      "\t",   "a\x7f", "\x1f",
        "a\xc2\x80", "\xc2\x9f", "\xff", "a\xc3", "\xed\xa0\x80",
    };
    char text[EVENT_ID_MAX_BYTES + 2];
    char normal[EVENT_ID_MAX_BYTES];
    struct str out = STR("untouched");
    struct err err;

    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(event_check_id(str_of(bad[i]), normal, &out, &err));
        assert_int_equal(err.code, ERR_INVALID_ID);
    }
    fill(text, EVENT_ID_MAX_BYTES + 1);
    assert_false(event_check_id(str_of(text), normal, &out, &err));
    assert_false(event_check_id(STR("a\0b"), normal, &out, &err));
    assert_false(event_check_id(STR_NONE, normal, &out, &err));
    assert_str(out, "untouched");
}

#define TRACE                                                                  \
    "\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"  \
    "01\""

static void assert_own(const char *metadata, const char *own)
{
    assert_true(str_eq(event_own_metadata(str_of(metadata)), str_of(own)));
}

static void a_trace_at_the_end_is_not_the_events_own(void **state UNUSED)
{
    assert_own("{}", "{");
    assert_own("", "");
    assert_own("{\"a\":1}", "{\"a\":1");
    assert_own("{" TRACE "}", "{");
    assert_own("{\"a\":1," TRACE "}", "{\"a\":1");
    assert_own("{" TRACE ",\"a\":1}", "{" TRACE ",\"a\":1");
    assert_own("{\"a\":{" TRACE "}}", "{\"a\":{" TRACE "}");
    assert_own("{\"traceparent\":\"x\",\"b\":\"01234567890123456789012345678901"
               "23456789012345\"}",
               "{\"traceparent\":\"x\",\"b\":\"01234567890123456789012345678901"
               "23456789012345\"");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_owns_what_is_in_it),
        cmocka_unit_test(a_page_counts_what_it_holds),
        cmocka_unit_test(a_page_grows_and_keeps_its_order),
        cmocka_unit_test(a_page_lives_until_its_last_reader),
        cmocka_unit_test(threads_may_share_a_page),
        cmocka_unit_test(an_event_is_written_in_the_order_of_the_contract),
        cmocka_unit_test(absent_fields_are_left_out),
        cmocka_unit_test(names_are_a_letter_and_what_may_follow),
        cmocka_unit_test(ids_are_kept_and_uuids_made_lower_case),
        cmocka_unit_test(ids_with_control_characters_are_refused),
        cmocka_unit_test(a_trace_at_the_end_is_not_the_events_own),
    };

    return cmocka_run_group_tests_name("base/event", tests, NULL, NULL);
}
