// What the attention kernels share: where a sequence's rows are and which positions they have, who sees whom.
#ifndef AXL_KERNELS_CUDA_ATTENTION_CUH
#define AXL_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/cuda.cuh"

#include <climits>

// The plain kernels: every shape, dtype and option.
axl_status axl_cuda_attn_fwd_plain(axl_stream *s, const axl_attn_args *a);
axl_status axl_cuda_attn_bwd_plain(axl_stream *s, const axl_attn_bwd_args *b);

// One side of one sequence: its queries or its keys.
struct attn_rows {
    int64_t begin; // its first row among all rows
    int n;
    int first;            // the position of its first row, where there is no array
    const int *positions; // [n] of this sequence, or NULL
    int free;             // keys at positions below it are seen by every query, but for the window

    __device__ __forceinline__ int position(int i) const
    {
        return positions != nullptr ? positions[i] : first + i;
    }

    // How many rows stand before this position: positions ascend.
    __device__ __forceinline__ int before(int64_t position) const
    {
        if (positions == nullptr) {
            const int64_t i = position - first;
            return i < 0 ? 0 : i > n ? n : (int)i;
        }
        int low = 0, high = n;
        while (low < high) {
            const int middle = (low + high) / 2;
            if (positions[middle] < position)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }
};

// The sequence that has a row: the last one that begins at or before it and is not empty.
__device__ __forceinline__ int attn_sequence(const int *cu_seqlens, int n_seqs, int row)
{
    int low = 0, high = n_seqs; // cu_seqlens[low] <= row < cu_seqlens[high]

    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (cu_seqlens[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

__device__ __forceinline__ attn_rows attn_rows_of(const axl_attn_args &a, const int *cu_seqlens,
                                                  const int *pos, const int *positions, int seq)
{
    const int begin = cu_seqlens[seq];
    const int free = a.mask == AXL_MASK_FULL     ? INT_MAX
                     : a.mask == AXL_MASK_PREFIX ? a.prefix[seq]
                                                 : INT_MIN;

    return {begin, cu_seqlens[seq + 1] - begin, pos != nullptr ? pos[seq] : 0,
            positions != nullptr ? positions + begin : nullptr, free};
}

__device__ __forceinline__ attn_rows attn_queries(const axl_attn_args &a, int seq)
{
    return attn_rows_of(a, a.cu_seqlens_q, a.pos_q, a.positions_q, seq);
}

__device__ __forceinline__ attn_rows attn_keys(const axl_attn_args &a, int seq)
{
    return attn_rows_of(a, a.cu_seqlens_k, a.pos_k, a.positions_k, seq);
}

// Whether a query at position q sees a key at position k; free as in attn_rows.
__device__ __forceinline__ bool attn_sees(const axl_attn_args &a, int free, int q, int k)
{
    return (k <= q || k < free) && (a.window <= 0 || q - k < a.window);
}

struct attn_range {
    int begin, end; // rows of a sequence; empty: end <= begin
};

// The keys that some query of positions first .. last may see.
__device__ __forceinline__ attn_range attn_keys_seen(const axl_attn_args &a, const attn_rows &keys,
                                                     int first, int last)
{
    return {a.window > 0 ? keys.before((int64_t)first - a.window + 1) : 0,
            keys.before(last < keys.free ? (int64_t)keys.free : (int64_t)last + 1)};
}

// The keys that every query of positions first .. last sees.
__device__ __forceinline__ attn_range attn_keys_seen_by_all(const axl_attn_args &a,
                                                            const attn_rows &keys, int first,
                                                            int last)
{
    return {a.window > 0 ? keys.before((int64_t)last - a.window + 1) : 0,
            keys.before(first < keys.free ? (int64_t)keys.free : (int64_t)first + 1)};
}

// The queries that may see some key of positions first .. last.
__device__ __forceinline__ attn_range attn_queries_seeing(const axl_attn_args &a,
                                                          const attn_rows &queries, int first,
                                                          int last)
{
    return {first < queries.free ? 0 : queries.before(first),
            a.window > 0 ? queries.before((int64_t)last + a.window) : queries.n};
}

// The queries that see every key of positions first .. last.
__device__ __forceinline__ attn_range attn_queries_seeing_all(const axl_attn_args &a,
                                                              const attn_rows &queries, int first,
                                                              int last)
{
    return {last < queries.free ? 0 : queries.before(last),
            a.window > 0 ? queries.before((int64_t)first + a.window) : queries.n};
}

#endif
