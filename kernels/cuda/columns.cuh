// Sums of columns in a fixed order: each block sums a chunk of rows for a tile of columns, a second kernel sums the chunks.
//
// How rows are cut into chunks depends on the shape alone, so the sums are the same on every chip and in every run.
#ifndef AXL_KERNELS_CUDA_COLUMNS_CUH
#define AXL_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int CHUNKS_MAX = 256;

// How many chunks of rows have partial sums [chunks, cols] f32 in the workspace, `planes` of them.
inline int axl_chunks(const axl_stream *s, int64_t rows, int64_t cols, int planes)
{
    const int64_t room =
        (int64_t)(s->device->workspace_bytes / 4) / (planes * (cols > 0 ? cols : 1));
    int64_t n = rows < CHUNKS_MAX ? rows : CHUNKS_MAX;

    return (int)(n < room ? n : room > 0 ? room : 1);
}

// out[c] (+)= sum over chunks of part[chunk, c]. 32 columns a block; 8 threads share a column.
__global__ void __launch_bounds__(256)
    sum_chunks(const float *part, int n_chunks, int64_t cols, float *out, bool accumulate)
{
    AXL_SHARED_ARRAY(float, sums, 8 * 32);
    const int lane = (int)threadIdx.x % 32, group = (int)threadIdx.x / 32;
    const int64_t c = (int64_t)blockIdx.x * 32 + lane;
    const int per = (n_chunks + 7) / 8, first = group * per;
    const int end = first + per < n_chunks ? first + per : n_chunks;
    float sum = 0.0f;

    if (c < cols) {
#pragma unroll 8
        for (int i = first; i < end; i++)
            sum += part[i * cols + c];
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (group > 0 || c >= cols)
        return;
    for (int g = 1; g < 8; g++)
        sum += sums[g * 32 + lane];
    out[c] = accumulate ? out[c] + sum : sum;
}

inline axl_status axl_sum_chunks(axl_stream *s, const float *part, int n_chunks, int64_t cols,
                                 void *out, bool accumulate)
{
    return axl_cuda_launch(s, "sum_chunks", sum_chunks, dim3(axl_cuda_blocks(cols, 32)), dim3(256),
                           0, part, n_chunks, cols, (float *)out, accumulate);
}

// part[chunk, c] = sum over the chunk's rows of map(row, x[row, c]). A warp takes 32 vectors of a row, the eight
// warps of a block every eighth row.
template <class T, bool wide, class Map>
__global__ void __launch_bounds__(AXL_THREADS)
    column_sums(const T *x, int64_t rows, int64_t cols, int64_t per_chunk, Map map, float *part)
{
    constexpr int W = axl_width<T>, TILE = 32 * W;
    AXL_SHARED_ARRAY(float, sums, 8 * TILE);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const unsigned n_tiles = (unsigned)((cols + TILE - 1) / TILE);
    const int64_t chunk = blockIdx.x / n_tiles, c0 = (int64_t)(blockIdx.x % n_tiles) * TILE;
    const int64_t c = c0 + lane * W, first = chunk * per_chunk;
    const int64_t end = first + per_chunk < rows ? first + per_chunk : rows;
    float sum[W] = {};

    if (c < cols) {
#pragma unroll 4
        for (int64_t r = first + warp; r < end; r += 8) {
            float v[W];
            axl_load<wide>(x + r * cols + c, cols - c, v);
#pragma unroll
            for (int e = 0; e < W; e++)
                sum[e] += map(r, v[e]);
        }
    }
#pragma unroll
    for (int e = 0; e < W; e++)
        sums[warp * TILE + e * 32 + lane] = sum[e]; // by lane: no two in one bank
    __syncthreads();
    for (int i = (int)threadIdx.x; i < TILE && c0 + i < cols; i += AXL_THREADS) {
        float all = 0.0f;
        for (int w = 0; w < 8; w++)
            all += sums[w * TILE + i % W * 32 + i / W];
        part[chunk * cols + c0 + i] = all;
    }
}

// out[c] (+)= sum over rows of map(row, x[row, c]); x is [rows, cols].
template <class T, class Map>
axl_status axl_column_sums(axl_stream *s, const char *name, const T *x, int64_t rows, int64_t cols,
                           Map map, void *out, bool accumulate)
{
    constexpr int W = axl_width<T>;
    const int n_chunks = rows > 0 && cols > 0 ? axl_chunks(s, rows, cols, 1) : 0;
    const int64_t per = n_chunks > 0 ? (rows + n_chunks - 1) / n_chunks : 1;
    const unsigned chunks = axl_cuda_blocks(rows, per), tiles = axl_cuda_blocks(cols, 32 * W);
    const bool wide = axl_is_aligned(x) && cols % W == 0;
    float *part = (float *)s->device->workspace;
    axl_status status = AXL_OK;

    status = axl_cuda_launch(s, name, wide ? column_sums<T, true, Map> : column_sums<T, false, Map>,
                             dim3(axl_cuda_grid((int64_t)chunks * tiles)), dim3(AXL_THREADS), 0, x,
                             rows, cols, per, map, part);
    return status == AXL_OK
               ? axl_sum_chunks(s, part, (int)(tiles > 0 ? chunks : 0), cols, out, accumulate)
               : status;
}

} // namespace

#endif
