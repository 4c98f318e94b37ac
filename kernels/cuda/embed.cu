// Rows of a table by id, and their gradient.
//
// The gradient adds the rows of equal ids in the order of the tokens: tokens are sorted by id, and a warp adds up the
// run of one id for a tile of columns. The sum of a row does not depend on chance, and nothing is quadratic.
#include "kernels/cuda/sort.cuh"
#include "kernels/cuda/vector.cuh"

namespace
{

template <class T, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) embed_fwd(axl_embed_args a, axl_row_split split)
{
    constexpr int W = axl_width<T>;

    axl_over_rows(split, a.n_tokens, [&](int64_t t, int item) {
        const int64_t row = (int64_t)a.ids[t] - a.row0, c = (int64_t)item * W;
        float v[W] = {};
        if (row >= 0 && row < a.n_rows)
            axl_load<wide>((const T *)a.table + row * a.cols + c, a.cols - c, v);
#pragma unroll
        for (int e = 0; e < W; e++)
            v[e] *= a.scale;
        axl_store<wide>((T *)a.out + t * a.cols + c, a.cols - c, v);
    });
}

template <class T> axl_status run_fwd(axl_stream *s, const axl_embed_args *a)
{
    constexpr int W = axl_width<T>;
    const axl_row_split split = axl_split_rows(a->n_tokens, (a->cols + W - 1) / W);
    const bool wide = a->cols % W == 0 && axl_is_aligned(a->table) && axl_is_aligned(a->out);

    return axl_cuda_launch(s, "embed_fwd", wide ? embed_fwd<T, true> : embed_fwd<T, false>,
                           dim3(split.blocks), dim3(AXL_THREADS), 0, *a, split);
}

// The row of each token; n_rows for one that is not here.
__global__ void __launch_bounds__(AXL_THREADS)
    embed_keys(const int32_t *ids, int64_t n, int64_t row0, int64_t n_rows, int32_t *key)
{
    const int64_t t = (int64_t)blockIdx.x * AXL_THREADS + threadIdx.x;

    if (t < n) {
        const int64_t row = (int64_t)ids[t] - row0;
        key[t] = (int32_t)(row >= 0 && row < n_rows ? row : n_rows);
    }
}

constexpr int AT_ONCE = 8; // rows under way

struct embed_run {
    const int32_t *keys, *order; // sorted
    int tiles;                   // of 32 vectors, of a row
};

// A warp that stands at the first token of a row adds up its tile of columns; the others have nothing to do.
template <class T, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) embed_bwd(axl_embed_bwd_args a, embed_run run)
{
    constexpr int W = axl_width<T>;
    const int64_t warp = ((int64_t)blockIdx.x * AXL_THREADS + threadIdx.x) / 32;
    const int64_t first = warp / run.tiles;
    const int64_t c = (warp % run.tiles * 32 + threadIdx.x % 32) * W;
    float sum[W];

    if (first >= a.n_tokens || c >= a.cols)
        return;
    const int32_t row = run.keys[first];
    if (row >= a.n_rows || (first > 0 && run.keys[first - 1] == row))
        return;
    float *to = (float *)a.dtable + row * a.cols + c;
    axl_load<wide>(to, a.cols - c, sum);
    for (int64_t i = first; i < a.n_tokens && run.keys[i] == row; i += AT_ONCE) {
        axl_raw<T, W> v[AT_ONCE];
        int n = 0; // of this row
#pragma unroll
        for (int u = 0; u < AT_ONCE; u++) {
            if (n == u && i + u < a.n_tokens && run.keys[i + u] == row) {
                v[u] = axl_fetch<wide, W>((const T *)a.dout + run.order[i + u] * a.cols + c,
                                          a.cols - c);
                n++;
            }
        }
#pragma unroll
        for (int u = 0; u < AT_ONCE; u++)
#pragma unroll
            for (int e = 0; e < W; e++)
                if (u < n)
                    sum[e] += a.scale * axl_to_float(v[u].v[e]);
    }
    axl_store<wide>(to, a.cols - c, sum);
}

template <class T> axl_status run_bwd(axl_stream *s, const axl_embed_bwd_args *a)
{
    constexpr int W = axl_width<T>;
    axl_status status = AXL_OK;
    char *work = (char *)s->device->workspace;
    int32_t *key = (int32_t *)work;
    const size_t key_bytes = ((size_t)a->n_tokens * 4 + 15) / 16 * 16;
    const bool wide = a->cols % W == 0 && axl_is_aligned(a->dout) && axl_is_aligned(a->dtable);
    embed_run run = {nullptr, nullptr, (int)((a->cols + 32 * W - 1) / (32 * W))};

    if (a->n_tokens == 0 || a->cols == 0)
        return AXL_OK;
    if (key_bytes + axl_sort_bytes(a->n_tokens) > s->device->workspace_bytes)
        return axl_cuda_too_many("embed_bwd", a->n_tokens, "tokens");
    status =
        axl_cuda_launch(s, "embed_bwd", embed_keys, dim3(axl_cuda_blocks(a->n_tokens, AXL_THREADS)),
                        dim3(AXL_THREADS), 0, a->ids, a->n_tokens, a->row0, a->n_rows, key);
    if (status == AXL_OK)
        status = axl_sort_by_key(s, key, a->n_tokens, a->n_rows + 1, work + key_bytes, &run.keys,
                                 &run.order);
    if (status == AXL_OK)
        status = axl_cuda_launch(s, "embed_bwd", wide ? embed_bwd<T, true> : embed_bwd<T, false>,
                                 dim3(axl_cuda_blocks(a->n_tokens * run.tiles, AXL_THREADS / 32)),
                                 dim3(AXL_THREADS), 0, *a, run);
    return status;
}

} // namespace

extern "C" axl_status axl_cuda_embed_fwd(axl_stream *s, const axl_embed_args *a)
{
    return a->dtype == AXL_BF16  ? run_fwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_fwd<float>(s, a)
                                 : axl_cuda_no_dtype("embed_fwd", a->dtype);
}

extern "C" axl_status axl_cuda_embed_bwd(axl_stream *s, const axl_embed_bwd_args *a)
{
    return a->dtype == AXL_BF16  ? run_bwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_bwd<float>(s, a)
                                 : axl_cuda_no_dtype("embed_bwd", a->dtype);
}
