// Tiled attention, backward, in two passes without atomics: dq by blocks of queries, dk and dv by blocks of keys.
//
// Each pass makes scores and their gradients again (7 products of tiles for a pair, where a single pass with atomic
// sums of dq takes 5), and sums in registers, in one order: results are the same bits in every run.
// In the second pass tiles are transposed, keys by queries, so that weights and their gradients are left
// factors where they lie, in registers. The side that moves comes in two stages: one is read, one is on its way.
#include "kernels/cuda/attention_keys.cuh"

namespace
{

// s: q . k becomes the weight; dp: dout . v becomes the gradient by q . k * scale. lse in units of log 2.
__device__ __forceinline__ void differentiate(const score_rule &rule, float &s, float &dp,
                                              float lse, float delta)
{
    float slope = 1.0f;

    if (rule.cap > 0.0f) {
        s = attn_cap(s, rule.cap, rule.cap_by);
        slope = 1.0f - (s / rule.cap) * (s / rule.cap);
    }
    s = axl_exp2(s * rule.to_log2 - lse);
    dp = s * (dp - delta) * slope;
}

// ---- dq

// Weights and gradients of what is not seen become 0.
template <int MT, int NT>
__device__ __forceinline__ void mask_keys(const axl_attn_args &a, int seq, int first_row, int begin,
                                          int end, float (&ds)[MT][NT][4])
{
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int key = begin + n * 8 + 2 * t + i;
            const bool there = key < end;
            const int position = there ? keys.position(key) : 0;
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int row = min(first_row + m * 16 + half * 8 + g, queries.n - 1);
                    if (!there || !attn_sees(a, queries.free, queries.position(row), position))
                        ds[m][n][2 * half + i] = 0.0f;
                }
        }
}

template <int MT> struct query_stats {
    float lse[MT][2], delta[MT][2];
};

template <int MT>
__device__ __forceinline__ void read_stats(query_stats<MT> &stats, const float *lse,
                                           const float *delta, int warp_row, int n_rows)
{
    const int g = (int)(threadIdx.x % 32u / 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = warp_row + m * 16 + half * 8 + g;
            stats.lse[m][half] = row < n_rows ? lse_of(lse[row]) : INFINITY;
            stats.delta[m][half] = row < n_rows ? delta[row] : 0.0f;
        }
}

template <int D, int MT, int BN, class G>
__device__ __forceinline__ void make_exact_dq(const axl_attn_bwd_args &b, const attn_item &item,
                                              bf16 *shared)
{
    constexpr int BM = ATTN_WARPS * MT * 16, LD = attn_tile<D>::LD;
    const axl_attn_args &a = b.fwd;
    const attn_query_tile x = attn_query_tile_of(a, item, BM);
    const int warp_row = (int)(threadIdx.x / 32u) * MT * 16;
    const int64_t head_kv = item.head / (a.n_heads / a.n_kv_heads);
    const int64_t key_row = a.cu_seqlens_k[item.seq] + x.keys.begin;
    const int64_t stat = (int64_t)item.head * a.cu_seqlens_q[a.n_seqs] + x.row;
    const bf16 *k = (const bf16 *)a.k + key_row * a.ldk + head_kv * D;
    const bf16 *v = (const bf16 *)a.v + key_row * a.ldv + head_kv * D;
    bf16 *q_tile = shared, *dout_tile = q_tile + BM * LD, *kv_tiles = dout_tile + BM * LD;
    const score_rule rule = rule_of(a);
    float dq[MT][D / 8][4];
    query_stats<MT> stats;
    int stage = 0;

    attn_clear(dq);
    read_stats(stats, (const float *)a.lse + stat, (const float *)b.delta + stat, warp_row, x.n);
    if (x.keys.begin < x.keys.end) {
        attn_load<BM, D>(q_tile, (const bf16 *)a.q + x.row * a.ldq + (int64_t)item.head * D, a.ldq,
                         x.n);
        attn_load<BM, D>(dout_tile, (const bf16 *)b.dout + x.row * a.ldo + (int64_t)item.head * D,
                         a.ldo, x.n);
        attn_load<BN, D>(kv_tiles, k, a.ldk, x.keys.end - x.keys.begin);
        attn_load<BN, D>(kv_tiles + BN * LD, v, a.ldv, x.keys.end - x.keys.begin);
        axl_copy_commit();
    }
    for (int at = x.keys.begin; at < x.keys.end; at += BN) {
        const bf16 *k_tile = kv_tiles + stage * 2 * BN * LD, *v_tile = k_tile + BN * LD;
        float s[MT][BN / 8][4], ds[MT][BN / 8][4];

        axl_copy_wait<0>();
        __syncthreads(); // this stage is there, and the other was read by all
        stage ^= 1;
        k += BN * a.ldk;
        v += BN * a.ldv;
        if (at + BN < x.keys.end) {
            bf16 *next = kv_tiles + stage * 2 * BN * LD;
            attn_load<BN, D>(next, k, a.ldk, x.keys.end - at - BN);
            attn_load<BN, D>(next + BN * LD, v, a.ldv, x.keys.end - at - BN);
        }
        axl_copy_commit();
        attn_mul_rows<MT, BN / 8, D>(s, q_tile + warp_row * LD + attn_left<D>(),
                                     k_tile + attn_right<D>());
        attn_mul_rows<MT, BN / 8, D>(ds, dout_tile + warp_row * LD + attn_left<D>(),
                                     v_tile + attn_right<D>());
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < BN / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    differentiate(rule, s[m][n][i], ds[m][n][i], stats.lse[m][i / 2],
                                  stats.delta[m][i / 2]);
        if (at < x.full.begin || at + BN > x.full.end)
            mask_keys(a, item.seq, x.first + warp_row, at, x.keys.end, ds);
        attn_mul_columns<MT, BN / 8, D>(dq, ds, k_tile + attn_left<D>());
    }
    attn_write((G *)b.dq + x.row * a.ldq + (int64_t)item.head * D, a.ldq, dq, a.scale, warp_row,
               x.n, b.accumulate_dq);
}

// ---- dk, dv

// Weights and gradients of what is not seen become 0. Queries beyond the end have weights 0 already.
template <int MT, int NT>
__device__ __forceinline__ void mask_queries(const axl_attn_args &a, int seq, int first_key,
                                             int begin, int end, float (&p)[MT][NT][4],
                                             float (&ds)[MT][NT][4])
{
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int position = queries.position(min(begin + n * 8 + 2 * t + i, end - 1));
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int key = min(first_key + m * 16 + half * 8 + g, keys.n - 1);
                    if (!attn_sees(a, queries.free, position, keys.position(key)))
                        p[m][n][2 * half + i] = ds[m][n][2 * half + i] = 0.0f;
                }
        }
}

template <int D, int MT, int NT>
__device__ __forceinline__ void differentiate_tile(const score_rule &rule, float (&s)[MT][NT][4],
                                                   float (&dp)[MT][NT][4], const float *stats)
{
    const int t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int at = n * 8 + 2 * t + i;
            const float lse = stats[stat_place<D>(at)], delta = stats[stat_place<D>(at + NT * 8)];
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    differentiate(rule, s[m][n][2 * half + i], dp[m][n][2 * half + i], lse, delta);
        }
}

struct exact {
    using args = axl_attn_bwd_args;
    using rule = score_rule;
    static constexpr bool SCORES = true;
    static constexpr int QUERIES_64 = 64; // of a step at head_dim 64

    __host__ __device__ static const axl_attn_bwd_args &bwd(const args &b) { return b; }
    __device__ static float scale(const axl_attn_args &a) { return a.scale; }
    __device__ static rule rule_of(const axl_attn_args &a) { return ::rule_of(a); }
    template <int MT, int NT>
    static __device__ __forceinline__ void take(const args &, const key_tile &, const key_step &,
                                                float (&)[MT][NT][4])
    {
    }
    template <int D, int MT, int NT>
    static __device__ __forceinline__ void
    differentiate(const axl_attn_args &a, const rule &rule, const key_tile &x, const key_step &step,
                  float (&p)[MT][NT][4], float (&ds)[MT][NT][4], const float *stats)
    {
        differentiate_tile<D>(rule, p, ds, stats);
        if (step.at < x.full.begin || min(step.at + NT * 8, x.queries.end) > x.full.end)
            mask_queries(a, step.seq, x.first + step.warp_row, step.at, x.queries.end, p, ds);
    }
    template <int D, int MT, int BN, class G>
    static __device__ __forceinline__ void make_dq(const args &b, const attn_item &item,
                                                   bf16 *shared)
    {
        make_exact_dq<D, MT, BN, G>(b, item, shared);
    }
};

} // namespace

bool axl_cuda_attn_bwd_is_tiled(const axl_stream *s, const axl_attn_bwd_args *b)
{
    // the rows of gradients lie as those of q, k, v: an element may be twice as wide
    return axl_cuda_attn_is_tiled(s, &b->fwd) && attn_aligned(b->dout, b->fwd.ldo) &&
           attn_aligned(b->dq, b->fwd.ldq) && attn_aligned(b->dk, b->fwd.ldk) &&
           attn_aligned(b->dv, b->fwd.ldv);
}

axl_status axl_cuda_attn_bwd_tiled(axl_stream *s, const axl_attn_bwd_args *b)
{
    return b->dtype_grad == AXL_F32 ? run_bwd<exact, float>(s, b) : run_bwd<exact, bf16>(s, b);
}
