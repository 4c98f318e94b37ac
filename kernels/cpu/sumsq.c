// Sums of squares, in f64, by blocks that are joined in order. Threads share the blocks of one row, or else deal
// out whole rows: the sums are the same.
#include "kernels/cpu/parallel.h"

// The lanes of a vector squared and added to sums in f64: in f32 a long sum would lose digits.
typedef double vd __attribute__((vector_size(VF_BYTES)));

AXL_INLINE void add_squares(vd sum[2], vf x)
{
#ifdef __AVX512F__
    vd low = (vd)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)x));
    vd high = (vd)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)x, 1));
#else
    vd low = (vd)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x));
    vd high = (vd)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1));
#endif
    sum[0] += low * low;
    sum[1] += high * high;
}

AXL_INLINE double sumsq_block(const void *x, int64_t begin, int64_t end, bool bf16)
{
    vd sum[4] = {{0}}; // two vectors at a time hide the latency of the additions
    double total = 0;
    int64_t i = begin;

    for (; i + 2 * VF <= end; i += 2 * VF) {
        add_squares(sum, vf_load(x, i, bf16));
        add_squares(sum + 2, vf_load(x, i + VF, bf16));
    }
    for (; i < end; i += VF)
        add_squares(sum, vf_load_n(x, i, end - i < VF ? end - i : VF, bf16));
    sum[0] += sum[1] + (sum[2] + sum[3]);
    for (int j = 0; j < VF / 2; j++)
        total += sum[0][j];
    return total;
}

AXL_INLINE double sumsq_of(const axl_sumsq_args *a, int64_t begin, int64_t end)
{
    return a->dtype == AXL_BF16 ? sumsq_block(a->x, begin, end, true)
                                : sumsq_block(a->x, begin, end, false);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

axl_status AXL_CPU(sumsq)(axl_stream *s, const axl_sumsq_args *a)
{
    const int64_t room = (int64_t)(AXL_WORKSPACE_BYTES / sizeof(double));
    double *partial = s->device->workspace;
    int64_t block = 16384;

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.sumsq(s, a);
    while ((a->n + block - 1) / block > room)
        block *= 2;
    const int64_t n_blocks = (a->n + block - 1) / block;
    if (a->n_rows == 1) {
        AXL_PARALLEL_FOR(s, a->n)
        for (int64_t b = 0; b < n_blocks; b++)
            partial[b] = sumsq_of(a, b * block, least((b + 1) * block, a->n));
        for (int64_t b = 0; b < n_blocks; b++)
            *a->out += partial[b];
        return AXL_OK;
    }
    AXL_PARALLEL_FOR(s, a->n_rows * a->n)
    for (int64_t r = 0; r < a->n_rows; r++)
        for (int64_t b = 0; b < n_blocks; b++)
            a->out[r] += sumsq_of(a, r * a->n + b * block, r * a->n + least((b + 1) * block, a->n));
    return AXL_OK;
}
