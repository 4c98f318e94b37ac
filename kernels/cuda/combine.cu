// Sums of a token's expert outputs, and what their weights' gradients need.
#include "kernels/cuda/vector.cuh"

namespace
{

template <class T, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) combine(axl_combine_args a, axl_row_split split)
{
    constexpr int W = axl_width<T>;

    axl_over_rows(split, a.n_tokens, [&](int64_t t, int item) {
        const int64_t c = (int64_t)item * W;
        const int32_t *places = a.places + t * a.top_k;
        const float *weights = (const float *)a.weights + (a.weights != nullptr ? t * a.top_k : 0);
        T *out = (T *)a.out + t * a.cols + c;
        float sum[W] = {}, v[W];
#pragma unroll 4
        for (int j = 0; j < a.top_k; j++) {
            const float weight = a.weights != nullptr ? weights[j] : 1.0f;
            axl_load<wide>((const T *)a.rows + places[j] * a.cols + c, a.cols - c, v);
#pragma unroll
            for (int e = 0; e < W; e++)
                sum[e] += weight * v[e];
        }
        if (a.accumulate) {
            axl_load<wide>(out, a.cols - c, v);
#pragma unroll
            for (int e = 0; e < W; e++)
                sum[e] += v[e];
        }
        axl_store<wide>(out, a.cols - c, sum);
    });
}

template <class T> axl_status run(axl_stream *s, const axl_combine_args *a)
{
    constexpr int W = axl_width<T>;
    const axl_row_split split = axl_split_rows(a->n_tokens, (a->cols + W - 1) / W);
    const bool wide = a->cols % W == 0 && axl_is_aligned(a->rows) && axl_is_aligned(a->out);

    return axl_cuda_launch(s, "combine", wide ? combine<T, true> : combine<T, false>,
                           dim3(split.blocks), dim3(AXL_THREADS), 0, *a, split);
}

// P threads a row.
template <class T, int P, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) combine_bwd(axl_combine_bwd_args a)
{
    constexpr int W = axl_width<T>;
    AXL_SHARED_ARRAY(float, scratch, AXL_ROW_SCRATCH);
    const int at = (int)threadIdx.x % P, cols = (int)a.cols;
    const int64_t r = (int64_t)blockIdx.x * (AXL_THREADS / P) + (int)threadIdx.x / P;
    const bool live = r < a.n_rows; // all lanes take part in the sum
    T *h = (T *)a.h + (live ? r : 0) * cols, *dh = (T *)a.dh + (live ? r : 0) * cols;
    const float weight = live ? ((const float *)a.weights)[r] : 0.0f;
    float sum = 0.0f, none = 0.0f;

    for (int c = at * W; live && c < cols; c += P * W) {
        float x[W], y[W];
        axl_load<wide>(h + c, cols - c, x);
        axl_load<wide>(dh + c, cols - c, y);
#pragma unroll
        for (int e = 0; e < W; e++) {
            sum += x[e] * y[e]; // zeros stand beyond the row
            x[e] *= weight;
            y[e] *= weight;
        }
        axl_store<wide>(h + c, cols - c, x);
        axl_store<wide>(dh + c, cols - c, y);
    }
    axl_row_sums<P>(&sum, &none, scratch, 0);
    if (live && at == 0)
        ((float *)a.dweights)[r] = sum;
}

template <class T, int P>
axl_status launch_bwd(axl_stream *s, const axl_combine_bwd_args *a, bool wide)
{
    return axl_cuda_launch(
        s, "combine_bwd", wide ? combine_bwd<T, P, true> : combine_bwd<T, P, false>,
        dim3(axl_cuda_blocks(a->n_rows, AXL_THREADS / P)), dim3(AXL_THREADS), 0, *a);
}

template <class T> axl_status run_bwd(axl_stream *s, const axl_combine_bwd_args *a)
{
    const bool wide = a->cols % axl_width<T> == 0 && axl_is_aligned(a->h) && axl_is_aligned(a->dh);

    return a->cols <= 64 * axl_width<T> ? launch_bwd<T, 32>(s, a, wide)
                                        : launch_bwd<T, AXL_THREADS>(s, a, wide);
}

} // namespace

extern "C" axl_status axl_cuda_combine(axl_stream *s, const axl_combine_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16>(s, a)
           : a->dtype == AXL_F32 ? run<float>(s, a)
                                 : axl_cuda_no_dtype("combine", a->dtype);
}

extern "C" axl_status axl_cuda_combine_bwd(axl_stream *s, const axl_combine_bwd_args *a)
{
    return a->dtype == AXL_BF16  ? run_bwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_bwd<float>(s, a)
                                 : axl_cuda_no_dtype("combine_bwd", a->dtype);
}
