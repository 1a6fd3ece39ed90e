#include "base/uuid.h"

#include "base/clock.h"
#include "base/hash.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>

#define VERSION_TIME  0x70
#define VERSION_NAMED 0x50

static void stamp(struct uuid *id, uint8_t version)
{
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0F) | version);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3F) | 0x80);
}

/* Interrupted only before the kernel's pool is seeded, early after boot. */
static void fill_random(void *bytes, size_t size)
{
    ssize_t got;

    do
        got = getrandom(bytes, size, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == (ssize_t)size);
}

/* 48 bits of milliseconds and 12 of their fraction, always more than the call
 * before gave, whichever thread made it: a clock that stands still or steps
 * back is counted on by one. */
static uint64_t next_tick(void)
{
    static _Atomic uint64_t last;
    uint64_t us = (uint64_t)clock_wall_us();
    uint64_t now = us / 1000 << 12 | us % 1000 * 4096 / 1000;
    uint64_t seen = atomic_load(&last);
    uint64_t tick;

    do
        tick = MAX(now, seen + 1);
    while (!atomic_compare_exchange_weak(&last, &seen, tick));
    return tick;
}

struct uuid uuid_new(void)
{
    uint64_t tick = next_tick();
    struct uuid id;

    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(tick >> (52 - 8 * i));
    id.bytes[6] = (uint8_t)(tick >> 8 & 0x0F);
    id.bytes[7] = (uint8_t)tick;
    fill_random(id.bytes + 8, 8);
    stamp(&id, VERSION_TIME);
    return id;
}

struct uuid uuid_derive(struct uuid space, struct str name)
{
    uint8_t digest[20];
    struct uuid id;

    hash_sha1(str_n((const char *)space.bytes, sizeof(space.bytes)), name,
              digest);
    memcpy(id.bytes, digest, sizeof(id.bytes));
    stamp(&id, VERSION_NAMED);
    return id;
}

/* Whether a dash stands before the byte with this number. */
static bool dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

bool uuid_parse(struct str text, struct uuid *out)
{
    const char *at = text.ptr;
    struct uuid id;

    if (text.len != UUID_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        int high;
        int low;

        if (dash_before(i) && *at++ != '-')
            return false;
        high = str_hex_digit(at[0]);
        low = str_hex_digit(at[1]);
        if (high < 0 || low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *out = id;
    return true;
}

void uuid_format(struct uuid id, char text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        if (dash_before(i))
            *text++ = '-';
        *text++ = digits[id.bytes[i] >> 4];
        *text++ = digits[id.bytes[i] & 0x0F];
    }
    *text = '\0';
}

bool uuid_is_nil(struct uuid id)
{
    return uuid_eq(id, (struct uuid){{0}});
}
