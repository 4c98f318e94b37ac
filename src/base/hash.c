// XXH64 as a stream: whole 32-byte stripes go through four lanes, the rest waits in tail.
#include "src/base/hash.h"

#include <string.h>

#define P1 0x9E3779B185EBCA87ull
#define P2 0xC2B2AE3D27D4EB4Full
#define P3 0x165667B19E3779F9ull
#define P4 0x85EBCA77C2B2AE63ull
#define P5 0x27D4EB2F165667C5ull

static uint64_t rotl(uint64_t x, int n)
{
    return (x << n) | (x >> (64 - n));
}

static uint64_t read64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static uint64_t mix(uint64_t lane, uint64_t word)
{
    return rotl(lane + word * P2, 31) * P1;
}

static void stripe(axl_hash *h, const uint8_t *p)
{
    for (int i = 0; i < 4; i++)
        h->lane[i] = mix(h->lane[i], read64(p + 8 * i));
}

void axl_hash_init(axl_hash *h, uint64_t seed)
{
    *h = (axl_hash){.seed = seed, .lane = {seed + P1 + P2, seed + P2, seed, seed - P1}};
}

void axl_hash_update(axl_hash *h, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    if (n == 0)
        return;
    h->total += n;
    if (h->n_tail > 0) {
        size_t take = sizeof h->tail - h->n_tail;
        take = take < n ? take : n;
        memcpy(h->tail + h->n_tail, p, take);
        h->n_tail += take;
        p += take;
        n -= take;
        if (h->n_tail < sizeof h->tail)
            return;
        stripe(h, h->tail);
        h->n_tail = 0;
    }
    for (; n >= sizeof h->tail; p += sizeof h->tail, n -= sizeof h->tail)
        stripe(h, p);
    memcpy(h->tail, p, n);
    h->n_tail = n;
}

uint64_t axl_hash_value(const axl_hash *h)
{
    const uint8_t *p = h->tail;
    size_t n = h->n_tail;
    uint64_t x = h->seed + P5;

    if (h->total >= 32) {
        x = rotl(h->lane[0], 1) + rotl(h->lane[1], 7) + rotl(h->lane[2], 12) + rotl(h->lane[3], 18);
        for (int i = 0; i < 4; i++)
            x = (x ^ mix(0, h->lane[i])) * P1 + P4;
    }
    x += h->total;
    for (; n >= 8; p += 8, n -= 8)
        x = rotl(x ^ mix(0, read64(p)), 27) * P1 + P4;
    if (n >= 4) {
        uint32_t word;
        memcpy(&word, p, sizeof word);
        x = rotl(x ^ (word * P1), 23) * P2 + P3;
        p += 4;
        n -= 4;
    }
    for (; n > 0; p++, n--)
        x = rotl(x ^ (*p * P5), 11) * P1;
    x = (x ^ (x >> 33)) * P2;
    x = (x ^ (x >> 29)) * P3;
    return x ^ (x >> 32);
}

uint64_t axl_hash64(const void *bytes, size_t n, uint64_t seed)
{
    axl_hash h;

    axl_hash_init(&h, seed);
    axl_hash_update(&h, bytes, n);
    return axl_hash_value(&h);
}
