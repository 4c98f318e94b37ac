// Tiled attention, forward (Dao 2023, arXiv:2307.08691): a block has 64 or 128 query rows of one head and goes over the keys
// that they may see, with the softmax kept up in exp2.
//
// One tile of K and one of V lie in shared memory. While the scores are made the tile of V is on its way, while they
// are applied to V the next tile of K is: a tile is never waited for from its start, and two blocks fit on a
// multiprocessor of every chip.
#include "kernels/cuda/attention_tile.cuh"

namespace
{

// Rows of the warp: 2 * MT a lane.
template <int MT> struct row_state {
    float top[MT][2], sum[MT][2]; // top in units of log 2, sum over this lane's columns alone
};

template <int MT> __device__ __forceinline__ void begin_rows(row_state<MT> &r)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            r.top[m][half] = -INFINITY;
            r.sum[m][half] = 0.0f;
        }
}

// Scores that are not seen become -inf. first_row: the warp's in the sequence; begin, end: the keys. Most tiles need no
// mask, so what the sequence is like is read again here rather than kept in registers.
template <int MT, int NT>
__device__ __forceinline__ void mask_scores(const axl_attn_args &a, int seq, int first_row,
                                            int begin, int end, float (&s)[MT][NT][4])
{
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);
    int position[MT][2]; // a row beyond the sequence gets the last one's

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            position[m][half] =
                queries.position(min(first_row + m * 16 + half * 8 + g, queries.n - 1));
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int key = begin + n * 8 + 2 * t + i;
            const bool there = key < end;
            const int key_position = there ? keys.position(key) : 0;
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    if (!there || !attn_sees(a, keys.free, position[m][half], key_position))
                        s[m][n][2 * half + i] = -INFINITY;
        }
}

template <int MT, int NT>
__device__ __forceinline__ void cap_scores(const axl_attn_args &a, float (&s)[MT][NT][4])
{
    const float by = 2.0f * ATTN_LOG2E * a.scale / a.softcap;

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[m][n][i] = attn_cap(s[m][n][i], a.softcap, by);
}

// Scores become weights relative to the new top; what was summed so far is brought to it.
template <int MT, int NT, int ND>
__device__ __forceinline__ void soften(row_state<MT> &r, float (&s)[MT][NT][4],
                                       float (&o)[MT][ND][4], float to_log2)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = s[m][0][2 * half];
#pragma unroll
            for (int n = 0; n < NT; n++)
                top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
            top = fmaxf(r.top[m][half], top * to_log2);
            const float base = top == -INFINITY ? 0.0f : top; // nothing seen yet: weights are 0
            const float keep = axl_exp2(r.top[m][half] - base);
            float sum = 0.0f;
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    s[m][n][i] = axl_exp2(s[m][n][i] * to_log2 - base);
                    sum += s[m][n][i];
                }
            r.sum[m][half] = r.sum[m][half] * keep + sum;
            r.top[m][half] = top;
#pragma unroll
            for (int n = 0; n < ND; n++) {
                o[m][n][2 * half] *= keep;
                o[m][n][2 * half + 1] *= keep;
            }
        }
}

// Divides by the sums and writes lse.
template <int MT, int ND>
__device__ __forceinline__ void end_rows(const row_state<MT> &r, float (&o)[MT][ND][4], float *lse,
                                         int first, int n_rows)
{
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = r.sum[m][half];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            const float by = sum > 0.0f ? 1.0f / sum : 0.0f;
#pragma unroll
            for (int n = 0; n < ND; n++) {
                o[m][n][2 * half] *= by;
                o[m][n][2 * half + 1] *= by;
            }
            const int row = first + m * 16 + half * 8 + g;
            if (t == 0 && row < n_rows)
                lse[row] = sum > 0.0f ? r.top[m][half] * ATTN_LN2 + logf(sum) : -INFINITY;
        }
}

template <int D, int MT, int NT>
__device__ __forceinline__ void write_rows(const axl_attn_args &a, const attn_query_tile &x,
                                           int head, const row_state<MT> &r, float (&o)[MT][NT][4],
                                           int warp_row)
{
    const int64_t at = x.row * a.ldo + (int64_t)head * D;

    end_rows(r, o, (float *)a.lse + (int64_t)head * a.cu_seqlens_q[a.n_seqs] + x.row, warp_row,
             x.n);
    if (a.out_f32)
        attn_write((float *)a.out + at, a.ldo, o, 1.0f, warp_row, x.n, false);
    else
        attn_write((bf16 *)a.out + at, a.ldo, o, 1.0f, warp_row, x.n, false);
}

template <int D, int MT, int BN>
__device__ __forceinline__ void attend(const axl_attn_args &a, const attn_item &item, bf16 *shared)
{
    constexpr int BM = ATTN_WARPS * MT * 16, LD = attn_tile<D>::LD;
    const attn_query_tile x = attn_query_tile_of(a, item, BM);
    const int warp_row = (int)(threadIdx.x / 32u) * MT * 16;
    const int64_t head_kv = item.head / (a.n_heads / a.n_kv_heads);
    const int64_t key_row = a.cu_seqlens_k[item.seq] + x.keys.begin;
    const bf16 *k = (const bf16 *)a.k + key_row * a.ldk + head_kv * D;
    const bf16 *v = (const bf16 *)a.v + key_row * a.ldv + head_kv * D;
    bf16 *q_tile = shared, *k_tile = q_tile + BM * LD, *v_tile = k_tile + BN * LD;
    const float to_log2 = a.softcap > 0.0f ? ATTN_LOG2E : a.scale * ATTN_LOG2E;
    float o[MT][D / 8][4];
    row_state<MT> r;

    begin_rows(r);
    attn_clear(o);
    if (x.keys.begin < x.keys.end) {
        attn_load<BM, D>(q_tile, (const bf16 *)a.q + x.row * a.ldq + (int64_t)item.head * D, a.ldq,
                         x.n);
        attn_load<BN, D>(k_tile, k, a.ldk, x.keys.end - x.keys.begin);
        axl_copy_commit();
    }
    for (int at = x.keys.begin; at < x.keys.end; at += BN) {
        float s[MT][BN / 8][4];

        axl_copy_wait<0>();
        __syncthreads(); // K is there, and V of the step before was read by all
        attn_load<BN, D>(v_tile, v, a.ldv, x.keys.end - at);
        axl_copy_commit();
        v += BN * a.ldv;
        attn_mul_rows<MT, BN / 8, D>(s, q_tile + warp_row * LD + attn_left<D>(),
                                     k_tile + attn_right<D>());
        if (a.softcap > 0.0f)
            cap_scores(a, s);
        if (at < x.full.begin || at + BN > x.full.end)
            mask_scores(a, item.seq, x.first + warp_row, at, x.keys.end, s);
        soften(r, s, o, to_log2);
        axl_copy_wait<0>();
        __syncthreads(); // V is there, and K was read by all
        k += BN * a.ldk;
        if (at + BN < x.keys.end)
            attn_load<BN, D>(k_tile, k, a.ldk, x.keys.end - at - BN);
        axl_copy_commit();
        attn_mul_columns<MT, BN / 8, D>(o, s, v_tile + attn_left<D>());
    }
    write_rows<D>(a, x, item.head, r, o, warp_row);
}

template <int D, int MT, int BN>
__global__ void __launch_bounds__(ATTN_THREADS, 2) attn_fwd(axl_attn_args a, attn_work *work)
{
    AXL_DYNAMIC_SHARED(bf16, shared);
    AXL_SHARED_ARRAY(int, slot, 1);
    attn_item item;

    while (attn_next(work, a.n_heads, slot, &item))
        attend<D, MT, BN>(a, item, shared);
}

template <int D, int MT, int BN> axl_status run(axl_stream *s, const axl_attn_args *a)
{
    constexpr int BM = ATTN_WARPS * MT * 16;
    attn_work *work = (attn_work *)s->device->workspace;
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_attn_plan(s, work, a->cu_seqlens_q, a->n_seqs, BM, true));
    AXL_TRY(
        axl_cuda_launch(s, "attn_fwd", attn_fwd<D, MT, BN>,
                        attn_grid(s, attn_most_tiles(a->n_seqs, a->max_seqlen_q, BM) * a->n_heads),
                        dim3(ATTN_THREADS), (size_t)(attn_tile_bytes<BM + 2 * BN, D>()), *a, work));

out:
    return status;
}

} // namespace

bool axl_cuda_attn_is_tiled(const axl_stream *s, const axl_attn_args *a)
{
    const int d = a->head_dim;
    const int64_t tiles = attn_most_tiles(a->n_seqs, a->max_seqlen_q, 64) +
                          attn_most_tiles(a->n_seqs, a->max_seqlen_k, 64);

    return a->dtype == AXL_BF16 && a->v_head_dim == d &&
           (d == 64 || d == 96 || d == 128 || d == 256) && a->scale > 0.0f && a->n_seqs > 0 &&
           attn_aligned(a->q, a->ldq) && attn_aligned(a->k, a->ldk) && attn_aligned(a->v, a->ldv) &&
           attn_aligned(a->out, a->ldo) &&
           2 * sizeof(attn_work) + 256 + sizeof(int2) * (size_t)tiles <= s->device->workspace_bytes;
}

axl_status axl_cuda_attn_fwd_tiled(axl_stream *s, const axl_attn_args *a)
{
    return a->head_dim == 64    ? run<64, 2, 64>(s, a)
           : a->head_dim == 96  ? run<96, 2, 32>(s, a)
           : a->head_dim == 128 ? run<128, 2, 32>(s, a)
                                : run<256, 1, 32>(s, a);
}
