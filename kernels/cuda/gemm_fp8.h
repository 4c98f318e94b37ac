// Products of e4m3: what the library's way (gemm_lt.c) and our own (gemm_fp8.cu) share.
//
// Tensor cores, and the library before sm_100, want both factors with k lying together. A B that has n together is turned
// in the workspace, as many columns at a time as fit there: one byte read and one written for 2 m products.
#ifndef AXL_KERNELS_CUDA_GEMM_FP8_H
#define AXL_KERNELS_CUDA_GEMM_FP8_H

#include "kernels/cuda/cuda_backend.h"

// Some columns of a product, k together in both factors, rows of them at multiples of 16 bytes.
typedef struct axl_fp8_columns {
    int64_t m, n, k;
    const uint8_t *a;     // [m, k] e4m3
    const uint8_t *b;     // [n, k] e4m3
    const float *scale_a; // [m]
    const float *scale_b; // [1]
    bool accumulate;
    axl_dtype dtype; // F32, BF16
    void *c;         // [m, n], ldc apart
    int64_t ldc;
    const void *bias; // [n], or NULL
} axl_fp8_columns;

typedef axl_status (*axl_fp8_make)(axl_stream *s, const axl_fp8_columns *c);

// Whether these can make it: alignment and types; the bias of an f32 result is the plain kernel's.
bool axl_cuda_fp8_is_tensor(const axl_gemm_fp8_args *a);

// Calls make for all columns; only where the answer is true. used: bytes of the workspace that are make's own.
axl_status axl_cuda_fp8_each(axl_stream *s, const axl_gemm_fp8_args *a, size_t used,
                             axl_fp8_make make);

// Our own product, on the tensor cores.
axl_status axl_cuda_fp8_tensor(axl_stream *s, const axl_fp8_columns *c);

// to[0 .. n) = *scale
axl_status axl_cuda_fp8_repeat(axl_stream *s, const float *scale, int64_t n, float *to);

#endif
