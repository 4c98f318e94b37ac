// The gradients of attention for every shape: attention_plain.cuh says how.
//
// Kind::args hold `bwd`'s arguments. PRODUCTS: pairs need q . k, of rows that are staged. pair_of: the weight of a pair,
// as it meets dout, and the gradient by its score, from the rows that meet the two staged ones. delta_of makes, or
// reads, delta of a query, and leaves it where delta points. scale: what sums of gradients lack.
#ifndef AXL_KERNELS_CUDA_ATTENTION_PLAIN_BWD_CUH
#define AXL_KERNELS_CUDA_ATTENTION_PLAIN_BWD_CUH

#include "kernels/cuda/attention_plain.cuh"

namespace
{

struct pair {
    float p, ds;
};

template <class T, class G, class Kind>
__device__ __forceinline__ void dq_row(const typename Kind::args &e, const scratch &x, int t,
                                       int head, int lane)
{
    const axl_attn_bwd_args &b = Kind::bwd(e);
    const axl_attn_args &a = b.fwd;
    const query_row<T> row = query_row_of<T>(a, t, head);
    const int dim = a.head_dim, dim_v = a.v_head_dim;
    const int64_t stat = (int64_t)head * a.cu_seqlens_q[a.n_seqs] + t;
    const float lse = ((const float *)a.lse)[stat], *probs = Kind::probs(e, t, head);

    if (Kind::PRODUCTS)
        stage(x.row[0], (const T *)a.q + t * a.ldq + (int64_t)head * dim, dim, lane);
    stage(x.row[1], (const T *)b.dout + t * a.ldo + (int64_t)head * dim_v, dim_v, lane);
    clear(x.sum[0], dim, lane);
    __syncwarp();
    const float delta = Kind::template delta_of<T>(e, x, row, probs, stat, lane);
    for (int begin = row.range.begin; begin < row.range.end; begin += 32) {
        const int j = begin + lane, n = min(32, row.range.end - begin);

        if (j < row.range.end)
            x.weight[1][lane] = Kind::template pair_of<T>(a, x, row.k + j * a.ldk,
                                                          row.v + j * a.ldv, probs + j, lse, delta)
                                    .ds;
        __syncwarp();
        add_rows(x.sum[0], x.weight[1], row.k + begin * a.ldk, a.ldk, n, dim, lane);
        __syncwarp(); // the weights are read before the next ones come
    }
    put_row((G *)b.dq + t * a.ldq + (int64_t)head * dim, x.sum[0], Kind::scale(a), dim,
            b.accumulate_dq, lane);
    __syncwarp();
}

template <class T, class G, class Kind>
__global__ void __launch_bounds__(WARPS * 32, 6) attn_dq_plain(typename Kind::args e)
{
    const axl_attn_args &a = Kind::bwd(e).fwd;

    each_row(a, a.cu_seqlens_q, a.n_heads, [&](const scratch &x, int t, int head, int lane) {
        dq_row<T, G, Kind>(e, x, t, head, lane);
    });
}

// Adds what the queries of one head give to a key's and a value's gradient. key: the key's place in its sequence.
template <class T, class Kind>
__device__ __forceinline__ void dkv_head(const typename Kind::args &e, const scratch &x,
                                         const attn_rows &queries, attn_range range, int key,
                                         int head, int lane)
{
    const axl_attn_bwd_args &b = Kind::bwd(e);
    const axl_attn_args &a = b.fwd;
    const int dim = a.head_dim, dim_v = a.v_head_dim;
    const T *q = (const T *)a.q + queries.begin * a.ldq + (int64_t)head * dim;
    const T *dout = (const T *)b.dout + queries.begin * a.ldo + (int64_t)head * dim_v;
    const int64_t stat = (int64_t)head * a.cu_seqlens_q[a.n_seqs] + queries.begin;
    const float *lse = (const float *)a.lse + stat, *delta = Kind::delta(e) + stat;

    for (int begin = range.begin; begin < range.end; begin += 32) {
        const int i = begin + lane, n = min(32, range.end - begin);

        if (i < range.end) {
            const float *probs = Kind::probs(e, queries.begin + i, head) + key;
            const pair w = Kind::template pair_of<T>(a, x, q + i * a.ldq, dout + i * a.ldo, probs,
                                                     lse[i], delta[i]);
            x.weight[0][lane] = w.p;
            x.weight[1][lane] = w.ds;
        }
        __syncwarp();
        add_rows(x.sum[0], x.weight[1], q + begin * a.ldq, a.ldq, n, dim, lane);
        add_rows(x.sum[1], x.weight[0], dout + begin * a.ldo, a.ldo, n, dim_v, lane);
        __syncwarp(); // the weights are read before the next ones come
    }
}

template <class T, class G, class Kind>
__device__ __forceinline__ void dkv_row(const typename Kind::args &e, const scratch &x, int row,
                                        int head_kv, int lane)
{
    const axl_attn_bwd_args &b = Kind::bwd(e);
    const axl_attn_args &a = b.fwd;
    const int seq = attn_sequence(a.cu_seqlens_k, a.n_seqs, row);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int key = row - (int)keys.begin, position = keys.position(key);
    const attn_range range = attn_queries_seeing(a, queries, position, position);
    const int group = a.n_heads / a.n_kv_heads, dim = a.head_dim, dim_v = a.v_head_dim;

    if (Kind::PRODUCTS)
        stage(x.row[0], (const T *)a.k + row * a.ldk + (int64_t)head_kv * dim, dim, lane);
    stage(x.row[1], (const T *)a.v + row * a.ldv + (int64_t)head_kv * dim_v, dim_v, lane);
    clear(x.sum[0], dim + dim_v, lane);
    __syncwarp();
    for (int head = head_kv * group; head < (head_kv + 1) * group; head++)
        dkv_head<T, Kind>(e, x, queries, range, key, head, lane);
    put_row((G *)b.dk + row * a.ldk + (int64_t)head_kv * dim, x.sum[0], Kind::scale(a), dim,
            b.accumulate_dkv, lane);
    put_row((G *)b.dv + row * a.ldv + (int64_t)head_kv * dim_v, x.sum[1], 1.0f, dim_v,
            b.accumulate_dkv, lane);
    __syncwarp();
}

template <class T, class G, class Kind>
__global__ void __launch_bounds__(WARPS * 32, 6) attn_dkv_plain(typename Kind::args e)
{
    const axl_attn_args &a = Kind::bwd(e).fwd;

    each_row(a, a.cu_seqlens_k, a.n_kv_heads, [&](const scratch &x, int row, int head, int lane) {
        dkv_row<T, G, Kind>(e, x, row, head, lane);
    });
}

// ---- on the host

template <class T, class G, class Kind>
axl_status run_bwd(axl_stream *s, const typename Kind::args *e)
{
    const axl_attn_args *a = &Kind::bwd(*e).fwd;
    const size_t bytes = scratch_bytes(a->head_dim, a->v_head_dim);
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_launch(s, "attn_dq_plain", attn_dq_plain<T, G, Kind>,
                            grid_of(s, a->n_seqs, a->max_seqlen_q, a->n_heads), dim3(WARPS * 32),
                            bytes, *e));
    AXL_TRY(axl_cuda_launch(s, "attn_dkv_plain", attn_dkv_plain<T, G, Kind>,
                            grid_of(s, a->n_seqs, a->max_seqlen_k, a->n_kv_heads), dim3(WARPS * 32),
                            bytes, *e));

out:
    return status;
}

template <class Kind> axl_status run_bwd(axl_stream *s, const typename Kind::args *e)
{
    const axl_attn_bwd_args *b = &Kind::bwd(*e);
    const axl_status status = check_width(&b->fwd);

    return status != AXL_OK            ? status
           : b->fwd.dtype == AXL_F32   ? run_bwd<float, float, Kind>(s, e)
           : b->dtype_grad == AXL_BF16 ? run_bwd<bf16, bf16, Kind>(s, e)
                                       : run_bwd<bf16, float, Kind>(s, e);
}

} // namespace

#endif
