// A tile of a matrix product by plain loops: 64 x 64 elements of C by 64 threads, f32 sums, any strides.
#ifndef AXL_KERNELS_CUDA_GEMM_TILE_CUH
#define AXL_KERNELS_CUDA_GEMM_TILE_CUH

#include "kernels/cuda/cuda.cuh"

namespace
{

constexpr int TILE = 64, STEP = 16, TILE_THREADS = 64,
              EACH = 8;           // a thread has EACH x EACH elements
constexpr int TILE_LD = TILE + 4; // rows of a tile in shared memory: four apart in banks

// op(A) [m, k] and op(B) [k, n] by their strides: from one row (column) to the next, and from one k to the next.
template <class T> struct gemm_operands {
    const T *a, *b;
    int64_t m, n, k, row_a, step_a, col_b, step_b;
};

// Takes the part of op(A) (op(B)^T) that begins at row i0 and at p0 of k. Threads go along what is contiguous.
template <class T>
__device__ __forceinline__ void take_tile(const T *from, int64_t n_rows, int64_t k, int64_t row,
                                          int64_t step, int64_t i0, int64_t p0, float *to)
{
#pragma unroll 4
    for (int x = (int)threadIdx.x; x < TILE * STEP; x += TILE_THREADS) {
        const int i = step == 1 ? x / STEP : x % TILE, p = step == 1 ? x % STEP : x / TILE;
        const bool inside = i0 + i < n_rows && p0 + p < k;
        to[p * TILE_LD + i] = inside ? axl_to_float(from[(i0 + i) * row + (p0 + p) * step]) : 0.0f;
    }
}

// Adds the product's elements of the tile at (i0, j0) to sum. shared: [2 * STEP * TILE_LD].
template <class T>
__device__ __forceinline__ void add_products(const gemm_operands<T> &g, int64_t i0, int64_t j0,
                                             float (&sum)[EACH][EACH], float *shared)
{
    float *as = shared, *bs = shared + STEP * TILE_LD;
    const int ti = (int)threadIdx.x / 8 * 4, tj = (int)threadIdx.x % 8 * 4;

    for (int64_t p0 = 0; p0 < g.k; p0 += STEP) {
        __syncthreads(); // the tiles before may still be read
        take_tile(g.a, g.m, g.k, g.row_a, g.step_a, i0, p0, as);
        take_tile(g.b, g.n, g.k, g.col_b, g.step_b, j0, p0, bs);
        __syncthreads();
#pragma unroll 4
        for (int p = 0; p < STEP; p++) {
            float a[EACH], b[EACH]; // two groups of four, 32 apart: no bank conflicts
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const float4 u = *reinterpret_cast<const float4 *>(as + p * TILE_LD + ti + 32 * h);
                const float4 v = *reinterpret_cast<const float4 *>(bs + p * TILE_LD + tj + 32 * h);
                memcpy(a + 4 * h, &u, sizeof u);
                memcpy(b + 4 * h, &v, sizeof v);
            }
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++)
                    sum[i][j] += a[i] * b[j];
        }
    }
}

// Calls put(row, column, sum) for the elements of this thread that lie in C.
template <class F>
__device__ __forceinline__ void over_tile(int64_t m, int64_t n, int64_t i0, int64_t j0,
                                          const float (&sum)[EACH][EACH], F put)
{
    const int ti = (int)threadIdx.x / 8 * 4, tj = (int)threadIdx.x % 8 * 4;

#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const int64_t r = i0 + ti + i / 4 * 32 + i % 4, c = j0 + tj + j / 4 * 32 + j % 4;
            if (r < m && c < n)
                put(r, c, sum[i][j]);
        }
}

} // namespace

#endif
