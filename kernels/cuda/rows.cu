// Rows picked by a list, and rows added to those of a list.
#include "kernels/cuda/vector.cuh"

namespace
{

template <class T, bool wide, bool add>
__global__ void __launch_bounds__(AXL_THREADS) rows(axl_rows_args a, axl_row_split split)
{
    constexpr int W = axl_width<T>;

    axl_over_rows(split, a.n_rows, [&](int64_t i, int item) {
        const int64_t row = a.rows != nullptr ? a.rows[i] : i, c = (int64_t)item * W;
        const T *from = (const T *)a.src + (add ? i : row) * a.ld_src + c;
        T *to = (T *)a.dst + (add ? row : i) * a.ld_dst + c;
        if constexpr (add) {
            float sum[W], v[W];
            axl_load<wide>(to, a.cols - c, sum);
            axl_load<wide>(from, a.cols - c, v);
#pragma unroll
            for (int e = 0; e < W; e++)
                sum[e] += v[e];
            axl_store<wide>(to, a.cols - c, sum);
        } else {
            axl_put<wide>(to, a.cols - c, axl_fetch<wide, W>(from, a.cols - c));
        }
    });
}

template <class T, bool add> axl_status run(axl_stream *s, const axl_rows_args *a)
{
    constexpr int W = axl_width<T>;
    const axl_row_split split = axl_split_rows(a->n_rows, (a->cols + W - 1) / W);
    const bool wide = a->cols % W == 0 && a->ld_src % W == 0 && a->ld_dst % W == 0 &&
                      axl_is_aligned(a->src) && axl_is_aligned(a->dst);

    return axl_cuda_launch(s, add ? "rows_add" : "rows_gather",
                           wide ? rows<T, true, add> : rows<T, false, add>, dim3(split.blocks),
                           dim3(AXL_THREADS), 0, *a, split);
}

} // namespace

extern "C" axl_status axl_cuda_rows_gather(axl_stream *s, const axl_rows_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16, false>(s, a)
           : a->dtype == AXL_F32 ? run<float, false>(s, a)
                                 : axl_cuda_no_dtype("rows_gather", a->dtype);
}

extern "C" axl_status axl_cuda_rows_add(axl_stream *s, const axl_rows_args *a)
{
    return a->dtype == AXL_BF16  ? run<bf16, true>(s, a)
           : a->dtype == AXL_F32 ? run<float, true>(s, a)
                                 : axl_cuda_no_dtype("rows_add", a->dtype);
}
