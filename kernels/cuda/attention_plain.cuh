// Attention for every shape, dtype and option: one warp a query row (forward, dq) or a key row (dk, dv), in f32. What is its
// own to a kind of attention (exact, eager, rounded numbers) it says in a struct.
//
// The other side's rows come 32 at a time: each lane makes the score of one of them, the weights go through shared
// memory, and then each lane sums its own columns over the 32 rows. Warps walk over rows in steps of the grid, so
// the host need not know how many there are; a row's result depends on nothing but the row.
#ifndef AXL_KERNELS_CUDA_ATTENTION_PLAIN_CUH
#define AXL_KERNELS_CUDA_ATTENTION_PLAIN_CUH

#include "kernels/cuda/attention.cuh"

namespace
{

constexpr int WARPS = 4;
constexpr int BLOCKS = 8; // of a multiprocessor
constexpr int MAX_DIM = 1024;

template <class T> __device__ __forceinline__ float dot(const float *a, const T *b, int n)
{
    float sum = 0.0f;

    for (int d = 0; d < n; d++)
        sum += a[d] * axl_to_float(b[d]);
    return sum;
}

// One row to shared memory, as f32.
template <class T> __device__ __forceinline__ void stage(float *to, const T *from, int n, int lane)
{
    for (int d = lane; d < n; d += 32)
        to[d] = axl_to_float(from[d]);
}

__device__ __forceinline__ float capped(const axl_attn_args &a, float dot)
{
    const float score = dot * a.scale;

    return a.softcap > 0.0f ? a.softcap * tanhf(score / a.softcap) : score;
}

template <class G> __device__ __forceinline__ void put(G *to, float v, bool add)
{
    *to = axl_from_float<G>(add ? axl_to_float(*to) + v : v);
}

// A warp's share of the block's shared memory: n_rows staged rows, sums, then two weights a lane.
struct scratch {
    float *row[2], *sum[2], *weight[2];
};

__device__ __forceinline__ scratch take(float *shared, int warp, int d0, int d1)
{
    float *at = shared + (size_t)warp * (size_t)(2 * (d0 + d1) + 64);

    return {{at, at + d0},
            {at + d0 + d1, at + 2 * d0 + d1},
            {at + 2 * (d0 + d1), at + 2 * (d0 + d1) + 32}};
}

inline size_t scratch_bytes(int d0, int d1)
{
    return sizeof(float) * WARPS * (size_t)(2 * (d0 + d1) + 64);
}

// A warp takes row after row of n_heads heads: make(x, row, head, lane).
template <class Make>
__device__ __forceinline__ void each_row(const axl_attn_args &a, const int *cu_seqlens, int n_heads,
                                         Make make)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const scratch x = take(shared, warp, a.head_dim, a.v_head_dim);
    const int64_t n = (int64_t)cu_seqlens[a.n_seqs] * n_heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS)
        make(x, (int)(i / n_heads), (int)(i % n_heads), lane);
}

// A query's head, and the keys that it sees.
template <class T> struct query_row {
    int seq, row, n_keys; // its sequence, its place there, the keys of that
    int head_kv;
    attn_range range; // of keys
    const T *k, *v;   // of the sequence's first key
};

template <class T>
__device__ __forceinline__ query_row<T> query_row_of(const axl_attn_args &a, int t, int head)
{
    const int seq = attn_sequence(a.cu_seqlens_q, a.n_seqs, t);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int row = t - (int)queries.begin, position = queries.position(row);
    const attn_range range = attn_keys_seen(a, keys, position, position);
    const int head_kv = head / (a.n_heads / a.n_kv_heads);

    return {seq,
            row,
            keys.n,
            head_kv,
            range,
            (const T *)a.k + keys.begin * a.ldk + (int64_t)head_kv * a.head_dim,
            (const T *)a.v + keys.begin * a.ldv + (int64_t)head_kv * a.v_head_dim};
}

// sum += weights of n rows by these rows, each `dim` long. The weights are read when it returns.
template <class T>
__device__ __forceinline__ void add_rows(float *sum, const float *weight, const T *rows, int64_t ld,
                                         int n, int dim, int lane)
{
    for (int d = lane; d < dim; d += 32)
        for (int i = 0; i < n; i++)
            sum[d] += weight[i] * axl_to_float(rows[i * ld + d]);
}

__device__ __forceinline__ void clear(float *sum, int n, int lane)
{
    for (int d = lane; d < n; d += 32)
        sum[d] = 0.0f;
}

template <class G>
__device__ __forceinline__ void put_row(G *to, const float *from, float by, int n, bool add,
                                        int lane)
{
    for (int d = lane; d < n; d += 32)
        put(to + d, from[d] * by, add);
}

// ---- forward with the softmax kept up
//
// Kind::row<T> is made of (call, a, query_row, head) and says how a row of q is staged (`stage`), what a score is, what
// becomes of a weight and of an element of v before they meet, and of the lse. Kind::call: what a launch has beside a.

template <class T, class Out, class Kind>
__device__ __forceinline__ void attend_row(const axl_attn_args &a, const typename Kind::call &call,
                                           const scratch &x, int t, int head, int lane)
{
    const query_row<T> row = query_row_of<T>(a, t, head);
    const int dim_v = a.v_head_dim;
    typename Kind::template row<T> kind(call, a, row, head);
    float top = -INFINITY, sum = 0.0f;

    kind.stage(x.row[0], (const T *)a.q + t * a.ldq + (int64_t)head * a.head_dim, lane);
    clear(x.sum[1], dim_v, lane);
    __syncwarp();
    for (int begin = row.range.begin; begin < row.range.end; begin += 32) {
        const int j = begin + lane, n = min(32, row.range.end - begin);
        const float score =
            j < row.range.end ? kind.score(x.row[0], row.k + j * a.ldk, j) : -INFINITY;
        const float next = fmaxf(top, axl_warp_max(score));
        const float keep = expf(top - next), p = j < row.range.end ? expf(score - next) : 0.0f;

        sum = sum * keep + axl_warp_sum(p);
        top = next;
        x.weight[0][lane] = kind.weight(p);
        __syncwarp();
        for (int d = lane; d < dim_v; d += 32) {
            float acc = x.sum[1][d] * keep;
            for (int i = 0; i < n; i++)
                acc += x.weight[0][i] * kind.value(axl_to_float(row.v[(begin + i) * a.ldv + d]));
            x.sum[1][d] = acc;
        }
        __syncwarp(); // the weights are read before the next ones come
    }
    Out *out = (Out *)a.out + t * a.ldo + (int64_t)head * dim_v;
    for (int d = lane; d < dim_v; d += 32)
        out[d] = axl_from_float<Out>(sum == 0.0f ? 0.0f : x.sum[1][d] / sum);
    if (lane == 0)
        ((float *)a.lse)[(int64_t)head * a.cu_seqlens_q[a.n_seqs] + t] =
            sum == 0.0f ? -INFINITY : kind.lse(top + logf(sum)); // NaN must not hide
    __syncwarp(); // the row is read before the next one comes
}

template <class T, class Out, class Kind>
__global__ void __launch_bounds__(WARPS * 32, 6)
    attn_fwd_plain(axl_attn_args a, typename Kind::call call)
{
    each_row(a, a.cu_seqlens_q, a.n_heads, [&](const scratch &x, int t, int head, int lane) {
        attend_row<T, Out, Kind>(a, call, x, t, head, lane);
    });
}

// ---- on the host

// Enough blocks to fill the device, no more than there may be rows.
inline dim3 grid_of(const axl_stream *s, int n_seqs, int max_seqlen, int n_heads)
{
    const int64_t most = (int64_t)axl_cuda_n_multiprocessors(s->device) * BLOCKS;
    const int64_t rows = (int64_t)n_seqs * max_seqlen * n_heads;

    return dim3(axl_cuda_blocks(rows, WARPS) < most ? axl_cuda_blocks(rows, WARPS)
                                                    : (unsigned)most);
}

inline axl_status check_width(const axl_attn_args *a)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(a->head_dim <= MAX_DIM && a->v_head_dim <= MAX_DIM, AXL_E_UNSUPPORTED,
                "head_dim %d is above %d", a->head_dim, MAX_DIM);

out:
    return status;
}

template <class T, class Out, class Kind>
axl_status run_fwd(axl_stream *s, const axl_attn_args *a, const typename Kind::call *call)
{
    return axl_cuda_launch(s, "attn_fwd_plain", attn_fwd_plain<T, Out, Kind>,
                           grid_of(s, a->n_seqs, a->max_seqlen_q, a->n_heads), dim3(WARPS * 32),
                           scratch_bytes(a->head_dim, a->v_head_dim), *a, *call);
}

template <class Kind>
axl_status run_fwd(axl_stream *s, const axl_attn_args *a, const typename Kind::call *call)
{
    const axl_status status = check_width(a);

    return status != AXL_OK      ? status
           : a->dtype == AXL_F32 ? run_fwd<float, float, Kind>(s, a, call)
           : a->out_f32          ? run_fwd<bf16, float, Kind>(s, a, call)
                                 : run_fwd<bf16, bf16, Kind>(s, a, call);
}

} // namespace

#endif
