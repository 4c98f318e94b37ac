// Tiled attention, backward, on sm_90a: the two passes of attention_bwd.cu by products of warpgroups.
//
// A block has two warpgroups that multiply and one that copies. A tile of 128 rows stays (queries for dq, keys for dk and dv),
// 64 rows of it for each of the two; tiles of the other side come in stages, through barriers: a stage is full when its
// copies have arrived, empty when both have multiplied it. The copiers run ahead across the end of an item of work;
// where there are three stages they begin the copies of one before they wait for those of the one before it.
//
// To a warpgroup a step is scores and dout . v from shared memory, then sums whose left factor is in its registers. Products are
// queued: weights are made while dout . v is multiplied. Where there are registers (DEEP), gradients are made while the first
// sum is, and the last sum of a step goes on beside the next step's scores. What one warpgroup leaves of the tensor
// cores' time the other takes.
//
// Tiles lie in rows of 128 bytes, which products read along k (scores) and across k (sums): wgmma.cuh.
#include "kernels/cuda/attention_bwd_wgmma.cuh"

#ifdef AXL_CUDA_EMU
#define AXL_CUDA_SM90A 1 // else kernels/CMakeLists.txt says that there is code for sm_90a
#endif

namespace
{

// ---- dq: queries stay, keys come

template <int D, bool CAP, class G>
__device__ __forceinline__ void multiply_keys(const axl_attn_bwd_args &b, const attn_work *work,
                                              char *shared)
{
    typedef dq_shape<D, CAP> shape;
    constexpr int NT = shape::STEP / 8;
    const axl_attn_args &a = b.fwd;
    const int group = warpgroup(), warp_row = (int)(threadIdx.x / 32u) * 16;
    const score_rule rule = rule_of(a);
    stage_ring<shape> ring;
    attn_item item;
    unsigned i;

    while (item_of(work, a.n_heads, i = next_item<shape>(shared, group), &item)) {
        query_steps<shape> at(b, item);
        float dq[1][D / 8][4], s[1][NT][4], dp[1][NT][4];
        unsigned ds[NT / 2][4] = {};
        tile_stats<true> stats;

        attn_clear(dq);
        stats.read_rows((const float *)(shared + shape::STATS), warp_row);
        if (!at.more())
            release_held<shape>();
        for (; at.more(); at.next()) {
            const char *keys = ring.wait(shared, group), *values = keys + shape::MOVING;
            multiply_rows<shape>(s[0], shared + group * GROUP_BYTES, keys);
            multiply_rows<shape>(dp[0], shared + shape::HELD + group * GROUP_BYTES, values);
            axl_wgmma_wait<1>(s[0]); // and all of the step before
            if constexpr (shape::DEEP) {
                axl_wgmma_hold(ds);
                ring.release_before();
            }
            if constexpr (CAP)
                axl_wgmma_wait<0>(dp[0]);
            stats.weights<CAP>(rule, s[0], dp[0]);
            if (at.is_border()) {
                (void)item_of(work, a.n_heads, i, &item);
                at.mask(a, item, warp_row, s[0], 0.0f);
            }
            axl_wgmma_wait<0>(dp[0]);
            if (at.is_last())
                release_held<shape>();
            stats.gradients<CAP, NT>(0, s[0], dp[0]);
            add_columns<shape>(dq[0], ds, dp[0], keys, 0);
            if constexpr (!shape::DEEP) {
                axl_wgmma_end(dq[0]);
                axl_wgmma_hold(ds);
                ring.release();
            }
        }
        if constexpr (shape::DEEP) {
            axl_wgmma_end(dq[0]);
            axl_wgmma_hold(ds);
            ring.release_last();
        }
        (void)item_of(work, a.n_heads, i, &item);
        const attn_query_tile x = attn_query_tile_of(a, item, HELD_ROWS);
        attn_write((G *)b.dq + x.row * a.ldq + (int64_t)item.head * D, a.ldq, dq, a.scale, warp_row,
                   x.n, b.accumulate_dq);
    }
}

template <int D, bool CAP, class G>
__global__ void __launch_bounds__(THREADS, 1) attn_dq_wgmma(axl_attn_bwd_args b, attn_work *work)
{
#if AXL_WGMMA
    AXL_WGMMA_SHARED(char, shared);
    if (threadIdx.x < MULTIPLIERS) {
        axl_registers_take<MULTIPLIER_REGISTERS>();
        multiply_keys<D, CAP, G>(b, work, shared);
    } else {
        axl_registers_give<COPIER_REGISTERS>();
        copy_items<dq_shape<D, CAP>, query_steps<dq_shape<D, CAP>>>(b, work, b.fwd.n_heads, shared);
    }
#else
    __trap();
#endif
}

// ---- dk, dv: keys stay, queries of the heads that share them come

template <int D, bool CAP, class G>
__device__ __forceinline__ void multiply_queries(const axl_attn_bwd_args &b, const attn_work *work,
                                                 char *shared)
{
    typedef dkv_shape<D> shape;
    constexpr int NT = shape::STEP / 8;
    const axl_attn_args &a = b.fwd;
    const int group = warpgroup(), warp_row = (int)(threadIdx.x / 32u) * 16;
    const score_rule rule = rule_of(a);
    stage_ring<shape> ring;
    attn_item item;
    unsigned i;

    while (item_of(work, a.n_kv_heads, i = next_item<shape>(shared, group), &item)) {
        key_steps<shape> at(b, item);
        float dk[1][D / 8][4], dv[1][D / 8][4], s[1][NT][4], dp[1][NT][4];
        unsigned p[2][NT / 4][4], ds[2][NT / 4][4] = {}; // halves

        attn_clear(dk);
        attn_clear(dv);
        if (!at.more())
            release_held<shape>();
        for (; at.more(); at.next()) {
            const char *queries = ring.wait(shared, group), *douts = queries + shape::MOVING;
            tile_stats<false> stats;
            stats.read_columns((const float *)(shared + shape::STATS) +
                                   ring.stage() * 2 * shape::STEP,
                               shape::STEP);
            multiply_rows<shape>(s[0], shared + group * GROUP_BYTES, queries);
            multiply_rows<shape>(dp[0], shared + shape::HELD + group * GROUP_BYTES, douts);
            axl_wgmma_wait<1>(s[0]); // and all of the step before
            if constexpr (shape::DEEP) {
                hold(ds);
                ring.release_before();
            }
            if constexpr (CAP)
                axl_wgmma_wait<0>(dp[0]);
            stats.weights<CAP>(rule, s[0], dp[0]);
            if (at.is_border()) {
                (void)item_of(work, a.n_kv_heads, i, &item);
                at.mask(a, item, warp_row, s[0]);
            }
            // sums by halves: so no more registers are needed at once than scores and dout . v take
            if constexpr (shape::DEEP) {
                add_columns<shape>(dv[0], p[0], s[0], douts, 0);
                add_columns<shape>(dv[0], p[1], s[0], douts, NT / 2);
                axl_wgmma_wait<2>(dp[0]);
            } else {
                axl_wgmma_wait<0>(dp[0]);
            }
            if (at.is_last())
                release_held<shape>();
#pragma unroll
            for (int h = 0; h < 2; h++) {
                stats.gradients<CAP, NT / 2>(h * NT / 2, s[0], dp[0]);
                if constexpr (!shape::DEEP)
                    add_columns<shape>(dv[0], p[h], s[0], douts, h * NT / 2);
                add_columns<shape>(dk[0], ds[h], dp[0], queries, h * NT / 2);
            }
            axl_wgmma_wait<shape::DEEP ? 2 : 0>(dv[0]);
            hold(p);
            if constexpr (!shape::DEEP) {
                axl_wgmma_end(dk[0]);
                hold(ds);
                ring.release();
            }
        }
        if constexpr (shape::DEEP) {
            axl_wgmma_end(dk[0]);
            hold(ds);
            ring.release_last();
        }
        (void)item_of(work, a.n_kv_heads, i, &item);
        const key_tile x = key_tile_of(a, item, HELD_ROWS);
        attn_write((G *)b.dk + x.row * a.ldk + (int64_t)item.head * D, a.ldk, dk, a.scale, warp_row,
                   x.n, b.accumulate_dkv);
        attn_write((G *)b.dv + x.row * a.ldv + (int64_t)item.head * D, a.ldv, dv, 1.0f, warp_row,
                   x.n, b.accumulate_dkv);
    }
}

template <int D, bool CAP, class G>
__global__ void __launch_bounds__(THREADS, 1) attn_dkv_wgmma(axl_attn_bwd_args b, attn_work *work)
{
#if AXL_WGMMA
    AXL_WGMMA_SHARED(char, shared);
    if (threadIdx.x < MULTIPLIERS) {
        axl_registers_take<MULTIPLIER_REGISTERS>();
        multiply_queries<D, CAP, G>(b, work, shared);
    } else {
        axl_registers_give<COPIER_REGISTERS>();
        copy_items<dkv_shape<D>, key_steps<dkv_shape<D>>>(b, work, b.fwd.n_kv_heads, shared);
    }
#else
    __trap();
#endif
}

// ---- on the host

template <int D, bool CAP, class G> axl_status run(axl_stream *s, const axl_attn_bwd_args *b)
{
    const axl_attn_args *a = &b->fwd;
    attn_work *work = (attn_work *)s->device->workspace;
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_attn_plan(s, work, a->cu_seqlens_q, a->n_seqs, HELD_ROWS, true));
    AXL_TRY(axl_cuda_launch(s, "attn_dq_wgmma", attn_dq_wgmma<D, CAP, G>, group_grid(s, a, false),
                            dim3(THREADS), (size_t)dq_shape<D, CAP>::BYTES, *b, work));
    AXL_TRY(axl_cuda_attn_plan(s, work, a->cu_seqlens_k, a->n_seqs, HELD_ROWS, false));
    AXL_TRY(axl_cuda_launch(s, "attn_dkv_wgmma", attn_dkv_wgmma<D, CAP, G>, group_grid(s, a, true),
                            dim3(THREADS), (size_t)dkv_shape<D>::BYTES, *b, work));

out:
    return status;
}

template <class G> axl_status run_width(axl_stream *s, const axl_attn_bwd_args *b)
{
    const bool cap = b->fwd.softcap > 0.0f;

    return b->fwd.head_dim == 64 ? cap ? run<64, true, G>(s, b) : run<64, false, G>(s, b)
           : cap ? run<128, true, G>(s, b)
                                 : run<128, false, G>(s, b);
}

} // namespace

bool axl_cuda_attn_bwd_is_wgmma(const axl_stream *s, const axl_attn_bwd_args *b)
{
#ifdef AXL_CUDA_SM90A
    return axl_cuda_has_wgmma(s->device) && (b->fwd.head_dim == 64 || b->fwd.head_dim == 128) &&
           axl_cuda_attn_bwd_is_tiled(s, b);
#else
    (void)s;
    (void)b;
    return false;
#endif
}

axl_status axl_cuda_attn_bwd_wgmma(axl_stream *s, const axl_attn_bwd_args *b)
{
    return b->dtype_grad == AXL_F32 ? run_width<float>(s, b) : run_width<bf16>(s, b);
}
