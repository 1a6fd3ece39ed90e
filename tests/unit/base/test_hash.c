#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ABC_SHA256                                                             \
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY_SHA256                                                           \
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void sha256_of_known_texts_is_known(void **state UNUSED)
{
    char text[SHA256_TEXT_SIZE];

    hash_sha256_text(STR("abc"), text);
    assert_string_equal(text, ABC_SHA256);
    hash_sha256_text(STR_NONE, text);
    assert_string_equal(text, EMPTY_SHA256);
}

static void sha1_runs_over_both_parts(void **state UNUSED)
{
    static const uint8_t expected[20] = {
        0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e,
        0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d};
    uint8_t digest[20];

    hash_sha1(STR("a"), STR("bc"), digest);
    assert_memory_equal(digest, expected, sizeof(expected));
    hash_sha1(STR("abc"), STR_NONE, digest);
    assert_memory_equal(digest, expected, sizeof(expected));
}

static void peeking_at_a_running_sum_does_not_end_it(void **state UNUSED)
{
    struct hash_sum *sum = hash_sum_new();
    uint8_t expected[SHA256_SIZE];
    uint8_t digest[SHA256_SIZE];

    hash_sum_peek(sum, digest);
    hash_sha256(STR(""), expected);
    assert_memory_equal(digest, expected, SHA256_SIZE);
    hash_sum_add(sum, STR("line 1\n"));
    hash_sum_peek(sum, digest);
    hash_sha256(STR("line 1\n"), expected);
    assert_memory_equal(digest, expected, SHA256_SIZE);
    hash_sum_add(sum, STR("line 2\n"));
    hash_sum_peek(sum, digest);
    hash_sum_peek(sum, digest);
    hash_sha256(STR("line 1\nline 2\n"), expected);
    assert_memory_equal(digest, expected, SHA256_SIZE);
    hash_sum_free(sum);
    hash_sum_free(NULL);
}

static void digests_are_the_same_in_every_byte_or_not(void **state UNUSED)
{
    uint8_t a[SHA256_SIZE], b[SHA256_SIZE];

    hash_sha256(STR("abc"), a);
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        memcpy(b, a, sizeof(b));
        assert_true(hash_is_same(a, b));
        b[i] ^= 1;
        assert_false(hash_is_same(a, b));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_of_known_texts_is_known),
        cmocka_unit_test(sha1_runs_over_both_parts),
        cmocka_unit_test(peeking_at_a_running_sum_does_not_end_it),
        cmocka_unit_test(digests_are_the_same_in_every_byte_or_not),
    };

    return cmocka_run_group_tests_name("base/hash", tests, NULL, NULL);
}
