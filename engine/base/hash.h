#pragma once
/*
 * Digests (OpenSSL's libcrypto): SHA-256 names script contents and cuts
 * partitions, SHA-1 serves UUID version 5 and nothing else.
 */
#include "base/str.h"

#define SHA256_SIZE      32
#define SHA256_TEXT_SIZE 65 /* with the NUL */

/* The digest of `bytes`. */
void hash_sha256(struct str bytes, uint8_t digest[SHA256_SIZE]);
/* The same in lower-case hexadecimal. */
void hash_sha256_text(struct str bytes, char text[SHA256_TEXT_SIZE]);
/* Whether two digests are the same, in a time that does not tell where they
 * differ. */
bool hash_is_same(const uint8_t a[SHA256_SIZE],
                  const uint8_t b[SHA256_SIZE]) MUST_USE;
/* Of `a` and `b`, one behind the other. */
void hash_sha1(struct str a, struct str b, uint8_t digest[20]);

/* A running SHA-256, for inputs that do not fit in memory. */
struct hash_sum;
/* An empty sum; hash_sum_free takes it back, and NULL too. */
struct hash_sum *hash_sum_new(void);
/* Adds bytes to the end of what was summed. */
void hash_sum_add(struct hash_sum *sum, struct str bytes);
/* The digest of all that was added so far; the sum goes on. */
void hash_sum_peek(const struct hash_sum *sum, uint8_t digest[SHA256_SIZE]);
void hash_sum_free(struct hash_sum *sum);
