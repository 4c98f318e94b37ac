// Cross entropy over a vocabulary: one pass over a row for its log-sum-exp, one elementwise pass for the gradient.
//
// The hard part is a vocabulary of 256 thousand: each thread keeps the maximum and the sum of its own columns, so a row
// is read once, and its sum is one of short sums.
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int CE_THREADS = 512, W4 = axl_width<float>, CE_UNROLL = 4;

struct log_sum { // exp(top) * sum
    float top, sum;
};

// top is always finite where sum is above 0, or +infinity.
__device__ __forceinline__ log_sum join(log_sum a, log_sum b)
{
    const float top = fmaxf(a.top, b.top);

    if (top == -INFINITY)
        return {top, a.sum + b.sum}; // 0, or NaN
    return {top, a.sum * __expf(a.top - top) + b.sum * __expf(b.top - top)};
}

template <bool wide> __device__ __forceinline__ log_sum sum_row(const float *z, int vocab)
{
    log_sum all = {-INFINITY, 0.0f};

    for (int c0 = 0; c0 < vocab; c0 += CE_THREADS * W4 * CE_UNROLL) {
        float x[CE_UNROLL][W4];
        float top = all.top;
#pragma unroll
        for (int u = 0; u < CE_UNROLL; u++) {
            const int c = c0 + (u * CE_THREADS + (int)threadIdx.x) * W4;
#pragma unroll
            for (int e = 0; e < W4; e++)
                x[u][e] = -INFINITY;
            if (c < vocab)
                axl_load<wide>(z + c, vocab - c, x[u]);
#pragma unroll
            for (int e = 0; e < W4; e++) {
                if (!wide && c + e >= vocab)
                    x[u][e] = -INFINITY;
                top = fmaxf(top, x[u][e]);
            }
        }
        float sum = 0.0f;
        const float base = top == -INFINITY ? 0.0f : top; // columns may all be -infinity so far
#pragma unroll
        for (int u = 0; u < CE_UNROLL; u++)
#pragma unroll
            for (int e = 0; e < W4; e++)
                sum += __expf(x[u][e] - base);
        all = {top, all.sum * __expf(all.top - base) + sum};
    }
    return all;
}

template <bool wide> __global__ void __launch_bounds__(CE_THREADS) ce_fwd(axl_ce_args a)
{
    AXL_SHARED_ARRAY(log_sum, parts, CE_THREADS / 32);
    const int64_t r = blockIdx.x;
    const float *z = (const float *)a.logits + r * a.ld;
    log_sum all = sum_row<wide>(z, (int)a.vocab);

    for (int bits = 16; bits > 0; bits /= 2)
        all = join(all, {__shfl_xor_sync(0xffffffffu, all.top, bits),
                         __shfl_xor_sync(0xffffffffu, all.sum, bits)});
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = all;
    __syncthreads();
    if (threadIdx.x > 0)
        return;
    for (int w = 1; w < CE_THREADS / 32; w++)
        all = join(all, parts[w]);
    const float lse = all.top + logf(all.sum);
    const int64_t label = a.labels[r] - a.label0;
    const bool here = a.labels[r] >= 0 && label >= 0 && label < a.vocab;
    ((float *)a.lse)[r] = lse;
    ((float *)a.logp)[r] = here ? z[label] - lse : 0.0f;
    if (a.target != nullptr)
        ((float *)a.target)[r] = here ? z[label] : 0.0f;
}

__global__ void __launch_bounds__(AXL_THREADS) ce_merge(axl_ce_merge_args a)
{
    const int64_t r = (int64_t)blockIdx.x * AXL_THREADS + threadIdx.x;

    if (r >= a.rows)
        return;
    const float top = ((const float *)a.top)[r];
    float *lse = (float *)a.lse + r, *sum = (float *)a.sum + r;
    if (a.finish) {
        *lse = top + logf(*sum);
        ((float *)a.logp)[r] = ((const float *)a.target)[r] - *lse;
    } else {
        *sum = expf(*lse - top);
    }
}

constexpr int BWD_VECTORS = 4; // of a thread

// A block takes AXL_THREADS * BWD_VECTORS vectors of one row.
template <class T, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) ce_bwd(axl_ce_bwd_args a, unsigned blocks_of_row)
{
    constexpr int W = axl_width<T>;
    const int64_t r = blockIdx.x / blocks_of_row;
    const int vocab = (int)a.vocab;
    const int c0 = (int)(blockIdx.x % blocks_of_row) * (AXL_THREADS * BWD_VECTORS * W);
    const float *z = (const float *)a.logits + r * a.ld;
    T *out = (T *)a.dlogits + r * a.ld_out;
    const int64_t n_labels = a.n_labels > 0 ? a.n_labels : a.vocab, label = a.labels[r] - a.label0;
    const float grad = ((const float *)a.grad)[r], lse = ((const float *)a.lse)[r];
    const bool live = a.labels[r] >= 0 && a.labels[r] < n_labels && grad != 0.0f;
    float x[BWD_VECTORS][W];

#pragma unroll
    for (int u = 0; u < BWD_VECTORS; u++) {
        const int c = c0 + (u * AXL_THREADS + (int)threadIdx.x) * W;
        if (live && c < vocab)
            axl_load<wide>(z + c, vocab - c, x[u]);
    }
#pragma unroll
    for (int u = 0; u < BWD_VECTORS; u++) {
        const int c = c0 + (u * AXL_THREADS + (int)threadIdx.x) * W;
        if (c >= vocab)
            continue;
#pragma unroll
        for (int e = 0; e < W; e++)
            x[u][e] = live ? grad * ((c + e == label ? 1.0f : 0.0f) - __expf(x[u][e] - lse)) : 0.0f;
        axl_store<wide>(out + c, vocab - c, x[u]);
    }
}

template <class T> axl_status run_bwd(axl_stream *s, const axl_ce_bwd_args *a)
{
    constexpr int W = axl_width<T>;
    const unsigned per_row = axl_cuda_blocks(a->vocab, AXL_THREADS * BWD_VECTORS * W);
    const bool wide = a->vocab % W == 0 && a->ld % W4 == 0 && a->ld_out % W == 0 &&
                      axl_is_aligned(a->logits) && axl_is_aligned(a->dlogits);

    return axl_cuda_launch(s, "ce_bwd", wide ? ce_bwd<T, true> : ce_bwd<T, false>,
                           dim3(axl_cuda_grid(a->rows * per_row)), dim3(AXL_THREADS), 0, *a,
                           per_row);
}

} // namespace

extern "C" axl_status axl_cuda_ce_fwd(axl_stream *s, const axl_ce_args *a)
{
    const bool wide = a->vocab % W4 == 0 && a->ld % W4 == 0 && axl_is_aligned(a->logits);

    if (a->dtype != AXL_F32)
        return axl_cuda_no_dtype("ce_fwd", a->dtype);
    return axl_cuda_launch(s, "ce_fwd", wide ? ce_fwd<true> : ce_fwd<false>,
                           dim3(axl_cuda_grid(a->rows)), dim3(CE_THREADS), 0, *a);
}

extern "C" axl_status axl_cuda_ce_merge(axl_stream *s, const axl_ce_merge_args *a)
{
    if (a->dtype != AXL_F32)
        return axl_cuda_no_dtype("ce_merge", a->dtype);
    return axl_cuda_launch(s, "ce_merge", ce_merge, dim3(axl_cuda_blocks(a->rows, AXL_THREADS)),
                           dim3(AXL_THREADS), 0, *a);
}

extern "C" axl_status axl_cuda_ce_bwd(axl_stream *s, const axl_ce_bwd_args *a)
{
    if (a->dtype != AXL_F32)
        return axl_cuda_no_dtype("ce_bwd", a->dtype);
    return a->dtype_out == AXL_BF16  ? run_bwd<bf16>(s, a)
           : a->dtype_out == AXL_F32 ? run_bwd<float>(s, a)
                                     : axl_cuda_no_dtype("ce_bwd", a->dtype_out);
}
