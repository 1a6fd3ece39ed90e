#include "base/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

#define THREADS 4
#define EACH    20000

static struct uuid uuid_of(const char *text)
{
    struct uuid id;

    assert_true(uuid_parse(str_of(text), &id));
    return id;
}

static int64_t milliseconds_of(struct uuid id)
{
    int64_t ms = 0;

    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id.bytes[i];
    return ms;
}

static void new_ones_are_version_7_of_this_moment(void **state UNUSED)
{
    int64_t before_ms = clock_wall_us() / 1000;
    struct uuid id = uuid_new();
    int64_t after_ms = clock_wall_us() / 1000;

    assert_int_equal(id.bytes[6] >> 4, 7);
    assert_int_equal(id.bytes[8] >> 6, 2);
    /* One tick of slack: a burst is counted on beyond the clock. */
    assert_in_range(milliseconds_of(id), before_ms, after_ms + 1);
}

static void *make_many(void *ids)
{
    for (size_t i = 0; i < EACH; i++)
        ((struct uuid *)ids)[i] = uuid_new();
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

static void they_increase_and_threads_never_share_one(void **state UNUSED)
{
    struct uuid *ids = NEW_ARRAY(struct uuid, (size_t)THREADS * EACH);
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, make_many, ids + i * EACH), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 1; i < (size_t)THREADS * EACH; i++)
        assert_true(i % EACH == 0 || compare(&ids[i - 1], &ids[i]) < 0);
    /* The first eight bytes alone, version included, are never the same. */
    qsort(ids, (size_t)THREADS * EACH, sizeof(*ids), compare);
    for (size_t i = 1; i < (size_t)THREADS * EACH; i++)
        assert_true(memcmp(&ids[i - 1], &ids[i], 8) < 0);
    mem_free(ids);
}

/* RFC 9562, appendix A.4, and a second one made elsewhere. */
static void derived_ones_are_version_5(void **state UNUSED)
{
    struct uuid dns = uuid_of("6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    char text[UUID_TEXT_SIZE];

    uuid_format(uuid_derive(dns, STR("www.example.com")), text);
    assert_string_equal(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    uuid_format(uuid_derive(dns, STR("python.org")), text);
    assert_string_equal(text, "886313e1-3b8a-5372-9b90-0c9aee199e5d");
}

static void text_comes_back_in_lower_case(void **state UNUSED)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(uuid_of("01234567-89AB-CDEF-0123-456789abcdeF"), text);
    assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
}

static void any_other_text_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "0123456789abcdef0123456789abcdef",
        "01234567-89ab-cdef-0123-456789abcde",
        "01234567-89ab-cdef-0123-456789abcdef0",
        "{1234567-89ab-cdef-0123-456789abcde}",
        "g1234567-89ab-cdef-0123-456789abcdef",
        "G1234567-89ab-cdef-0123-456789abcdef",
        "01234567-89ab-cdef-0123-456789abcde ",
        "012345678-9ab-cdef-0123-456789abcdef",
        "01234567-89ab-cdef-01234-56789abcdef",
        "01234567_89ab_cdef_0123_456789abcdef",
    };
    struct uuid id = {{42}};

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(uuid_parse(str_of(bad[i]), &id));
    assert_false(uuid_parse(STR_NONE, &id));
    assert_true(uuid_eq(id, (struct uuid){{42}}));
}

static void only_zeros_are_nil(void **state UNUSED)
{
    assert_true(uuid_is_nil(uuid_of("00000000-0000-0000-0000-000000000000")));
    assert_false(uuid_is_nil(uuid_of("00000000-0000-0000-0000-000000000001")));
    assert_false(uuid_is_nil(uuid_new()));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_ones_are_version_7_of_this_moment),
        cmocka_unit_test(they_increase_and_threads_never_share_one),
        cmocka_unit_test(derived_ones_are_version_5),
        cmocka_unit_test(text_comes_back_in_lower_case),
        cmocka_unit_test(any_other_text_is_refused),
        cmocka_unit_test(only_zeros_are_nil),
    };

    return cmocka_run_group_tests_name("base/uuid", tests, NULL, NULL);
}
