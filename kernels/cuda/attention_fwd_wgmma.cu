// Tiled attention, forward, on sm_90a, by products of warpgroups (Shah et al. 2024, arXiv:2407.08608).
//
// A block is made as in attention_bwd_wgmma.cu: two warpgroups multiply, 64 query rows each, and one copies. Keys and values come
// in stages. What a warpgroup does in a step: it queues this step's scores, and behind them the sum with the weights of the
// step before, which are the left factor in its registers; it makes this step's weights while the sum goes on; then it brings
// the sum to the new top. So a stage has the keys of a step and the values of the step before: both are free at its end, and two
// stages are enough. An item takes a step more than its keys do.
//
// The two warpgroups queue their products in turns: while one makes weights the tensor cores have the other's products.
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/attention_stages.cuh"

#ifdef AXL_CUDA_EMU
#define AXL_CUDA_SM90A 1 // else kernels/CMakeLists.txt says that there is code for sm_90a
#endif

namespace
{

template <int D> using fwd_shape = group_shape<D, D == 256 ? 64 : 128, D == 256 ? 2 : 3, 1, 0>;

// The steps of a tile of queries: keys of a step, values of the one before.
template <class shape> struct fwd_steps : seen_keys<shape> {
    using seen_keys<shape>::x;
    using seen_keys<shape>::at;

    __device__ __forceinline__ fwd_steps(const axl_attn_args &a, const attn_item &item)
        : seen_keys<shape>(a, item)
    {
        if (!has_keys())
            at = x.keys.end + shape::STEP;
    }
    __device__ __forceinline__ bool is_first() const { return at == x.keys.begin; }
    __device__ __forceinline__ bool has_keys() const { return at < x.keys.end; }
    __device__ __forceinline__ bool more() const { return at - shape::STEP < x.keys.end; }

    __device__ __forceinline__ void copy_held(const axl_attn_args &a, const attn_item &item,
                                              char *shared, int thread) const
    {
        const int64_t q = x.row * a.ldq + (int64_t)item.head * shape::D;

        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared, (const bf16 *)a.q + q, a.ldq, x.n, thread);
    }

    __device__ __forceinline__ void copy_step(const axl_attn_args &a, const attn_item &item,
                                              char *shared, int stage, int thread) const
    {
        char *tiles = shared + shape::FIRST + stage * 2 * shape::MOVING;

        if (has_keys())
            copy_keys<shape>(a, item, a.k, a.ldk, tiles, at, x.keys.end, thread);
        if (at > x.keys.begin)
            copy_keys<shape>(a, item, a.v, a.ldv, tiles + shape::MOVING, at - shape::STEP,
                             x.keys.end, thread);
    }
};

// Whose turn it is to queue products. Group 0 begins.
template <class shape> struct group_order {
    int group;

    __device__ __forceinline__ explicit group_order(int g) : group(g)
    {
        if (group == 1)
            end();
    }
    __device__ __forceinline__ void begin() const
    {
        axl_barrier_wait(shape::ORDER + group, MULTIPLIERS);
    }
    __device__ __forceinline__ void end() const
    {
        axl_barrier_arrive(shape::ORDER + 1 - group, MULTIPLIERS);
    }
    __device__ __forceinline__ void finish() const // whoever comes to a barrier is waited for
    {
        if (group == 0)
            begin();
    }
};

// Scores of a step become weights. Gives what the rows' sums so far are to be multiplied by.
template <int NT>
__device__ __forceinline__ void make_weights(const score_rule &rule, row_state<1> &r,
                                             float (&s)[1][NT][4], float (&keep)[2])
{
#pragma unroll
    for (int half = 0; half < 2; half++)
        keep[half] = soften_row(r, s, rule.to_log2, 0, half);
}

template <int NT>
__device__ __forceinline__ void cap_quickly(const score_rule &rule, float (&s)[NT][4])
{
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n][i] = rule.cap - quotient(2.0f * rule.cap, axl_exp2(s[n][i] * rule.cap_by) + 1.0f);
}

template <int ND> __device__ __forceinline__ void rescale(float (&o)[ND][4], const float (&keep)[2])
{
#pragma unroll
    for (int n = 0; n < ND; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            o[n][i] *= keep[i / 2];
}

template <int D, bool CAP>
__device__ __forceinline__ void attend(const axl_attn_args &a, const attn_work *work, char *shared)
{
    typedef fwd_shape<D> shape;
    constexpr int NT = shape::STEP / 8;
    const int group = warpgroup(), warp_row = (int)(threadIdx.x / 32u) * 16;
    const char *q = shared + group * GROUP_BYTES;
    const score_rule rule = rule_of(a);
    const group_order<shape> order(group);
    stage_ring<shape> ring;
    attn_item item;
    unsigned i;

    while (item_of(work, a.n_heads, i = next_item<shape>(shared, group), &item)) {
        fwd_steps<shape> at(a, item);
        float o[1][D / 8][4], s[1][NT][4], keep[2];
        unsigned p[NT / 2][4] = {};
        row_state<1> r;

        attn_clear(o);
        begin_rows(r);
        if (at.more()) {
            const char *keys = ring.wait(shared, group);
            order.begin();
            multiply_rows<shape>(s[0], q, keys);
            order.end();
            axl_wgmma_wait<0>(s[0]);
        } else {
            release_held<shape>();
        }
        while (at.more()) {
            if (at.is_last())
                release_held<shape>();
            if constexpr (CAP)
                cap_quickly(rule, s[0]);
            if (at.is_border()) {
                (void)item_of(work, a.n_heads, i, &item);
                at.mask(a, item, warp_row, s[0], -INFINITY);
            }
            make_weights(rule, r, s, keep);
            if (!at.is_first()) { // without the branch ptxas would wait before the weights are made
                axl_wgmma_wait<0>(o[0]);
                axl_wgmma_hold(p);
                rescale(o[0], keep);
            }
            ring.release();
            pack_left(p, s[0], 0);
            at.next();
            const char *keys = ring.wait(shared, group);
            order.begin();
            if (!at.has_keys()) {
                multiply_columns<shape>(o[0], p, keys + shape::MOVING, 0);
                order.end();
                axl_wgmma_wait<0>(o[0]);
                axl_wgmma_hold(p);
                ring.release();
                break;
            }
            multiply_rows<shape>(s[0], q, keys);
            multiply_columns<shape>(o[0], p, keys + shape::MOVING, 0);
            order.end();
            axl_wgmma_wait<1>(s[0]);
        }
        (void)item_of(work, a.n_heads, i, &item);
        write_rows<D>(a, attn_query_tile_of(a, item, HELD_ROWS), item.head, r, o, warp_row);
    }
    order.finish();
}

template <int D, bool CAP>
__global__ void __launch_bounds__(THREADS, 1) attn_fwd_wgmma(axl_attn_args a, attn_work *work)
{
#if AXL_WGMMA
    AXL_WGMMA_SHARED(char, shared);
    if (threadIdx.x < MULTIPLIERS) {
        axl_registers_take<MULTIPLIER_REGISTERS>();
        attend<D, CAP>(a, work, shared);
    } else {
        axl_registers_give<COPIER_REGISTERS>();
        copy_items<fwd_shape<D>, fwd_steps<fwd_shape<D>>>(a, work, a.n_heads, shared);
    }
#else
    __trap();
#endif
}

// ---- on the host

template <int D, bool CAP> axl_status run(axl_stream *s, const axl_attn_args *a)
{
    attn_work *work = attn_workspace(s);
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_attn_plan(s, work, a->cu_seqlens_q, a->n_seqs, HELD_ROWS, true));
    AXL_TRY(axl_cuda_launch(s, "attn_fwd_wgmma", attn_fwd_wgmma<D, CAP>, group_grid(s, a, false),
                            dim3(THREADS), (size_t)fwd_shape<D>::BYTES, *a, work));

out:
    return status;
}

template <bool CAP> axl_status run_width(axl_stream *s, const axl_attn_args *a)
{
    return a->head_dim == 64    ? run<64, CAP>(s, a)
           : a->head_dim == 128 ? run<128, CAP>(s, a)
                                : run<256, CAP>(s, a);
}

} // namespace

bool axl_cuda_attn_fwd_is_wgmma(const axl_stream *s, const axl_attn_args *a)
{
#ifdef AXL_CUDA_SM90A
    return axl_cuda_has_wgmma(s->device) && a->head_dim != 96 && axl_cuda_attn_is_tiled(s, a);
#else
    (void)s;
    (void)a;
    return false;
#endif
}

axl_status axl_cuda_attn_fwd_wgmma(axl_stream *s, const axl_attn_args *a)
{
    return a->softcap > 0.0f ? run_width<true>(s, a) : run_width<false>(s, a);
}
