// Products of 8-bit floats with scales.
//
// A number x is held as an e4m3 q (4 bits of exponent, 3 of mantissa, largest 448, no infinity) that stands for
// q * scale. A scale is a power of two, the least for which the largest |x| it serves is at most 448 * scale: so
// scaling is exact, and another scale changes only numbers below 2^-14 of the largest, which e4m3 holds with fewer
// bits. Where an infinity or a NaN was, the scale is NaN, and with it every result.
#ifndef AXL_KERNELS_FP8_H
#define AXL_KERNELS_FP8_H

#include "kernels/device.h"

// The largest |x| joins *out: *out = max(*out, |x|). A NaN counts as the largest of all.
typedef struct axl_amax_args {
    const void *x; // [n] dtype
    int64_t n;
    axl_dtype dtype; // F32, BF16, F64
    float *out;      // [1]
} axl_amax_args;

// dst = e4m3(src / scale), to the nearest, ties to even; what is beyond 448 becomes 448. The scale is that of each row, or one for all of them: that of
// a tensor which the rows may be a part of.
typedef struct axl_cast_fp8_args {
    const void *src; // [rows, cols] dtype
    int64_t rows, cols;
    axl_dtype dtype;   // F32, BF16, F64
    const float *amax; // [1] the largest |x| of the tensor; NULL: each row by itself
    uint8_t *dst;      // [rows, cols] e4m3
    float *scale;      // [rows], or with amax [1]
} axl_cast_fp8_args;

// C = A op(B), scaled (+ C) (+ bias); all rows dense. op(B) is [k, n]. Sums are f32, a bf16 C is rounded once.
// A linear layer: forward X W^T (trans_b), input gradient dY W.
typedef struct axl_gemm_fp8_args {
    int64_t m, n, k;
    const uint8_t *a;     // [m, k] e4m3
    const uint8_t *b;     // trans_b ? [n, k] : [k, n] e4m3
    const float *scale_a; // [m]
    const float *scale_b; // [1]
    bool trans_b;
    bool accumulate;  // C is added to
    axl_dtype dtype;  // of C and bias: F32, BF16, F64
    void *c;          // [m, n]
    const void *bias; // [n], or NULL
} axl_gemm_fp8_args;

#endif
