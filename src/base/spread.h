// The spread of many floats, exactly: their sum and the sum of their squares as integers of many digits.
//
// A float is an integer times a power of two, and so is its square: added as integers they make no rounding error.
// So the sums depend neither on the order of the numbers nor on how they are dealt over ranks, and ranks join theirs
// by adding the words one by one. Only the result, the standard deviation, is rounded.
// Exact sums of floats: Kulisch, "Computer Arithmetic and Validity", 2008.
#ifndef AXL_BASE_SPREAD_H
#define AXL_BASE_SPREAD_H

#include <stdbool.h>
#include <stdint.h>

#define AXL_SPREAD_WORDS 33

// Plain words, so that a sum over ranks (axl_comm_all_reduce_i64) joins them: the count, how many numbers are not
// finite, then digits of 32 bits of both sums, lowest first. {0}: nothing yet. Good for 2^62 numbers in all, and for
// sums over 2^20 ranks.
typedef struct axl_spread {
    int64_t words[AXL_SPREAD_WORDS];
} axl_spread;

// Adds x [n]. Local.
void axl_spread_add(axl_spread *s, const float *x, int64_t n);

// The unbiased standard deviation: sqrt(sum of (x - mean)^2 / (count - 1)). It is correct to a few units in the last
// place. 0 for equal numbers and for fewer than two; NaN when a number was not finite.
double axl_spread_std(const axl_spread *s);

static inline bool axl_spread_finite(const axl_spread *s)
{
    return s->words[1] == 0;
}

#endif
