// Eager attention: its entries, and the kernels for every shape: one warp a row, in f32, rounded where ref rounds.
//
// A row of probabilities is the warp's own: each lane keeps the keys that it made, from the first pass to the last.
#include "kernels/cuda/attention_eager.cuh"
#include "kernels/cuda/attention_plain.cuh"
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
__device__ float eager_probs(const axl_attn_args &a, const float *q, const T *k, attn_range range,
                             int n_keys, float *p, int lane)
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
    return sum > 0.0f ? top + logf(sum) : -INFINITY;
}

template <class T>
__device__ void eager_row(const axl_attn_eager_args &e, const scratch &x, int t, int head, int lane)
{
    const axl_attn_args &a = e.fwd;
    const int seq = attn_sequence(a.cu_seqlens_q, a.n_seqs, t);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int position = queries.position(t - (int)queries.begin);
    const attn_range range = attn_keys_seen(a, keys, position, position);
    const int head_kv = head / (a.n_heads / a.n_kv_heads), dim = a.head_dim, dim_v = a.v_head_dim;
    const T *k = (const T *)a.k + keys.begin * a.ldk + (int64_t)head_kv * dim;
    const T *v = (const T *)a.v + keys.begin * a.ldv + (int64_t)head_kv * dim_v;
    float *p = (float *)e.probs + ((int64_t)t * a.n_heads + head) * e.ld_probs;

    stage(x.row[0], (const T *)a.q + t * a.ldq + (int64_t)head * dim, dim, lane);
    for (int d = lane; d < dim_v; d += 32)
        x.sum[1][d] = 0.0f;
    __syncwarp();
    const float lse = eager_probs(a, x.row[0], k, range, keys.n, p, lane);
    for (int begin = range.begin; begin < range.end; begin += 32) {
        const int n = min(32, range.end - begin);

        if (lane < n)
            x.weight[0][lane] = rounded<T>(p[begin + lane]);
        __syncwarp();
        for (int d = lane; d < dim_v; d += 32)
            for (int i = 0; i < n; i++)
                x.sum[1][d] += x.weight[0][i] * axl_to_float(v[(begin + i) * a.ldv + d]);
        __syncwarp(); // the weights are read before the next ones come
    }
    T *out = (T *)a.out + t * a.ldo + (int64_t)head * dim_v;
    for (int d = lane; d < dim_v; d += 32)
        out[d] = axl_from_float<T>(x.sum[1][d]);
    if (lane == 0)
        ((float *)a.lse)[(int64_t)head * a.cu_seqlens_q[a.n_seqs] + t] = lse;
    __syncwarp(); // the row is read before the next one comes
}

template <class T>
__global__ void __launch_bounds__(WARPS * 32) attn_eager_plain(axl_attn_eager_args e)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const axl_attn_args &a = e.fwd;
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const scratch x = take(shared, warp, a.head_dim, a.v_head_dim);
    const int64_t n = (int64_t)a.cu_seqlens_q[a.n_seqs] * a.n_heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS)
        eager_row<T>(e, x, (int)(i / a.n_heads), (int)(i % a.n_heads), lane);
}

// ---- backward

// The gradient of the loss by r(q . k) of a pair.
template <class T>
__device__ __forceinline__ float eager_ds(const axl_attn_args &a, float p, float dp, float delta,
                                          float lse)
{
    const float by_cap = __fdividef(1.0f, a.softcap);
    float ds = rounded<T>(p * (dp - delta));

    if (a.softcap > 0.0f && p > 0.0f) {
        const float u = (logf(p) + lse) * by_cap;
        ds = rounded<T>(ds * (1.0f - u * u));
    }
    return rounded<T>(ds * a.scale);
}

template <class T, class G>
__device__ void eager_dq_row(const axl_attn_eager_bwd_args &e, const scratch &x, int t, int head,
                             int lane)
{
    const axl_attn_bwd_args &b = e.bwd;
    const axl_attn_args &a = b.fwd;
    const int seq = attn_sequence(a.cu_seqlens_q, a.n_seqs, t);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int position = queries.position(t - (int)queries.begin);
    const attn_range range = attn_keys_seen(a, keys, position, position);
    const int head_kv = head / (a.n_heads / a.n_kv_heads), dim = a.head_dim, dim_v = a.v_head_dim;
    const T *k = (const T *)a.k + keys.begin * a.ldk + (int64_t)head_kv * dim;
    const T *v = (const T *)a.v + keys.begin * a.ldv + (int64_t)head_kv * dim_v;
    const float *p = (const float *)e.probs + ((int64_t)t * a.n_heads + head) * e.ld_probs;
    const int64_t stat = (int64_t)head * a.cu_seqlens_q[a.n_seqs] + t;
    const float lse = ((const float *)a.lse)[stat];
    float delta = 0.0f;

    stage(x.row[1], (const T *)b.dout + t * a.ldo + (int64_t)head * dim_v, dim_v, lane);
    for (int d = lane; d < dim; d += 32)
        x.sum[0][d] = 0.0f;
    __syncwarp();
    for (int j = range.begin + lane; j < range.end; j += 32)
        delta += p[j] * rounded<T>(dot(x.row[1], v + j * a.ldv, dim_v));
    delta = axl_warp_sum(delta);
    for (int begin = range.begin; begin < range.end; begin += 32) {
        const int j = begin + lane, n = min(32, range.end - begin);

        if (j < range.end)
            x.weight[1][lane] =
                eager_ds<T>(a, p[j], rounded<T>(dot(x.row[1], v + j * a.ldv, dim_v)), delta, lse);
        __syncwarp();
        for (int d = lane; d < dim; d += 32)
            for (int i = 0; i < n; i++)
                x.sum[0][d] += x.weight[1][i] * axl_to_float(k[(begin + i) * a.ldk + d]);
        __syncwarp(); // the weights are read before the next ones come
    }
    G *dq = (G *)b.dq + t * a.ldq + (int64_t)head * dim;
    for (int d = lane; d < dim; d += 32)
        put(dq + d, x.sum[0][d], b.accumulate_dq);
    if (lane == 0)
        ((float *)e.delta)[stat] = delta;
    __syncwarp();
}

template <class T, class G>
__global__ void __launch_bounds__(WARPS * 32) attn_eager_dq_plain(axl_attn_eager_bwd_args e)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const axl_attn_args &a = e.bwd.fwd;
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const scratch x = take(shared, warp, a.head_dim, a.v_head_dim);
    const int64_t n = (int64_t)a.cu_seqlens_q[a.n_seqs] * a.n_heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS)
        eager_dq_row<T, G>(e, x, (int)(i / a.n_heads), (int)(i % a.n_heads), lane);
}

// Adds what the queries of one head give to a key's and a value's gradient. key: the key's place in its sequence.
template <class T>
__device__ __forceinline__ void eager_dkv_head(const axl_attn_eager_bwd_args &e, const scratch &x,
                                               const attn_rows &queries, attn_range range, int key,
                                               int head, int lane)
{
    const axl_attn_args &a = e.bwd.fwd;
    const int dim = a.head_dim, dim_v = a.v_head_dim;
    const T *q = (const T *)a.q + queries.begin * a.ldq + (int64_t)head * dim;
    const T *dout = (const T *)e.bwd.dout + queries.begin * a.ldo + (int64_t)head * dim_v;
    const int64_t stat = (int64_t)head * a.cu_seqlens_q[a.n_seqs] + queries.begin;
    const float *lse = (const float *)a.lse + stat, *delta = (const float *)e.delta + stat;
    const float *probs =
        (const float *)e.probs + (queries.begin * a.n_heads + head) * e.ld_probs + key;

    for (int begin = range.begin; begin < range.end; begin += 32) {
        const int i = begin + lane, n = min(32, range.end - begin);

        if (i < range.end) {
            const float p = probs[(int64_t)i * a.n_heads * e.ld_probs];
            x.weight[0][lane] = rounded<T>(p);
            x.weight[1][lane] = eager_ds<T>(
                a, p, rounded<T>(dot(x.row[1], dout + i * a.ldo, dim_v)), delta[i], lse[i]);
        }
        __syncwarp();
        for (int d = lane; d < dim; d += 32)
            for (int r = 0; r < n; r++)
                x.sum[0][d] += x.weight[1][r] * axl_to_float(q[(begin + r) * a.ldq + d]);
        for (int d = lane; d < dim_v; d += 32)
            for (int r = 0; r < n; r++)
                x.sum[1][d] += x.weight[0][r] * axl_to_float(dout[(begin + r) * a.ldo + d]);
        __syncwarp(); // the weights are read before the next ones come
    }
}

template <class T, class G>
__device__ __forceinline__ void eager_dkv_row(const axl_attn_eager_bwd_args &e, const scratch &x,
                                              int row, int head_kv, int lane)
{
    const axl_attn_bwd_args &b = e.bwd;
    const axl_attn_args &a = b.fwd;
    const int seq = attn_sequence(a.cu_seqlens_k, a.n_seqs, row);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int key = row - (int)keys.begin, position = keys.position(key);
    const attn_range range = attn_queries_seeing(a, queries, position, position);
    const int group = a.n_heads / a.n_kv_heads, dim = a.head_dim, dim_v = a.v_head_dim;

    stage(x.row[1], (const T *)a.v + row * a.ldv + (int64_t)head_kv * dim_v, dim_v, lane);
    for (int d = lane; d < dim + dim_v; d += 32)
        x.sum[0][d] = 0.0f;
    __syncwarp();
    for (int head = head_kv * group; head < (head_kv + 1) * group; head++)
        eager_dkv_head<T>(e, x, queries, range, key, head, lane);
    G *dk = (G *)b.dk + row * a.ldk + (int64_t)head_kv * dim;
    G *dv = (G *)b.dv + row * a.ldv + (int64_t)head_kv * dim_v;
    for (int d = lane; d < dim; d += 32)
        put(dk + d, x.sum[0][d], b.accumulate_dkv);
    for (int d = lane; d < dim_v; d += 32)
        put(dv + d, x.sum[1][d], b.accumulate_dkv);
    __syncwarp();
}

template <class T, class G>
__global__ void __launch_bounds__(WARPS * 32, 6) attn_eager_dkv_plain(axl_attn_eager_bwd_args e)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const axl_attn_args &a = e.bwd.fwd;
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const scratch x = take(shared, warp, a.head_dim, a.v_head_dim);
    const int64_t n = (int64_t)a.cu_seqlens_k[a.n_seqs] * a.n_kv_heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS)
        eager_dkv_row<T, G>(e, x, (int)(i / a.n_kv_heads), (int)(i % a.n_kv_heads), lane);
}

// ---- on the host

template <class T> axl_status run_fwd(axl_stream *s, const axl_attn_eager_args *e)
{
    const axl_attn_args *a = &e->fwd;

    return axl_cuda_launch(s, "attn_eager_plain", attn_eager_plain<T>,
                           grid_of(s, a->n_seqs, a->max_seqlen_q, a->n_heads), dim3(WARPS * 32),
                           scratch_bytes(a->head_dim, a->v_head_dim), *e);
}

template <class T, class G> axl_status run_bwd(axl_stream *s, const axl_attn_eager_bwd_args *e)
{
    const axl_attn_args *a = &e->bwd.fwd;
    const size_t bytes = scratch_bytes(a->head_dim, a->v_head_dim);
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_launch(s, "attn_eager_dq_plain", attn_eager_dq_plain<T, G>,
                            grid_of(s, a->n_seqs, a->max_seqlen_q, a->n_heads), dim3(WARPS * 32),
                            bytes, *e));
    AXL_TRY(axl_cuda_launch(s, "attn_eager_dkv_plain", attn_eager_dkv_plain<T, G>,
                            grid_of(s, a->n_seqs, a->max_seqlen_k, a->n_kv_heads), dim3(WARPS * 32),
                            bytes, *e));

out:
    return status;
}

} // namespace

extern "C" axl_status axl_cuda_attn_eager_fwd(axl_stream *s, const axl_attn_eager_args *e)
{
    const axl_status status = check_width(&e->fwd);

    if (axl_cuda_attn_eager_is_tiled(s, &e->fwd, e->probs))
        return axl_cuda_attn_eager_fwd_tiled(s, e);
    return status != AXL_OK           ? status
           : e->fwd.dtype == AXL_BF16 ? run_fwd<bf16>(s, e)
           : e->fwd.dtype == AXL_F32  ? run_fwd<float>(s, e)
                                      : axl_cuda_no_dtype("attn_eager_fwd", e->fwd.dtype);
}

extern "C" axl_status axl_cuda_attn_eager_bwd(axl_stream *s, const axl_attn_eager_bwd_args *e)
{
    const axl_dtype dtype = e->bwd.fwd.dtype;
    const axl_status status = check_width(&e->bwd.fwd);

    if (axl_cuda_attn_bwd_is_tiled(s, &e->bwd) &&
        axl_cuda_attn_eager_is_tiled(s, &e->bwd.fwd, e->probs))
        return axl_cuda_attn_eager_bwd_tiled(s, e);
    return status != AXL_OK                ? status
           : dtype == AXL_F32              ? run_bwd<float, float>(s, e)
           : dtype != AXL_BF16             ? axl_cuda_no_dtype("attn_eager_bwd", dtype)
           : e->bwd.dtype_grad == AXL_BF16 ? run_bwd<bf16, bf16>(s, e)
                                           : run_bwd<bf16, float>(s, e);
}
