// Counter-based random numbers: the same (seed, counter) gives the same bits on any rank, at any
// time, so recomputation needs no saved state.
// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox4x32-10).
#ifndef AXL_BASE_PHILOX_H
#define AXL_BASE_PHILOX_H

#include <stdint.h>

// What a stream of numbers is for; the high word of the counter.
typedef enum axl_random_use {
    AXL_RANDOM_SHUFFLE = 1,
    AXL_RANDOM_INIT,
    AXL_RANDOM_DROPOUT,
    AXL_RANDOM_SAMPLE,
    AXL_RANDOM_TEST
} axl_random_use;

// Four independent 32-bit words for one counter.
void axl_philox(uint64_t seed, uint64_t counter_lo, uint64_t counter_hi, uint32_t out[4]);

// A number of [0, 1) with 53 bits: word pair (index mod 2) of counter (index / 2, use).
double axl_random_uniform(uint64_t seed, axl_random_use use, uint64_t index);

// A standard normal by Box-Muller from the same counter.
double axl_random_normal(uint64_t seed, axl_random_use use, uint64_t index);

// Fills order[0 .. n) with a permutation of 0 .. n-1 fixed by (seed, use, stream) (Fisher-Yates).
void axl_random_permutation(uint64_t seed, axl_random_use use, uint64_t stream, int64_t *order,
                            int64_t n);

#endif
