// Philox4x32-10 and what is drawn from it.
#include "src/base/philox.h"

#include <math.h>

void axl_philox(uint64_t seed, uint64_t counter_lo, uint64_t counter_hi, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)seed;
    uint32_t k1 = (uint32_t)(seed >> 32);
    uint32_t c[4] = {(uint32_t)counter_lo, (uint32_t)(counter_lo >> 32), (uint32_t)counter_hi,
                     (uint32_t)(counter_hi >> 32)};

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
        uint32_t next2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)p1;
        c[3] = (uint32_t)p0;
        c[0] = next0;
        c[2] = next2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

double axl_random_uniform(uint64_t seed, axl_random_use use, uint64_t index)
{
    uint32_t w[4];

    axl_philox(seed, index / 2, (uint64_t)use << 56, w);
    const uint32_t *pair = w + 2 * (index % 2);
    uint64_t bits = ((uint64_t)pair[0] << 32 | pair[1]) >> 11;
    return (double)bits * 0x1p-53;
}

double axl_random_normal(uint64_t seed, axl_random_use use, uint64_t index)
{
    double u = axl_random_uniform(seed, use, 2 * index);
    double v = axl_random_uniform(seed, use, 2 * index + 1);

    return sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586 * v);
}

void axl_random_permutation(uint64_t seed, axl_random_use use, uint64_t stream, int64_t *order,
                            int64_t n)
{
    uint32_t w[4];

    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        axl_philox(seed, (uint64_t)i, (uint64_t)use << 56 | (stream & 0xffffffffffffffull), w);
        // 64 bits over at most 2^40 choices: the bias is below 2^-24 and the draw needs no loop
        int64_t j = (int64_t)(((uint64_t)w[0] << 32 | w[1]) % (uint64_t)(i + 1));
        int64_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}
