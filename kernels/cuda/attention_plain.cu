// Attention for every shape, dtype and option: one warp a query row (forward, dq) or a key row (dk, dv), in f32.
//
// The other side's rows come 32 at a time: each lane makes the score of one of them, the weights go through shared
// memory, and then each lane sums its own columns over the 32 rows. Warps walk over rows in steps of the grid, so
// the host need not know how many there are; a row's result depends on nothing but the row.
#include "kernels/cuda/attention_plain.cuh"

namespace
{

// ---- forward

template <class T, class Out>
__device__ __forceinline__ void attend_row(const axl_attn_args &a, const scratch &x, int t,
                                           int head, int lane)
{
    const int seq = attn_sequence(a.cu_seqlens_q, a.n_seqs, t);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int position = queries.position(t - (int)queries.begin);
    const attn_range range = attn_keys_seen(a, keys, position, position);
    const int head_kv = head / (a.n_heads / a.n_kv_heads), dim = a.head_dim, dim_v = a.v_head_dim;
    const T *k = (const T *)a.k + keys.begin * a.ldk + (int64_t)head_kv * dim;
    const T *v = (const T *)a.v + keys.begin * a.ldv + (int64_t)head_kv * dim_v;
    float top = -INFINITY, sum = 0.0f;

    stage(x.row[0], (const T *)a.q + t * a.ldq + (int64_t)head * dim, dim, lane);
    for (int d = lane; d < dim_v; d += 32)
        x.sum[1][d] = 0.0f;
    __syncwarp();
    for (int begin = range.begin; begin < range.end; begin += 32) {
        const int j = begin + lane, n = min(32, range.end - begin);
        const float score =
            j < range.end ? capped(a, dot(x.row[0], k + j * a.ldk, dim)) : -INFINITY;
        const float next = fmaxf(top, axl_warp_max(score));
        const float keep = expf(top - next), p = j < range.end ? expf(score - next) : 0.0f;

        sum = sum * keep + axl_warp_sum(p);
        top = next;
        x.weight[0][lane] = p;
        __syncwarp();
        for (int d = lane; d < dim_v; d += 32) {
            float acc = x.sum[1][d] * keep;
            for (int i = 0; i < n; i++)
                acc += x.weight[0][i] * axl_to_float(v[(begin + i) * a.ldv + d]);
            x.sum[1][d] = acc;
        }
        __syncwarp(); // the weights are read before the next ones come
    }
    Out *out = (Out *)a.out + t * a.ldo + (int64_t)head * dim_v;
    for (int d = lane; d < dim_v; d += 32)
        out[d] = axl_from_float<Out>(sum > 0.0f ? x.sum[1][d] / sum : 0.0f);
    if (lane == 0)
        ((float *)a.lse)[(int64_t)head * a.cu_seqlens_q[a.n_seqs] + t] =
            sum > 0.0f ? top + logf(sum) : -INFINITY;
    __syncwarp(); // the row is read before the next one comes
}

template <class T, class Out>
__global__ void __launch_bounds__(WARPS * 32, 6) attn_fwd_plain(axl_attn_args a)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const scratch x = take(shared, warp, a.head_dim, a.v_head_dim);
    const int64_t n = (int64_t)a.cu_seqlens_q[a.n_seqs] * a.n_heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS)
        attend_row<T, Out>(a, x, (int)(i / a.n_heads), (int)(i % a.n_heads), lane);
}

// ---- backward

// The weight of a (query, key) pair and the gradient by its score (times scale: by q . k).
struct pair {
    float p, ds;
};

__device__ __forceinline__ pair pair_of(const axl_attn_args &a, float dot_qk, float dp, float lse,
                                        float delta)
{
    const float score = capped(a, dot_qk), p = expf(score - lse);
    float ds = p * (dp - delta);

    if (a.softcap > 0.0f)
        ds *= 1.0f - (score / a.softcap) * (score / a.softcap);
    return {p, ds};
}

template <class T, class G>
__device__ __forceinline__ void dq_row(const axl_attn_bwd_args &b, const scratch &x, int t,
                                       int head, int lane)
{
    const axl_attn_args &a = b.fwd;
    const int seq = attn_sequence(a.cu_seqlens_q, a.n_seqs, t);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int position = queries.position(t - (int)queries.begin);
    const attn_range range = attn_keys_seen(a, keys, position, position);
    const int head_kv = head / (a.n_heads / a.n_kv_heads), dim = a.head_dim, dim_v = a.v_head_dim;
    const T *k = (const T *)a.k + keys.begin * a.ldk + (int64_t)head_kv * dim;
    const T *v = (const T *)a.v + keys.begin * a.ldv + (int64_t)head_kv * dim_v;
    const int64_t stat = (int64_t)head * a.cu_seqlens_q[a.n_seqs] + t;
    const float lse = ((const float *)a.lse)[stat], delta = ((const float *)b.delta)[stat];

    stage(x.row[0], (const T *)a.q + t * a.ldq + (int64_t)head * dim, dim, lane);
    stage(x.row[1], (const T *)b.dout + t * a.ldo + (int64_t)head * dim_v, dim_v, lane);
    for (int d = lane; d < dim; d += 32)
        x.sum[0][d] = 0.0f;
    __syncwarp();
    for (int begin = range.begin; begin < range.end; begin += 32) {
        const int j = begin + lane, n = min(32, range.end - begin);

        if (j < range.end)
            x.weight[1][lane] = pair_of(a, dot(x.row[0], k + j * a.ldk, dim),
                                        dot(x.row[1], v + j * a.ldv, dim_v), lse, delta)
                                    .ds;
        __syncwarp();
        for (int d = lane; d < dim; d += 32)
            for (int i = 0; i < n; i++)
                x.sum[0][d] += x.weight[1][i] * axl_to_float(k[(begin + i) * a.ldk + d]);
        __syncwarp(); // the weights are read before the next ones come
    }
    G *dq = (G *)b.dq + t * a.ldq + (int64_t)head * dim;
    for (int d = lane; d < dim; d += 32)
        put(dq + d, x.sum[0][d] * a.scale, b.accumulate_dq);
    __syncwarp();
}

template <class T, class G>
__global__ void __launch_bounds__(WARPS * 32, 6) attn_dq_plain(axl_attn_bwd_args b)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const axl_attn_args &a = b.fwd;
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const scratch x = take(shared, warp, a.head_dim, a.v_head_dim);
    const int64_t n = (int64_t)a.cu_seqlens_q[a.n_seqs] * a.n_heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS)
        dq_row<T, G>(b, x, (int)(i / a.n_heads), (int)(i % a.n_heads), lane);
}

// Adds what the queries of one head give to a key's and a value's gradient.
template <class T>
__device__ __forceinline__ void dkv_head(const axl_attn_bwd_args &b, const scratch &x,
                                         const attn_rows &queries, attn_range range, int head,
                                         int lane)
{
    const axl_attn_args &a = b.fwd;
    const int dim = a.head_dim, dim_v = a.v_head_dim;
    const T *q = (const T *)a.q + queries.begin * a.ldq + (int64_t)head * dim;
    const T *dout = (const T *)b.dout + queries.begin * a.ldo + (int64_t)head * dim_v;
    const int64_t stat = (int64_t)head * a.cu_seqlens_q[a.n_seqs] + queries.begin;
    const float *lse = (const float *)a.lse + stat, *delta = (const float *)b.delta + stat;

    for (int begin = range.begin; begin < range.end; begin += 32) {
        const int i = begin + lane, n = min(32, range.end - begin);

        if (i < range.end) {
            const pair w = pair_of(a, dot(x.row[0], q + i * a.ldq, dim),
                                   dot(x.row[1], dout + i * a.ldo, dim_v), lse[i], delta[i]);
            x.weight[0][lane] = w.p;
            x.weight[1][lane] = w.ds;
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
__device__ __forceinline__ void dkv_row(const axl_attn_bwd_args &b, const scratch &x, int row,
                                        int head_kv, int lane)
{
    const axl_attn_args &a = b.fwd;
    const int seq = attn_sequence(a.cu_seqlens_k, a.n_seqs, row);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int position = keys.position(row - (int)keys.begin);
    const attn_range range = attn_queries_seeing(a, queries, position, position);
    const int group = a.n_heads / a.n_kv_heads, dim = a.head_dim, dim_v = a.v_head_dim;

    stage(x.row[0], (const T *)a.k + row * a.ldk + (int64_t)head_kv * dim, dim, lane);
    stage(x.row[1], (const T *)a.v + row * a.ldv + (int64_t)head_kv * dim_v, dim_v, lane);
    for (int d = lane; d < dim + dim_v; d += 32)
        x.sum[0][d] = 0.0f;
    __syncwarp();
    for (int head = head_kv * group; head < (head_kv + 1) * group; head++)
        dkv_head<T>(b, x, queries, range, head, lane);
    G *dk = (G *)b.dk + row * a.ldk + (int64_t)head_kv * dim;
    G *dv = (G *)b.dv + row * a.ldv + (int64_t)head_kv * dim_v;
    for (int d = lane; d < dim; d += 32)
        put(dk + d, x.sum[0][d] * a.scale, b.accumulate_dkv);
    for (int d = lane; d < dim_v; d += 32)
        put(dv + d, x.sum[1][d], b.accumulate_dkv);
    __syncwarp();
}

template <class T, class G>
__global__ void __launch_bounds__(WARPS * 32, 6) attn_dkv_plain(axl_attn_bwd_args b)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const axl_attn_args &a = b.fwd;
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const scratch x = take(shared, warp, a.head_dim, a.v_head_dim);
    const int64_t n = (int64_t)a.cu_seqlens_k[a.n_seqs] * a.n_kv_heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS)
        dkv_row<T, G>(b, x, (int)(i / a.n_kv_heads), (int)(i % a.n_kv_heads), lane);
}

// ---- on the host

template <class T, class Out> axl_status run_fwd(axl_stream *s, const axl_attn_args *a)
{
    return axl_cuda_launch(s, "attn_fwd_plain", attn_fwd_plain<T, Out>,
                           grid_of(s, a->n_seqs, a->max_seqlen_q, a->n_heads), dim3(WARPS * 32),
                           scratch_bytes(a->head_dim, a->v_head_dim), *a);
}

template <class T, class G> axl_status run_bwd(axl_stream *s, const axl_attn_bwd_args *b)
{
    const axl_attn_args *a = &b->fwd;
    const size_t bytes = scratch_bytes(a->head_dim, a->v_head_dim);
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_launch(s, "attn_dq_plain", attn_dq_plain<T, G>,
                            grid_of(s, a->n_seqs, a->max_seqlen_q, a->n_heads), dim3(WARPS * 32),
                            bytes, *b));
    AXL_TRY(axl_cuda_launch(s, "attn_dkv_plain", attn_dkv_plain<T, G>,
                            grid_of(s, a->n_seqs, a->max_seqlen_k, a->n_kv_heads), dim3(WARPS * 32),
                            bytes, *b));

out:
    return status;
}

} // namespace

axl_status axl_cuda_attn_fwd_plain(axl_stream *s, const axl_attn_args *a)
{
    const axl_status status = check_width(a);

    return status != AXL_OK      ? status
           : a->dtype == AXL_F32 ? run_fwd<float, float>(s, a)
           : a->out_f32          ? run_fwd<bf16, float>(s, a)
                                 : run_fwd<bf16, bf16>(s, a);
}

axl_status axl_cuda_attn_bwd_plain(axl_stream *s, const axl_attn_bwd_args *b)
{
    const axl_status status = check_width(&b->fwd);

    return status != AXL_OK            ? status
           : b->fwd.dtype == AXL_F32   ? run_bwd<float, float>(s, b)
           : b->dtype_grad == AXL_BF16 ? run_bwd<bf16, bf16>(s, b)
                                       : run_bwd<bf16, float>(s, b);
}
