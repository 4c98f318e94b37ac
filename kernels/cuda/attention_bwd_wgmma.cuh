// What the gradients by warpgroups (attention_bwd_wgmma.cu) do with tiles: their steps, products, weights and the gradients of those.
#ifndef AXL_KERNELS_CUDA_ATTENTION_BWD_WGMMA_CUH
#define AXL_KERNELS_CUDA_ATTENTION_BWD_WGMMA_CUH

#include "kernels/cuda/attention_stages.cuh"

namespace
{

// ---- shapes, and the steps of a tile that stays

// Statistics are lse and delta of a tile's rows. With a softcap a step of 128 keys would take more registers than there are at 128.
template <int D, bool CAP>
using dq_shape =
    group_shape<D, D == 128 && CAP ? 64 : 128, D == 128 && !CAP ? 2 : 3, 2, 2 * HELD_ROWS>;
template <int D> using dkv_shape = group_shape<D, 64, 3, 2, 3 * 2 * 64>;

// A row's lse, in units of log 2, and delta. there: the row is one of the sequence's.
__device__ __forceinline__ void copy_stats(float *lse, float *delta, const axl_attn_bwd_args &b,
                                           int head, int64_t row, bool there)
{
    const int64_t from = (int64_t)head * b.fwd.cu_seqlens_q[b.fwd.n_seqs] + row;

    *lse = there ? lse_of(((const float *)b.fwd.lse)[from]) : INFINITY;
    *delta = there ? ((const float *)b.delta)[from] : 0.0f;
}

// The steps of a tile of queries: over the keys that they see.
template <class shape> struct query_steps : seen_keys<shape> {
    using seen_keys<shape>::x;
    using seen_keys<shape>::at;

    __device__ __forceinline__ query_steps(const axl_attn_bwd_args &b, const attn_item &item)
        : seen_keys<shape>(b.fwd, item)
    {
    }

    __device__ __forceinline__ void copy_held(const axl_attn_bwd_args &b, const attn_item &item,
                                              char *shared, int thread) const
    {
        const axl_attn_args &a = b.fwd;
        const int64_t q = x.row * a.ldq + (int64_t)item.head * shape::D,
                      o = x.row * a.ldo + (int64_t)item.head * shape::D;
        float *stats = (float *)(shared + shape::STATS) + thread;

        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared, (const bf16 *)a.q + q, a.ldq, x.n, thread);
        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared + shape::HELD, (const bf16 *)b.dout + o,
                                                a.ldo, x.n, thread);
        copy_stats(stats, stats + HELD_ROWS, b, item.head, x.row + thread, thread < x.n);
    }

    __device__ __forceinline__ void copy_step(const axl_attn_bwd_args &b, const attn_item &item,
                                              char *shared, int stage, int thread) const
    {
        const axl_attn_args &a = b.fwd;
        char *tiles = shared + shape::FIRST + stage * 2 * shape::MOVING;

        copy_keys<shape>(a, item, a.k, a.ldk, tiles, at, x.keys.end, thread);
        copy_keys<shape>(a, item, a.v, a.ldv, tiles + shape::MOVING, at, x.keys.end, thread);
    }
};

// The steps of a tile of keys: over the queries that see it, of one head after the other.
template <class shape> struct key_steps {
    key_tile x;
    int at, head, last_head;

    __device__ __forceinline__ key_steps(const axl_attn_bwd_args &b, const attn_item &item)
        : x(key_tile_of(b.fwd, item, HELD_ROWS)), at(x.queries.begin)
    {
        const int group = b.fwd.n_heads / b.fwd.n_kv_heads;

        last_head = (item.head + 1) * group - 1;
        head = x.queries.begin < x.queries.end ? item.head * group : last_head + 1;
    }
    __device__ __forceinline__ bool more() const { return head <= last_head; }
    __device__ __forceinline__ void next()
    {
        at += shape::STEP;
        if (at >= x.queries.end) {
            at = x.queries.begin;
            head++;
        }
    }
    __device__ __forceinline__ bool is_last() const
    {
        return head == last_head && at + shape::STEP >= x.queries.end;
    }
    __device__ __forceinline__ bool is_border() const
    {
        return at < x.full.begin || min(at + shape::STEP, x.queries.end) > x.full.end;
    }
    __device__ __forceinline__ void mask(const axl_attn_args &a, const attn_item &item,
                                         int warp_row, float (&s)[shape::STEP / 8][4]) const
    {
        const attn_rows queries = attn_queries(a, item.seq), keys = attn_keys(a, item.seq);
        const int row = item.tile * HELD_ROWS + warp_row + (int)(threadIdx.x % 32u / 4u),
                  end = min(at + shape::STEP, x.queries.end);

        hide(s,
             {queries_of(a, queries, keys, row, at, end),
              queries_of(a, queries, keys, row + 8, at, end)},
             at, 0.0f);
    }

    __device__ __forceinline__ void copy_held(const axl_attn_bwd_args &b, const attn_item &item,
                                              char *shared, int thread) const
    {
        const axl_attn_args &a = b.fwd;
        const int64_t k = x.row * a.ldk + (int64_t)item.head * shape::D,
                      v = x.row * a.ldv + (int64_t)item.head * shape::D;

        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared, (const bf16 *)a.k + k, a.ldk, x.n, thread);
        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared + shape::HELD, (const bf16 *)a.v + v, a.ldv,
                                                x.n, thread);
    }

    __device__ __forceinline__ void copy_step(const axl_attn_bwd_args &b, const attn_item &,
                                              char *shared, int stage, int thread) const
    {
        static_assert(shape::STEP <= COPIERS, "a thread copies a row's statistics");
        const axl_attn_args &a = b.fwd;
        const int64_t row = x.query_row + at;
        const int n = x.queries.end - at;
        char *tiles = shared + shape::FIRST + stage * 2 * shape::MOVING;
        float *stats = (float *)(shared + shape::STATS) + stage * 2 * shape::STEP + thread;

        copy_rows<shape::D, shape::STEP, COPIERS>(
            tiles, (const bf16 *)a.q + row * a.ldq + (int64_t)head * shape::D, a.ldq, n, thread);
        copy_rows<shape::D, shape::STEP, COPIERS>(
            tiles + shape::MOVING, (const bf16 *)b.dout + row * a.ldo + (int64_t)head * shape::D,
            a.ldo, n, thread);
        if (thread < shape::STEP)
            copy_stats(stats, stats + shape::STEP, b, head, row + thread, thread < n);
    }
};

// ---- products

// x += P B: P, rounded, becomes a left factor in registers; its columns are the rows of B, a tile that came. Of them the 16 K
// from first * 8 on.
template <class shape, int ND, int K, int NT>
__device__ __forceinline__ void add_columns(float (&x)[ND][4], unsigned (&left)[K][4],
                                            const float (&p)[NT][4], const char *b, int first)
{
    pack_left(left, p, first);
    multiply_columns<shape>(x, left, b, first * 8);
}

template <int K> __device__ __forceinline__ void hold(unsigned (&halves)[2][K][4])
{
    axl_wgmma_hold(halves[0]);
    axl_wgmma_hold(halves[1]);
}

// ---- weights, and their gradients: lse and delta by rows (queries stay) or by columns (keys stay)

template <bool by_rows> struct tile_stats {
    const float *lse, *delta; // by columns: of the step
    float row_lse[2], row_delta[2];

    __device__ __forceinline__ void read_rows(const float *stats, int warp_row)
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = warp_row + half * 8 + (int)(threadIdx.x % 32u / 4u);
            row_lse[half] = stats[row];
            row_delta[half] = stats[HELD_ROWS + row];
        }
    }
    __device__ __forceinline__ void read_columns(const float *stats, int n)
    {
        lse = stats + 2 * (threadIdx.x % 4u);
        delta = lse + n;
    }
    __device__ __forceinline__ float lse_at(int n, int i) const
    {
        return by_rows ? row_lse[i / 2] : lse[n * 8 + i % 2];
    }
    __device__ __forceinline__ float delta_at(int n, int i) const
    {
        return by_rows ? row_delta[i / 2] : delta[n * 8 + i % 2];
    }

    // q . k becomes the weight. CAP: and dout . v what the weight is multiplied by.
    template <bool CAP, int NT>
    __device__ __forceinline__ void weights(const score_rule &rule, float (&s)[NT][4],
                                            float (&dp)[NT][4]) const
    {
        const float by_cap = CAP ? 1.0f / rule.cap : 0.0f;

#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if constexpr (CAP) {
                    s[n][i] = rule.cap -
                              quotient(2.0f * rule.cap, axl_exp2(s[n][i] * rule.cap_by) + 1.0f);
                    const float part = s[n][i] * by_cap;
                    dp[n][i] = (dp[n][i] - delta_at(n, i)) * (1.0f - part * part);
                }
                s[n][i] = axl_exp2(s[n][i] * rule.to_log2 - lse_at(n, i));
            }
            if (CAP)
                __syncwarp(); // else statistics are read far ahead, and registers are short
        }
    }

    // dout . v, or that, becomes the gradient by q . k * scale, in N blocks of columns. A weight of 0 is that of what is not
    // seen.
    template <bool CAP, int N, int NT>
    __device__ __forceinline__ void gradients(int first, const float (&s)[NT][4],
                                              float (&dp)[NT][4]) const
    {
#pragma unroll
        for (int n = first; n < first + N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                dp[n][i] = s[n][i] * (CAP ? dp[n][i] : dp[n][i] - delta_at(n, i));
    }
};

} // namespace

#endif
