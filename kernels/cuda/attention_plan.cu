// The list of tiles of packed sequences, made on the device: the host knows only the longest sequence.
#include "kernels/cuda/attention_tile.cuh"

namespace
{

constexpr int THREADS = 256;
constexpr int CLASSES = 33; // sequences by the number of leading zeros of their number of tiles

__device__ __forceinline__ int tiles_of(const int *cu_seqlens, int seq, int tile)
{
    return (cu_seqlens[seq + 1] - cu_seqlens[seq] + tile - 1) / tile;
}

// One block. Within a class sequences take their places as they come: no result depends on the order of work.
__global__ void __launch_bounds__(THREADS)
    attn_plan(attn_work *work, const int *cu_seqlens, int n_seqs, int tile, bool falling)
{
    AXL_SHARED_ARRAY(int, next, CLASSES);

    if (threadIdx.x < CLASSES)
        next[threadIdx.x] = 0;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n_seqs; i += THREADS) {
        const int n = tiles_of(cu_seqlens, i, tile);
        atomicAdd(&next[__clz(n)], n);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        int sum = 0;
        for (int c = 0; c < CLASSES; c++) {
            const int n = next[c];
            next[c] = sum;
            sum += n;
        }
        work->next = 0;
        work->n_tiles = (unsigned)sum;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n_seqs; i += THREADS) {
        const int n = tiles_of(cu_seqlens, i, tile);
        const int at = atomicAdd(&next[__clz(n)], n);
        for (int t = 0; t < n; t++)
            work->tiles[at + t] = make_int2(i, falling ? n - 1 - t : t);
    }
}

} // namespace

axl_status axl_cuda_attn_plan(axl_stream *s, attn_work *work, const int32_t *cu_seqlens, int n_seqs,
                              int tile, bool falling)
{
    return axl_cuda_launch(s, "attn_plan", attn_plan, dim3(1), dim3(THREADS), 0, work, cu_seqlens,
                           n_seqs, tile, falling);
}
