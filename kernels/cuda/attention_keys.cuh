// What the passes for dk and dv share: a tile of keys, and the queries that come to it.
#ifndef AXL_KERNELS_CUDA_ATTENTION_KEYS_CUH
#define AXL_KERNELS_CUDA_ATTENTION_KEYS_CUH

#include "kernels/cuda/attention_tile.cuh"

namespace
{

// What a launch makes: both, or one of them where both do not fit into registers.
enum part { DK = 1, DV = 2, DK_DV = 3 };

// lse in units of log 2; of a row that is not there, or sees nothing: its weights must be 0.
__device__ __forceinline__ float lse_of(float lse)
{
    return lse == -INFINITY ? INFINITY : lse * ATTN_LOG2E;
}

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

} // namespace

#endif
