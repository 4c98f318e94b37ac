// Tiled attention, backward, in two passes without atomics: dq by blocks of queries, dk and dv by blocks of keys.
//
// Each pass makes scores and their gradients again (7 products of tiles for a pair, where a single pass with atomic
// sums of dq takes 5), and sums in registers, in one order: results are the same bits in every run.
// In the second pass tiles are transposed, keys by queries, so that weights and their gradients are left
// factors where they lie, in registers. The side that moves comes in two stages: one is read, one is on its way.
#include "kernels/cuda/attention_keys.cuh"

namespace
{

// What turns products of tiles into weights.
struct score_rule {
    float to_log2, cap, cap_by; // cap 0: none
};

__device__ __forceinline__ score_rule rule_of(const axl_attn_args &a)
{
    return {a.softcap > 0.0f ? ATTN_LOG2E : a.scale * ATTN_LOG2E, a.softcap,
            a.softcap > 0.0f ? 2.0f * ATTN_LOG2E * a.scale / a.softcap : 0.0f};
}

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
__device__ __forceinline__ void make_dq(const axl_attn_bwd_args &b, const attn_item &item,
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

template <int D, int MT, int BN, class G>
__global__ void __launch_bounds__(ATTN_THREADS, D > 128 ? 1 : 2)
    attn_dq(axl_attn_bwd_args b, attn_work *work)
{
    AXL_DYNAMIC_SHARED(bf16, shared);
    AXL_SHARED_ARRAY(int, slot, 1);
    attn_item item;

    while (attn_next(work, b.fwd.n_heads, slot, &item))
        make_dq<D, MT, BN, G>(b, item, shared);
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

template <int MT, int NT>
__device__ __forceinline__ void differentiate_tile(const score_rule &rule, float (&s)[MT][NT][4],
                                                   float (&dp)[MT][NT][4], const float *stats)
{
    const int t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const float lse = stats[n * 8 + 2 * t + i], delta = stats[NT * 8 + n * 8 + 2 * t + i];
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    differentiate(rule, s[m][n][2 * half + i], dp[m][n][2 * half + i], lse, delta);
        }
}

template <int D, int MT, int BQ, int PART, class G>
__device__ __forceinline__ void make_dkv(const axl_attn_bwd_args &b, const attn_item &item,
                                         bf16 *shared, float *stats)
{
    constexpr int BN = ATTN_WARPS * MT * 16, LD = attn_tile<D>::LD;
    using stage_of = query_stage<D, BQ>;
    const axl_attn_args &a = b.fwd;
    const key_tile x = key_tile_of(a, item, BN);
    const int warp_row = (int)(threadIdx.x / 32u) * MT * 16;
    const int group = a.n_heads / a.n_kv_heads, last_head = (item.head + 1) * group - 1;
    bf16 *k_tile = shared, *v_tile = k_tile + BN * LD, *q_tiles = v_tile + BN * LD;
    const score_rule rule = rule_of(a);
    float dk[MT][D / 8][4], dv[MT][D / 8][4];
    int stage = 0, head = item.head * group, at = x.queries.begin;

    if (PART & DK)
        attn_clear(dk);
    if (PART & DV)
        attn_clear(dv);
    const bool some = x.queries.begin < x.queries.end;
    if (some) {
        attn_load<BN, D>(k_tile, (const bf16 *)a.k + x.row * a.ldk + (int64_t)item.head * D, a.ldk,
                         x.n);
        attn_load<BN, D>(v_tile, (const bf16 *)a.v + x.row * a.ldv + (int64_t)item.head * D, a.ldv,
                         x.n);
        stage_of::load(b, x, head, at, q_tiles);
        const float stat = stage_of::stat(b, x, head, at);
        if (threadIdx.x < 2 * BQ)
            stats[threadIdx.x] = stat;
        axl_copy_commit();
    }
    while (some && head <= last_head) {
        const bf16 *q_tile = q_tiles + stage * 2 * BQ * LD, *dout_tile = q_tile + BQ * LD;
        const int here = at;
        float s[MT][BQ / 8][4], ds[MT][BQ / 8][4], stat = 0.0f;

        axl_copy_wait<0>();
        __syncthreads(); // this stage is there, and the other was read by all
        at += BQ;
        if (at >= x.queries.end) {
            at = x.queries.begin;
            head++;
        }
        if (head <= last_head) {
            stage_of::load(b, x, head, at, q_tiles + (stage ^ 1) * 2 * BQ * LD);
            stat = stage_of::stat(b, x, head, at);
        }
        axl_copy_commit();
        attn_mul_rows<MT, BQ / 8, D>(s, k_tile + warp_row * LD + attn_left<D>(),
                                     q_tile + attn_right<D>());
        attn_mul_rows<MT, BQ / 8, D>(ds, v_tile + warp_row * LD + attn_left<D>(),
                                     dout_tile + attn_right<D>());
        differentiate_tile(rule, s, ds, stats + stage * 2 * BQ);
        if (here < x.full.begin || min(here + BQ, x.queries.end) > x.full.end)
            mask_queries(a, item.seq, x.first + warp_row, here, x.queries.end, s, ds);
        if (PART & DV)
            attn_mul_columns<MT, BQ / 8, D>(dv, s, dout_tile + attn_left<D>());
        if (PART & DK)
            attn_mul_columns<MT, BQ / 8, D>(dk, ds, q_tile + attn_left<D>());
        stage ^= 1;
        if (threadIdx.x < 2 * BQ)
            stats[stage * 2 * BQ + (int)threadIdx.x] = stat;
    }
    if (PART & DK)
        attn_write((G *)b.dk + x.row * a.ldk + (int64_t)item.head * D, a.ldk, dk, a.scale, warp_row,
                   x.n, b.accumulate_dkv);
    if (PART & DV)
        attn_write((G *)b.dv + x.row * a.ldv + (int64_t)item.head * D, a.ldv, dv, 1.0f, warp_row,
                   x.n, b.accumulate_dkv);
}

template <int D, int MT, int BQ, int PART, class G>
__global__ void __launch_bounds__(ATTN_THREADS, D > 128 ? 1 : 2)
    attn_dkv(axl_attn_bwd_args b, attn_work *work)
{
    AXL_DYNAMIC_SHARED(bf16, shared);
    AXL_SHARED_ARRAY(float, stats, 4 * BQ);
    AXL_SHARED_ARRAY(int, slot, 1);
    attn_item item;

    while (attn_next(work, b.fwd.n_kv_heads, slot, &item))
        make_dkv<D, MT, BQ, PART, G>(b, item, shared, stats);
}

// ---- on the host

template <int D, int MT, int BN, class G>
axl_status run_dq(axl_stream *s, const axl_attn_bwd_args *b)
{
    constexpr int BM = ATTN_WARPS * MT * 16;
    const axl_attn_args *a = &b->fwd;
    attn_work *work = (attn_work *)s->device->workspace;
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_attn_plan(s, work, a->cu_seqlens_q, a->n_seqs, BM, true));
    AXL_TRY(axl_cuda_launch(
        s, "attn_dq", attn_dq<D, MT, BN, G>,
        attn_grid(s, attn_most_tiles(a->n_seqs, a->max_seqlen_q, BM) * a->n_heads),
        dim3(ATTN_THREADS), (size_t)(attn_tile_bytes<2 * BM + 4 * BN, D>()), *b, work));

out:
    return status;
}

template <int D, int MT, int BQ, int PART, class G>
axl_status run_dkv(axl_stream *s, const axl_attn_bwd_args *b)
{
    constexpr int BN = ATTN_WARPS * MT * 16;
    const axl_attn_args *a = &b->fwd;
    attn_work *work = (attn_work *)s->device->workspace;
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_attn_plan(s, work, a->cu_seqlens_k, a->n_seqs, BN, false));
    AXL_TRY(axl_cuda_launch(
        s, "attn_dkv", attn_dkv<D, MT, BQ, PART, G>,
        attn_grid(s, attn_most_tiles(a->n_seqs, a->max_seqlen_k, BN) * a->n_kv_heads),
        dim3(ATTN_THREADS), (size_t)(attn_tile_bytes<2 * BN + 4 * BQ, D>()), *b, work));

out:
    return status;
}

template <class G> axl_status run(axl_stream *s, const axl_attn_bwd_args *b)
{
    axl_status status = AXL_OK;

    switch (b->fwd.head_dim) {
    case 64:
        AXL_TRY((run_dq<64, 2, 32, G>(s, b)));
        AXL_TRY((run_dkv<64, 1, 64, DK_DV, G>(s, b)));
        break;
    case 96:
        AXL_TRY((run_dq<96, 1, 32, G>(s, b)));
        AXL_TRY((run_dkv<96, 1, 32, DK_DV, G>(s, b)));
        break;
    case 128:
        AXL_TRY((run_dq<128, 1, 32, G>(s, b)));
        AXL_TRY((run_dkv<128, 1, 32, DK_DV, G>(s, b)));
        break;
    default:
        AXL_TRY((run_dq<256, 1, 16, G>(s, b)));
        AXL_TRY((run_dkv<256, 1, 16, DV, G>(s, b)));
        AXL_TRY((run_dkv<256, 1, 16, DK, G>(s, b)));
    }

out:
    return status;
}

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
    return b->dtype_grad == AXL_F32 ? run<float>(s, b) : run<bf16>(s, b);
}
