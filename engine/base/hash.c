#include "base/hash.h"

#include "base/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

void hash_sha256(struct str bytes, uint8_t digest[SHA256_SIZE])
{
    CHECK(EVP_Digest(bytes.ptr, bytes.len, digest, NULL, EVP_sha256(), NULL));
}

void hash_sha256_text(struct str bytes, char text[SHA256_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_SIZE];

    hash_sha256(bytes, digest);
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        *text++ = digits[digest[i] >> 4];
        *text++ = digits[digest[i] & 0x0F];
    }
    *text = '\0';
}

bool hash_is_same(const uint8_t a[SHA256_SIZE], const uint8_t b[SHA256_SIZE])
{
    return CRYPTO_memcmp(a, b, SHA256_SIZE) == 0;
}

void hash_sha1(struct str a, struct str b, uint8_t digest[20])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    CHECK(context != NULL);
    CHECK(EVP_DigestInit_ex(context, EVP_sha1(), NULL));
    CHECK(EVP_DigestUpdate(context, a.ptr, a.len));
    CHECK(EVP_DigestUpdate(context, b.ptr, b.len));
    CHECK(EVP_DigestFinal_ex(context, digest, NULL));
    EVP_MD_CTX_free(context);
}

struct hash_sum {
    EVP_MD_CTX *context;
};

struct hash_sum *hash_sum_new(void)
{
    struct hash_sum *sum = NEW(struct hash_sum);

    sum->context = EVP_MD_CTX_new();
    CHECK(sum->context != NULL);
    CHECK(EVP_DigestInit_ex(sum->context, EVP_sha256(), NULL));
    return sum;
}

void hash_sum_add(struct hash_sum *sum, struct str bytes)
{
    CHECK(EVP_DigestUpdate(sum->context, bytes.ptr, bytes.len));
}

/* Finishing a digest ends it, so a copy is finished. */
void hash_sum_peek(const struct hash_sum *sum, uint8_t digest[SHA256_SIZE])
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();

    CHECK(copy != NULL);
    CHECK(EVP_MD_CTX_copy_ex(copy, sum->context));
    CHECK(EVP_DigestFinal_ex(copy, digest, NULL));
    EVP_MD_CTX_free(copy);
}

void hash_sum_free(struct hash_sum *sum)
{
    if (sum == NULL)
        return;
    EVP_MD_CTX_free(sum->context);
    mem_free(sum);
}
