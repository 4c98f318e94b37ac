// Small matrix products of f32 tiles that lie in the caches: the inner loop of attention.
//
// C[m, n] (+)= A[m, k] B[k, n]. Rows of B and C are vectors, n a multiple of VF, so buffers are padded
// with zeros; an element of A is broadcast, so A may lie by rows or by columns. A register tile of C is
// MM_ROWS x 2 vectors: enough independent sums to hide the latency of the multiply-add.
#ifndef AXL_KERNELS_CPU_MM_H
#define AXL_KERNELS_CPU_MM_H

#include "kernels/cpu/simd.h"

#ifdef __AVX512F__
#define MM_ROWS ((int64_t)12)
#else
#define MM_ROWS ((int64_t)6)
#endif

typedef struct mm_args {
    int64_t m, n, k;
    const float *a;
    int64_t step_m, step_k; // from one element of A to the next along m and k; one of them is 1
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
    bool add; // C is added to
} mm_args;

// A by rows: step_k is 1. A by columns: step_m is 1. Two functions, so that the addresses are simple.
void AXL_CPU(mm_rows)(const mm_args *g);
void AXL_CPU(mm_columns)(const mm_args *g);

#endif
