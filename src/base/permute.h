// A random permutation of 0 .. n-1 that is computed, not stored: position i is asked for alone, in any order, on
// any rank, in constant memory.
//
// The numbers of b bits, 2^b >= n, are permuted by a Feistel network whose round keys come from Philox; a result
// that is not below n is put in again until it is ("cycle walking"), which keeps it a permutation.
// Black & Rogaway 2002, "Ciphers with arbitrary finite domains".
#ifndef AXL_BASE_PERMUTE_H
#define AXL_BASE_PERMUTE_H

#include "src/base/philox.h"

#define AXL_PERMUTE_ROUNDS 8

typedef struct axl_permuter {
    int64_t n;
    int low_bits, high_bits;          // the two parts of a number
    uint64_t key[AXL_PERMUTE_ROUNDS]; // of each round
} axl_permuter;

// The permutation is fixed by (seed, use, stream, n). stream < 2^56; n >= 1.
axl_permuter axl_permuter_make(uint64_t seed, axl_random_use use, uint64_t stream, int64_t n);

// What stands at position i of [0, n).
int64_t axl_permute(const axl_permuter *p, int64_t i);

#endif
