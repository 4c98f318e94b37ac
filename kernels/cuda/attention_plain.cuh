// What the kernels for every shape share: one warp a row, in f32, its scratch in shared memory.
#ifndef AXL_KERNELS_CUDA_ATTENTION_PLAIN_CUH
#define AXL_KERNELS_CUDA_ATTENTION_PLAIN_CUH

#include "kernels/cuda/attention.cuh"

namespace
{

constexpr int WARPS = 4;
constexpr int BLOCKS = 8; // of a multiprocessor
constexpr int MAX_DIM = 1024;

template <class T> __device__ __forceinline__ float dot(const float *a, const T *b, int n)
{
    float sum = 0.0f;

    for (int d = 0; d < n; d++)
        sum += a[d] * axl_to_float(b[d]);
    return sum;
}

// One row to shared memory, as f32.
template <class T> __device__ __forceinline__ void stage(float *to, const T *from, int n, int lane)
{
    for (int d = lane; d < n; d += 32)
        to[d] = axl_to_float(from[d]);
}

__device__ __forceinline__ float capped(const axl_attn_args &a, float dot)
{
    const float score = dot * a.scale;

    return a.softcap > 0.0f ? a.softcap * tanhf(score / a.softcap) : score;
}

template <class G> __device__ __forceinline__ void put(G *to, float v, bool add)
{
    *to = axl_from_float<G>(add ? axl_to_float(*to) + v : v);
}

// A warp's share of the block's shared memory: n_rows staged rows, sums, then two weights a lane.
struct scratch {
    float *row[2], *sum[2], *weight[2];
};

__device__ __forceinline__ scratch take(float *shared, int warp, int d0, int d1)
{
    float *at = shared + (size_t)warp * (size_t)(2 * (d0 + d1) + 64);

    return {{at, at + d0},
            {at + d0 + d1, at + 2 * d0 + d1},
            {at + 2 * (d0 + d1), at + 2 * (d0 + d1) + 32}};
}

inline size_t scratch_bytes(int d0, int d1)
{
    return sizeof(float) * WARPS * (size_t)(2 * (d0 + d1) + 64);
}

// ---- on the host

// Enough blocks to fill the device, no more than there may be rows.
inline dim3 grid_of(const axl_stream *s, int n_seqs, int max_seqlen, int n_heads)
{
    const int64_t most = (int64_t)axl_cuda_n_multiprocessors(s->device) * BLOCKS;
    const int64_t rows = (int64_t)n_seqs * max_seqlen * n_heads;

    return dim3(axl_cuda_blocks(rows, WARPS) < most ? axl_cuda_blocks(rows, WARPS)
                                                    : (unsigned)most);
}

inline axl_status check_width(const axl_attn_args *a)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(a->head_dim <= MAX_DIM && a->v_head_dim <= MAX_DIM, AXL_E_UNSUPPORTED,
                "head_dim %d is above %d", a->head_dim, MAX_DIM);

out:
    return status;
}

} // namespace

#endif
