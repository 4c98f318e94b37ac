// The gradients by tiles: how scores become weights; the pass for dk and dv, a tile of keys and the queries that come to it; and
// the tiles by width.
//
// What is its own to a kind of attention it says in a struct (attention_bwd.cu, attention_eager_tile.cu): args, which hold
// those of `bwd`; SCORES, whether weights are made of q . k, or else `take` fetches them; `differentiate`, from weights
// (or q . k) and dout . v to weights and the gradients by q . k; scale, what sums of those lack; its pass for dq.
#ifndef AXL_KERNELS_CUDA_ATTENTION_KEYS_CUH
#define AXL_KERNELS_CUDA_ATTENTION_KEYS_CUH

#include "kernels/cuda/attention_tile.cuh"

namespace
{

// What a launch makes: both, or one of them where both do not fit into registers.
enum part { DK = 1, DV = 2, DK_DV = 3 };

// What turns products of tiles into weights.
struct score_rule {
    float to_log2, cap, cap_by; // cap 0: none
};

__device__ __forceinline__ score_rule rule_of(const axl_attn_args &a)
{
    return {a.softcap > 0.0f ? ATTN_LOG2E : a.scale * ATTN_LOG2E, a.softcap,
            a.softcap > 0.0f ? 2.0f * ATTN_LOG2E * a.scale / a.softcap : 0.0f};
}

// lse in units of log 2; of a row that is not there, or sees nothing: its weights must be 0.
__device__ __forceinline__ float lse_of(float lse)
{
    return lse == -INFINITY ? INFINITY : lse * ATTN_LOG2E;
}

// ---- what a block shares beside its tiles
//
// Chips with 99 KiB for a block hold the tiles of 256 columns and not a byte more: there it stands in the padding of the
// tiles' rows, which nothing reads or writes.

// The slot of the work: behind the last of `rows` rows.
template <int D, int rows> __device__ __forceinline__ int *slot_of(bf16 *shared)
{
    if constexpr (D > 128) {
        return reinterpret_cast<int *>(shared + rows * attn_tile<D>::LD - 8);
    } else {
        AXL_SHARED_ARRAY(int, slot, 1);
        return slot;
    }
}

// n statistics; number i is at stat_place<D>(i).
template <int D, int n> __device__ __forceinline__ float *stats_of(bf16 *shared)
{
    if constexpr (D > 128) {
        return reinterpret_cast<float *>(shared + D);
    } else {
        AXL_SHARED_ARRAY(float, stats, n);
        return stats;
    }
}

template <int D> __device__ __forceinline__ int stat_place(int i)
{
    return D > 128 ? i / 4 * (attn_tile<D>::LD / 2) + i % 4 : i; // four a row
}

// ---- dk, dv

// Where a tile of keys lies, and its queries.
struct key_tile {
    int64_t row;        // its first among all rows
    int first, n;       // its first row in the sequence, how many
    int64_t query_row;  // of the sequence's first query among all
    attn_range queries; // that see some of its rows
    attn_range full;    // that see all of them
};

__device__ __forceinline__ key_tile key_tile_of(const axl_attn_args &a, const attn_item &item,
                                                int bn)
{
    const attn_rows queries = attn_queries(a, item.seq), keys = attn_keys(a, item.seq);
    const int begin = item.tile * bn, n = min(bn, keys.n - begin);
    const int first = keys.position(begin), last = keys.position(begin + n - 1);

    return {keys.begin + begin,
            begin,
            n,
            queries.begin,
            attn_queries_seeing(a, queries, first, last),
            attn_queries_seeing_all(a, queries, first, last)};
}

// A step of the pass: queries at .. of a head. warp_row: the warp's first key in the tile.
struct key_step {
    int seq, head, warp_row, at;
};

// Queries, in steps of BQ, of the heads that share a key head.
template <int D, int BQ> struct query_stage {
    int head, at; // of the step

    // Begins to copy q and dout.
    static __device__ __forceinline__ void load(const axl_attn_bwd_args &b, const key_tile &x,
                                                int head, int at, bf16 *tiles)
    {
        const axl_attn_args &a = b.fwd;
        const int64_t row = x.query_row + at;

        attn_load<BQ, D>(tiles, (const bf16 *)a.q + row * a.ldq + (int64_t)head * D, a.ldq,
                         x.queries.end - at);
        attn_load<BQ, D>(tiles + BQ * attn_tile<D>::LD,
                         (const bf16 *)b.dout + row * a.ldo + (int64_t)head * D, a.ldo,
                         x.queries.end - at);
    }

    // This thread's statistic: [0, BQ) lse, [BQ, 2 BQ) delta.
    static __device__ __forceinline__ float stat(const axl_attn_bwd_args &b, const key_tile &x,
                                                 int head, int at)
    {
        const axl_attn_args &a = b.fwd;
        const int i = (int)threadIdx.x, row = at + i % BQ;
        const int64_t from = (int64_t)head * a.cu_seqlens_q[a.n_seqs] + x.query_row + row;

        if (i >= 2 * BQ)
            return 0.0f;
        if (row >= x.queries.end)
            return i < BQ ? INFINITY : 0.0f;
        return i < BQ ? lse_of(((const float *)a.lse)[from]) : ((const float *)b.delta)[from];
    }
};

template <class Kind, int D, int MT, int BQ, int PART, class G>
__device__ __forceinline__ void make_dkv(const typename Kind::args &e, const attn_item &item,
                                         bf16 *shared, float *stats)
{
    constexpr int BN = ATTN_WARPS * MT * 16, LD = attn_tile<D>::LD;
    using stage_of = query_stage<D, BQ>;
    const axl_attn_bwd_args &b = Kind::bwd(e);
    const axl_attn_args &a = b.fwd;
    const key_tile x = key_tile_of(a, item, BN);
    const int warp_row = (int)(threadIdx.x / 32u) * MT * 16;
    const int group = a.n_heads / a.n_kv_heads, last_head = (item.head + 1) * group - 1;
    bf16 *k_tile = shared, *v_tile = k_tile + (Kind::SCORES ? BN * LD : 0),
         *q_tiles = v_tile + BN * LD;
    const typename Kind::rule rule = Kind::rule_of(a);
    float dk[MT][D / 8][4], dv[MT][D / 8][4];
    int stage = 0, head = item.head * group, at = x.queries.begin;

    if (PART & DK)
        attn_clear(dk);
    if (PART & DV)
        attn_clear(dv);
    const bool some = x.queries.begin < x.queries.end;
    if (some) {
        if (Kind::SCORES)
            attn_load<BN, D>(k_tile, (const bf16 *)a.k + x.row * a.ldk + (int64_t)item.head * D,
                             a.ldk, x.n);
        attn_load<BN, D>(v_tile, (const bf16 *)a.v + x.row * a.ldv + (int64_t)item.head * D, a.ldv,
                         x.n);
        stage_of::load(b, x, head, at, q_tiles);
        const float stat = stage_of::stat(b, x, head, at);
        if (threadIdx.x < 2 * BQ)
            stats[stat_place<D>((int)threadIdx.x)] = stat;
        axl_copy_commit();
    }
    while (some && head <= last_head) {
        const bf16 *q_tile = q_tiles + stage * 2 * BQ * LD, *dout_tile = q_tile + BQ * LD;
        const key_step step = {item.seq, head, warp_row, at};
        float p[MT][BQ / 8][4], ds[MT][BQ / 8][4], stat = 0.0f;

        if (!Kind::SCORES)
            Kind::take(e, x, step, p);
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
        if (Kind::SCORES)
            attn_mul_rows<MT, BQ / 8, D>(p, k_tile + warp_row * LD + attn_left<D>(),
                                         q_tile + attn_right<D>());
        if (Kind::SCORES || (PART & DK)) {
            attn_mul_rows<MT, BQ / 8, D>(ds, v_tile + warp_row * LD + attn_left<D>(),
                                         dout_tile + attn_right<D>());
            Kind::template differentiate<D>(a, rule, x, step, p, ds,
                                            stats + stat_place<D>(stage * 2 * BQ));
        }
        if (PART & DV)
            attn_mul_columns<MT, BQ / 8, D>(dv, p, dout_tile + attn_left<D>());
        if (PART & DK)
            attn_mul_columns<MT, BQ / 8, D>(dk, ds, q_tile + attn_left<D>());
        stage ^= 1;
        if (threadIdx.x < 2 * BQ)
            stats[stat_place<D>(stage * 2 * BQ + (int)threadIdx.x)] = stat;
    }
    if (PART & DK)
        attn_write((G *)b.dk + x.row * a.ldk + (int64_t)item.head * D, a.ldk, dk, Kind::scale(a),
                   warp_row, x.n, b.accumulate_dkv);
    if (PART & DV)
        attn_write((G *)b.dv + x.row * a.ldv + (int64_t)item.head * D, a.ldv, dv, 1.0f, warp_row,
                   x.n, b.accumulate_dkv);
}

// Rows of a block's tiles.
template <class Kind, int MT, int BN>
constexpr int dq_rows = (Kind::SCORES ? 2 : 1) * MT * 16 * ATTN_WARPS + 4 * BN;
template <class Kind, int MT, int BQ>
constexpr int dkv_rows = (Kind::SCORES ? 2 : 1) * MT * 16 * ATTN_WARPS + 4 * BQ;

template <class Kind, int D, int MT, int BQ, int PART, class G>
__global__ void __launch_bounds__(ATTN_THREADS, D > 128 ? 1 : 2)
    attn_dkv(typename Kind::args e, attn_work *work)
{
    AXL_DYNAMIC_SHARED(bf16, shared);
    float *stats = stats_of<D, 4 * BQ>(shared);
    int *slot = slot_of<D, dkv_rows<Kind, MT, BQ>>(shared);
    attn_item item;

    while (attn_next(work, Kind::bwd(e).fwd.n_kv_heads, slot, &item))
        make_dkv<Kind, D, MT, BQ, PART, G>(e, item, shared, stats);
}

template <class Kind, int D, int MT, int BN, class G>
__global__ void __launch_bounds__(ATTN_THREADS, D > 128 ? 1 : 2)
    attn_dq(typename Kind::args e, attn_work *work)
{
    AXL_DYNAMIC_SHARED(bf16, shared);
    int *slot = slot_of<D, dq_rows<Kind, MT, BN>>(shared);
    attn_item item;

    while (attn_next(work, Kind::bwd(e).fwd.n_heads, slot, &item))
        Kind::template make_dq<D, MT, BN, G>(e, item, shared);
}

// ---- on the host

// dq, by steps of BN keys for the warps' MT * 16 queries.
template <class Kind, int D, int MT, int BN, class G>
axl_status run_dq(axl_stream *s, const typename Kind::args *e)
{
    constexpr int BM = ATTN_WARPS * MT * 16;
    constexpr int bytes = attn_tile_bytes<dq_rows<Kind, MT, BN>, D>();
    const axl_attn_bwd_args &b = Kind::bwd(*e);
    const axl_attn_args *a = &b.fwd;

    return attn_run(s, "attn_dq", attn_dq<Kind, D, MT, BN, G>, a,
                    {false, BM, a->n_heads, bytes, attn_workspace(s)}, *e);
}

// dk, dv or both, by steps of BQ queries for the warps' MT * 16 keys.
template <class Kind, int D, int MT, int BQ, int PART, class G>
axl_status run_dkv(axl_stream *s, const typename Kind::args *e)
{
    constexpr int BN = ATTN_WARPS * MT * 16;
    constexpr int bytes = attn_tile_bytes<dkv_rows<Kind, MT, BQ>, D>();
    const axl_attn_bwd_args &b = Kind::bwd(*e);
    const axl_attn_args *a = &b.fwd;

    return attn_run(s, "attn_dkv", attn_dkv<Kind, D, MT, BQ, PART, G>, a,
                    {true, BN, a->n_kv_heads, bytes, attn_workspace(s)}, *e);
}

template <class Kind, class G> axl_status run_bwd(axl_stream *s, const typename Kind::args *e)
{
    axl_status status = AXL_OK;

    switch (Kind::bwd(*e).fwd.head_dim) {
    case 64:
        AXL_TRY((run_dq<Kind, 64, 2, 32, G>(s, e)));
        AXL_TRY((run_dkv<Kind, 64, 1, Kind::QUERIES_64, DK_DV, G>(s, e)));
        break;
    case 96:
        AXL_TRY((run_dq<Kind, 96, 1, 32, G>(s, e)));
        AXL_TRY((run_dkv<Kind, 96, 1, 32, DK_DV, G>(s, e)));
        break;
    case 128:
        AXL_TRY((run_dq<Kind, 128, 1, 32, G>(s, e)));
        AXL_TRY((run_dkv<Kind, 128, 1, 32, DK_DV, G>(s, e)));
        break;
    default:
        AXL_TRY((run_dq<Kind, 256, 1, 16, G>(s, e)));
        AXL_TRY((run_dkv<Kind, 256, 1, 16, DV, G>(s, e)));
        AXL_TRY((run_dkv<Kind, 256, 1, 16, DK, G>(s, e)));
    }

out:
    return status;
}

} // namespace

#endif
