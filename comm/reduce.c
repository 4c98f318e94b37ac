// Sums, maxima and minima of arrays from several ranks. The hard part is only that the order of the
// summands is fixed and that the result may overwrite one of them, so work goes block by block
// through a small buffer that stays in the first-level cache.
#include "comm/transport.h"

#include <string.h>

enum { BLOCK = 512 }; // elements

static void add_block(float *acc, const void *src, axl_dtype dtype, int64_t at, int64_t n)
{
    if (dtype == AXL_F32) {
        const float *x = (const float *)src + at;
        for (int64_t i = 0; i < n; i++)
            acc[i] += x[i];
    } else {
        const axl_bf16 *x = (const axl_bf16 *)src + at;
        for (int64_t i = 0; i < n; i++)
            acc[i] += axl_bf16_to_f32(x[i]);
    }
}

static void load_block(float *acc, const void *src, axl_dtype dtype, int64_t at, int64_t n)
{
    if (dtype == AXL_F32) {
        memcpy(acc, (const float *)src + at, (size_t)n * sizeof *acc);
    } else {
        const axl_bf16 *x = (const axl_bf16 *)src + at;
        for (int64_t i = 0; i < n; i++)
            acc[i] = axl_bf16_to_f32(x[i]);
    }
}

void axl_reduce_sum(const void *const *src, int n_src, axl_dtype dtype, int64_t n, float *dst,
                    bool accumulate)
{
    float acc[BLOCK];

    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t m = n - at < BLOCK ? n - at : BLOCK;
        load_block(acc, src[0], dtype, at, m);
        for (int k = 1; k < n_src; k++)
            add_block(acc, src[k], dtype, at, m);
        if (accumulate)
            add_block(acc, dst, AXL_F32, at, m);
        memcpy(dst + at, acc, (size_t)m * sizeof *acc);
    }
}

// One combine function per element type in which the computation is done.
#define COMBINE(name, type)                                                                        \
    /* NOLINTNEXTLINE(bugprone-macro-parentheses): a type stands bare */                           \
    static void name(type *acc, const type *x, int64_t n, axl_reduce_op op)                        \
    {                                                                                              \
        if (op == AXL_REDUCE_SUM) {                                                                \
            for (int64_t i = 0; i < n; i++)                                                        \
                acc[i] += x[i];                                                                    \
        } else if (op == AXL_REDUCE_MAX) {                                                         \
            for (int64_t i = 0; i < n; i++)                                                        \
                acc[i] = x[i] > acc[i] || x[i] != x[i] ? x[i] : acc[i];                            \
        } else {                                                                                   \
            for (int64_t i = 0; i < n; i++)                                                        \
                acc[i] = x[i] < acc[i] || x[i] != x[i] ? x[i] : acc[i];                            \
        }                                                                                          \
    }

COMBINE(combine_f32, float)
COMBINE(combine_f64, double)

static void combine_i64(int64_t *acc, const int64_t *x, int64_t n, axl_reduce_op op)
{
    for (int64_t i = 0; i < n; i++) {
        if (op == AXL_REDUCE_SUM)
            acc[i] = (int64_t)((uint64_t)acc[i] + (uint64_t)x[i]);
        else if ((op == AXL_REDUCE_MAX) == (x[i] > acc[i]))
            acc[i] = x[i];
    }
}

static void reduce_bf16(const void *const *src, int n_src, axl_reduce_op op, int64_t n,
                        axl_bf16 *dst)
{
    float acc[BLOCK], x[BLOCK];

    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t m = n - at < BLOCK ? n - at : BLOCK;
        load_block(acc, src[0], AXL_BF16, at, m);
        for (int k = 1; k < n_src; k++) {
            load_block(x, src[k], AXL_BF16, at, m);
            combine_f32(acc, x, m, op);
        }
        for (int64_t i = 0; i < m; i++)
            dst[at + i] = axl_f32_to_bf16(acc[i]);
    }
}

void axl_reduce_any(const void *const *src, int n_src, axl_dtype dtype, axl_reduce_op op, int64_t n,
                    void *dst)
{
    union {
        float f32[BLOCK];
        double f64[BLOCK];
        int64_t i64[BLOCK];
    } acc;
    const size_t elem = axl_dtype_size(dtype);

    if (dtype == AXL_BF16) {
        reduce_bf16(src, n_src, op, n, dst);
        return;
    }
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t m = n - at < BLOCK ? n - at : BLOCK;
        const size_t from = (size_t)at * elem;
        memcpy(&acc, (const char *)src[0] + from, (size_t)m * elem);
        for (int k = 1; k < n_src; k++) {
            const void *x = (const char *)src[k] + from;
            if (dtype == AXL_F32)
                combine_f32(acc.f32, x, m, op);
            else if (dtype == AXL_F64)
                combine_f64(acc.f64, x, m, op);
            else
                combine_i64(acc.i64, x, m, op);
        }
        memcpy((char *)dst + from, &acc, (size_t)m * elem);
    }
}
