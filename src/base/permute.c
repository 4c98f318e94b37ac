// The two parts of a number may differ by one bit; each round changes one by a hash of the other, so a round can
// be undone whatever the hash is, and that alone makes it a permutation. The parts keep their places: odd rounds
// change the low part, even rounds the high one.
#include "src/base/permute.h"

#include "src/base/status.h"

// Small domains have few permutations within reach of a few rounds; walking down from 64 numbers mixes more.
#define LEAST_BITS 6

axl_permuter axl_permuter_make(uint64_t seed, axl_random_use use, uint64_t stream, int64_t n)
{
    axl_permuter p = {.n = n};
    int bits = LEAST_BITS;

    AXL_ASSERT(n >= 1 && n <= INT64_MAX / 4);
    while ((int64_t)1 << bits < n)
        bits++;
    p.low_bits = bits / 2;
    p.high_bits = bits - p.low_bits;
    for (int r = 0; r < AXL_PERMUTE_ROUNDS; r++) {
        uint32_t w[4];
        // the shuffles of axl_random_permutation count up from 1; these counters are out of their reach
        axl_philox(seed, ~(uint64_t)r, (uint64_t)use << 56 | (stream & 0xffffffffffffffull), w);
        p.key[r] = (uint64_t)w[0] << 32 | w[1];
    }
    return p;
}

// Every bit of x reaches the low 32 bits of the result, which is more than a part has.
static uint64_t mix(uint64_t x)
{
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 32;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x >> 32;
}

int64_t axl_permute(const axl_permuter *p, int64_t i)
{
    const uint64_t low_mask = ((uint64_t)1 << p->low_bits) - 1;
    const uint64_t high_mask = ((uint64_t)1 << p->high_bits) - 1;
    uint64_t x = (uint64_t)i;

    AXL_ASSERT(i >= 0 && i < p->n);
    do {
        uint64_t low = x & low_mask, high = x >> p->low_bits;
        for (int r = 0; r < AXL_PERMUTE_ROUNDS; r += 2) {
            high ^= mix(low + p->key[r]) & high_mask;
            low ^= mix(high + p->key[r + 1]) & low_mask;
        }
        x = high << p->low_bits | low;
    } while (x >= (uint64_t)p->n);
    return (int64_t)x;
}
