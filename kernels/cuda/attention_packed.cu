// What a library's attention is told about packed sequences, and its statistics in this program's order.
#include "kernels/cuda/cuda.cuh"

extern "C" {
#include "kernels/cuda/attention_cudnn.h"
}

namespace
{

constexpr int THREADS = 256;
constexpr int TILE = 32, ROWS = 8; // of a block: TILE x TILE elements by TILE x ROWS threads

// A thread a sequence, and one more for the end.
__global__ void __launch_bounds__(THREADS)
    attn_place(const int *cu_seqlens, int n_seqs, int bound, axl_attn_places p)
{
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);

    if (i > bound)
        return;
    const int begin = cu_seqlens[min(i, n_seqs)];
    if (i < bound)
        p.len[i] = cu_seqlens[min(i + 1, n_seqs)] - begin;
#pragma unroll
    for (int j = 0; j < AXL_ATTN_LAYOUTS; j++)
        p.at[j][i] = begin * p.ld[j];
}

// Both sides are read and written along rows: a tile is turned in shared memory.
__global__ void __launch_bounds__(TILE *ROWS)
    attn_turn(const int *cu_seqlens, int n_seqs, int n_heads, bool to_tokens, const float *from,
              float *to)
{
    AXL_SHARED_ARRAY(float, tile,
                     TILE *(TILE + 1)); // an odd pitch: columns are read without conflicts
    const int n_tokens = cu_seqlens[n_seqs];
    const int rows = to_tokens ? n_heads : n_tokens, columns = to_tokens ? n_tokens : n_heads;
    const int row0 = (int)(to_tokens ? blockIdx.y : blockIdx.x) * TILE;
    const int column0 = (int)(to_tokens ? blockIdx.x : blockIdx.y) * TILE;
    const int x = (int)threadIdx.x % TILE, y = (int)threadIdx.x / TILE;

    for (int i = y; i < TILE; i += ROWS)
        if (row0 + i < rows && column0 + x < columns)
            tile[i * (TILE + 1) + x] = from[(int64_t)(row0 + i) * columns + column0 + x];
    __syncthreads();
    for (int i = y; i < TILE; i += ROWS)
        if (column0 + i < columns && row0 + x < rows)
            to[(int64_t)(column0 + i) * rows + row0 + x] = tile[x * (TILE + 1) + i];
}

} // namespace

extern "C" axl_status axl_cuda_attn_place(axl_stream *s, const int32_t *cu_seqlens, int32_t n_seqs,
                                          int32_t bound, const axl_attn_places *p)
{
    return axl_cuda_launch(s, "attn_place", attn_place,
                           dim3(axl_cuda_blocks((int64_t)bound + 1, THREADS)), dim3(THREADS), 0,
                           cu_seqlens, n_seqs, bound, *p);
}

extern "C" axl_status axl_cuda_attn_turn(axl_stream *s, const int32_t *cu_seqlens, int32_t n_seqs,
                                         int64_t most_rows, int32_t n_heads, bool to_tokens,
                                         const float *from, float *to)
{
    return axl_cuda_launch(s, "attn_turn", attn_turn,
                           dim3(axl_cuda_blocks(most_rows, TILE), axl_cuda_blocks(n_heads, TILE)),
                           dim3(TILE * ROWS), 0, cu_seqlens, n_seqs, n_heads, to_tokens, from, to);
}
