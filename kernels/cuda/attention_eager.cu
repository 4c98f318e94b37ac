// Eager attention: its entries, and the kernels for every shape: one warp a row, in f32, rounded where ref rounds.
//
// A row of probabilities is the warp's own: each lane keeps the keys that it made, from the first pass to the last.
#include "kernels/cuda/attention_eager.cuh"
#include "kernels/cuda/attention_plain_bwd.cuh"
#include "kernels/cuda/attention_tile.cuh"

namespace
{

template <class T> __device__ __forceinline__ float rounded(float x)
{
    return axl_to_float(axl_from_float<T>(x));
}

template <class T>
__device__ __forceinline__ float eager_score(const axl_attn_args &a, const float *q, const T *k)
{
    const float s = rounded<T>(rounded<T>(dot(q, k, a.head_dim)) * a.scale);

    return a.softcap > 0.0f ? rounded<T>(a.softcap * tanhf(s / a.softcap)) : s;
}

// ---- forward

// Scores to p, and from there probabilities: 0 for the keys outside range. Gives the lse.
template <class T>
__device__ __forceinline__ float eager_probs(const axl_attn_args &a, const float *q, const T *k,
                                             attn_range range, int n_keys, float *p, int lane)
{
    float top = -INFINITY, sum = 0.0f;

    for (int j = range.begin + lane; j < range.end; j += 32) {
        p[j] = eager_score(a, q, k + j * a.ldk);
        top = fmaxf(top, p[j]);
    }
    top = axl_warp_max(top);
    for (int j = range.begin + lane; j < range.end; j += 32) {
        p[j] = expf(p[j] - top);
        sum += p[j];
    }
    sum = axl_warp_sum(sum);
    for (int j = range.begin + lane; j < range.end; j += 32)
        p[j] /= sum;
    for (int j = lane; j < range.begin; j += 32)
        p[j] = 0.0f;
    for (int j = max(range.begin, range.end) + lane; j < n_keys; j += 32)
        p[j] = 0.0f;
    return sum == 0.0f ? -INFINITY : top + logf(sum); // NaN must not hide
}

template <class T>
__device__ __forceinline__ void eager_row(const axl_attn_eager_args &e, const scratch &x, int t,
                                          int head, int lane)
{
    const axl_attn_args &a = e.fwd;
    const query_row<T> row = query_row_of<T>(a, t, head);
    const int dim = a.head_dim, dim_v = a.v_head_dim;
    float *p = (float *)e.probs + ((int64_t)t * a.n_heads + head) * e.ld_probs;

    stage(x.row[0], (const T *)a.q + t * a.ldq + (int64_t)head * dim, dim, lane);
    clear(x.sum[1], dim_v, lane);
    __syncwarp();
    const float lse = eager_probs(a, x.row[0], row.k, row.range, row.n_keys, p, lane);
    for (int begin = row.range.begin; begin < row.range.end; begin += 32) {
        const int n = min(32, row.range.end - begin);

        if (lane < n)
            x.weight[0][lane] = rounded<T>(p[begin + lane]);
        __syncwarp();
        add_rows(x.sum[1], x.weight[0], row.v + begin * a.ldv, a.ldv, n, dim_v, lane);
        __syncwarp(); // the weights are read before the next ones come
    }
    put_row((T *)a.out + t * a.ldo + (int64_t)head * dim_v, x.sum[1], 1.0f, dim_v, false, lane);
    if (lane == 0)
        ((float *)a.lse)[(int64_t)head * a.cu_seqlens_q[a.n_seqs] + t] = lse;
    __syncwarp(); // the row is read before the next one comes
}

template <class T>
__global__ void __launch_bounds__(WARPS * 32, 6) attn_eager_plain(axl_attn_eager_args e)
{
    each_row(
        e.fwd, e.fwd.cu_seqlens_q, e.fwd.n_heads,
        [&](const scratch &x, int t, int head, int lane) { eager_row<T>(e, x, t, head, lane); });
}

// ---- backward: from the probabilities that are kept

struct eager {
    using args = axl_attn_eager_bwd_args;
    static constexpr bool PRODUCTS = false;

    __host__ __device__ static const axl_attn_bwd_args &bwd(const args &e) { return e.bwd; }
    __device__ static float scale(const axl_attn_args &) { return 1.0f; } // pairs have it
    __device__ static const float *delta(const args &e) { return (const float *)e.delta; }
    __device__ static const float *probs(const args &e, int64_t t, int head)
    {
        return (const float *)e.probs + (t * e.bwd.fwd.n_heads + head) * e.ld_probs;
    }
    // The pass for dq makes it, the pass for dk and dv reads it.
    template <class T>
    __device__ static float delta_of(const args &e, const scratch &x, const query_row<T> &row,
                                     const float *p, int64_t stat, int lane)
    {
        const axl_attn_args &a = e.bwd.fwd;
        float delta = 0.0f;

        for (int j = row.range.begin + lane; j < row.range.end; j += 32)
            delta += p[j] * rounded<T>(dot(x.row[1], row.v + j * a.ldv, a.v_head_dim));
        delta = axl_warp_sum(delta);
        if (lane == 0)
            ((float *)e.delta)[stat] = delta;
        return delta;
    }
    template <class T>
    __device__ static pair pair_of(const axl_attn_args &a, const scratch &x, const T *,
                                   const T *by_row1, const float *probs, float lse, float delta)
    {
        const float p = *probs, dp = rounded<T>(dot(x.row[1], by_row1, a.v_head_dim));
        float ds = rounded<T>(p * (dp - delta));

        if (a.softcap > 0.0f && p > 0.0f) {
            const float u = (logf(p) + lse) * __fdividef(1.0f, a.softcap);
            ds = rounded<T>(ds * (1.0f - u * u));
        }
        return {rounded<T>(p), rounded<T>(ds * a.scale)};
    }
};

// ---- on the host

template <class T> axl_status run_eager(axl_stream *s, const axl_attn_eager_args *e)
{
    const axl_attn_args *a = &e->fwd;

    return axl_cuda_launch(s, "attn_eager_plain", attn_eager_plain<T>,
                           grid_of(s, a->n_seqs, a->max_seqlen_q, a->n_heads), dim3(WARPS * 32),
                           scratch_bytes(a->head_dim, a->v_head_dim), *e);
}

} // namespace

extern "C" axl_status axl_cuda_attn_eager_fwd(axl_stream *s, const axl_attn_eager_args *e)
{
    const axl_status status = check_width(&e->fwd);

    if (axl_cuda_attn_eager_is_tiled(s, &e->fwd, e->probs))
        return axl_cuda_attn_eager_fwd_tiled(s, e);
    return status != AXL_OK           ? status
           : e->fwd.dtype == AXL_BF16 ? run_eager<bf16>(s, e)
           : e->fwd.dtype == AXL_F32  ? run_eager<float>(s, e)
                                      : axl_cuda_no_dtype("attn_eager_fwd", e->fwd.dtype);
}

extern "C" axl_status axl_cuda_attn_eager_bwd(axl_stream *s, const axl_attn_eager_bwd_args *e)
{
    const axl_dtype dtype = e->bwd.fwd.dtype;

    if (axl_cuda_attn_bwd_is_tiled(s, &e->bwd) &&
        axl_cuda_attn_eager_is_tiled(s, &e->bwd.fwd, e->probs))
        return axl_cuda_attn_eager_bwd_tiled(s, e);
    return dtype == AXL_F32 || dtype == AXL_BF16 ? run_bwd<eager>(s, e)
                                                 : axl_cuda_no_dtype("attn_eager_bwd", dtype);
}
