// Tiled attention, forward (Dao 2023, arXiv:2307.08691): a block has 64 or 128 query rows of one head and goes over the keys
// that they may see, with the softmax kept up in exp2.
//
// One tile of K and one of V lie in shared memory. While the scores are made the tile of V is on its way, while they
// are applied to V the next tile of K is: a tile is never waited for from its start, and two blocks fit on a
// multiprocessor of every chip.
#ifndef AXL_KERNELS_CUDA_ATTENTION_FWD_CUH
#define AXL_KERNELS_CUDA_ATTENTION_FWD_CUH

#include "kernels/cuda/attention_rows.cuh"

namespace
{

template <class Math, int D, int MT, int BN>
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
        if (at == x.keys.begin)
            Math::template arrived<BM, D>(q_tile);
        Math::template arrived<BN, D>(k_tile);
        __syncthreads(); // K is there, and V of the step before was read by all
        attn_load<BN, D>(v_tile, v, a.ldv, x.keys.end - at);
        axl_copy_commit();
        v += BN * a.ldv;
        attn_mul_rows<MT, BN / 8, D, Math>(s, q_tile + warp_row * LD + attn_left<D>(),
                                           k_tile + attn_right<D>());
        if (a.softcap > 0.0f)
            cap_scores(s, a.softcap, 2.0f * ATTN_LOG2E * a.scale / a.softcap);
        if (at < x.full.begin || at + BN > x.full.end)
            mask_scores(a, item.seq, x.first + warp_row, at, x.keys.end, s);
        soften(r, s, o, to_log2);
        axl_copy_wait<0>();
        Math::template arrived<BN, D>(v_tile);
        __syncthreads(); // V is there, and K was read by all
        k += BN * a.ldk;
        if (at + BN < x.keys.end)
            attn_load<BN, D>(k_tile, k, a.ldk, x.keys.end - at - BN);
        axl_copy_commit();
        attn_mul_columns<MT, BN / 8, D, Math>(o, s, v_tile + attn_left<D>());
    }
    write_rows<D>(a, x, item.head, r, o, warp_row);
}

template <class Math, int D, int MT, int BN>
__global__ void __launch_bounds__(ATTN_THREADS, 2) attn_fwd(axl_attn_args a, attn_work *work)
{
    AXL_DYNAMIC_SHARED(bf16, shared);
    AXL_SHARED_ARRAY(int, slot, 1);
    attn_item item;

    while (attn_next(work, a.n_heads, slot, &item))
        attend<Math, D, MT, BN>(a, item, shared);
}

template <class Math, int D, int MT, int BN> axl_status run(axl_stream *s, const axl_attn_args *a)
{
    constexpr int BM = ATTN_WARPS * MT * 16, bytes = attn_tile_bytes<BM + 2 * BN, D>();

    return attn_run(s, "attn_fwd", attn_fwd<Math, D, MT, BN>, a,
                    {false, BM, a->n_heads, bytes, attn_workspace(s)}, *a);
}

template <class Math> axl_status run_width(axl_stream *s, const axl_attn_args *a)
{
    return a->head_dim == 64    ? run<Math, 64, 2, 64>(s, a)
           : a->head_dim == 96  ? run<Math, 96, 2, 32>(s, a)
           : a->head_dim == 128 ? run<Math, 128, 2, 32>(s, a)
                                : run<Math, 256, 1, 32>(s, a);
}

} // namespace

#endif
