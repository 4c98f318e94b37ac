// Vectors of 16 bytes: how every pass over memory reads and writes.
//
// A thread owns the same elements whether the addresses allow vectors or not: `wide` only says how they are fetched. So a
// result does not depend on where an array happens to lie.
#ifndef AXL_KERNELS_CUDA_VECTOR_CUH
#define AXL_KERNELS_CUDA_VECTOR_CUH

#include "kernels/cuda/cuda.cuh"

constexpr int AXL_THREADS = 256; // of a block of a pass over memory

template <class T> constexpr int axl_width = 16 / (int)sizeof(T); // elements of a vector

// N elements as they lie in memory.
template <class T, int N> struct axl_raw {
    T v[N];
};

// N elements from p. wide: p is aligned to their size (at most 16 bytes) and all N are there; else the first `left`
// are, and zeros stand for the others.
template <bool wide, int N, class T>
__device__ __forceinline__ axl_raw<T, N> axl_fetch(const T *p, int64_t left)
{
    constexpr int bytes = N * (int)sizeof(T);
    axl_raw<T, N> out;

    if constexpr (wide && bytes % 16 == 0) {
#pragma unroll
        for (int i = 0; i < bytes / 16; i++) {
            const uint4 v = reinterpret_cast<const uint4 *>(p)[i];
            memcpy(out.v + i * (16 / (int)sizeof(T)), &v, sizeof v);
        }
    } else if constexpr (wide && bytes == 8) {
        const uint2 v = *reinterpret_cast<const uint2 *>(p);
        memcpy(out.v, &v, sizeof v);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            out.v[i] = i < left ? p[i] : T{};
    }
    return out;
}

template <class T, int N>
__device__ __forceinline__ void axl_floats(const axl_raw<T, N> &raw, float (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        x[i] = axl_to_float(raw.v[i]);
}

template <bool wide, int N, class T>
__device__ __forceinline__ void axl_load(const T *p, int64_t left, float (&x)[N])
{
    axl_floats(axl_fetch<wide, N>(p, left), x);
}

// Writes N elements as axl_fetch reads them.
template <bool wide, int N, class T>
__device__ __forceinline__ void axl_put(T *p, int64_t left, const axl_raw<T, N> &raw)
{
    constexpr int bytes = N * (int)sizeof(T);

    if constexpr (wide && bytes % 16 == 0) {
#pragma unroll
        for (int i = 0; i < bytes / 16; i++) {
            uint4 v;
            memcpy(&v, raw.v + i * (16 / (int)sizeof(T)), sizeof v);
            reinterpret_cast<uint4 *>(p)[i] = v;
        }
    } else if constexpr (wide && bytes == 8) {
        uint2 v;
        memcpy(&v, raw.v, sizeof v);
        *reinterpret_cast<uint2 *>(p) = v;
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            if (i < left)
                p[i] = raw.v[i];
    }
}

template <bool wide, int N, class T>
__device__ __forceinline__ void axl_store(T *p, int64_t left, const float (&x)[N])
{
    axl_raw<T, N> raw;

#pragma unroll
    for (int i = 0; i < N; i++)
        raw.v[i] = axl_from_float<T>(x[i]);
    axl_put<wide>(p, left, raw);
}

// ---- on the host: may vectors be used?

static inline bool axl_is_aligned(const void *p, int64_t bytes = 16)
{
    return (uintptr_t)p % (uintptr_t)bytes == 0; // NULL is
}

// ---- rows of `items` vectors each, several rows a block where they are short

struct axl_row_split {
    int rows_per_block, items;
    unsigned blocks;
};

static inline axl_row_split axl_split_rows(int64_t rows, int64_t items)
{
    axl_row_split s;

    s.items = (int)items;
    s.rows_per_block = items >= AXL_THREADS || items == 0 ? 1 : (int)(AXL_THREADS / items);
    s.blocks = items == 0 ? 0 : axl_cuda_blocks(rows, s.rows_per_block);
    return s;
}

// Calls use(row, item) for this thread's share of the block's rows.
template <class F>
__device__ __forceinline__ void axl_over_rows(const axl_row_split &s, int64_t rows, F use)
{
    const int64_t first = (int64_t)blockIdx.x * s.rows_per_block;
    const int n =
        s.items * (int)(rows - first < s.rows_per_block ? rows - first : s.rows_per_block);

    for (int i = (int)threadIdx.x; i < n; i += AXL_THREADS) {
        const int row = i / s.items;
        use(first + row, i - row * s.items);
    }
}

// ---- P threads to a row: up to a warp, or some warps

// Sums of `a` and of `b` over the P threads of a row, to each of them. scratch: [AXL_ROW_SCRATCH]; turn changes with
// every call of a block, so that one barrier is enough.
constexpr int AXL_ROW_SCRATCH = 2 * 2 * 32;

template <int P>
__device__ __forceinline__ void axl_row_sums(float *a, float *b, float *scratch, int turn)
{
    constexpr int in_warp = P < 32 ? P : 32;

#pragma unroll
    for (int bits = in_warp / 2; bits > 0; bits /= 2) {
        *a += __shfl_xor_sync(0xffffffffu, *a, bits);
        *b += __shfl_xor_sync(0xffffffffu, *b, bits);
    }
    if constexpr (P > 32) {
        float *mine = scratch + (turn & 1) * 64;
        const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
        const int first = warp / (P / 32) * (P / 32); // of the row's warps
        if (lane == 0) {
            mine[warp] = *a;
            mine[32 + warp] = *b;
        }
        __syncthreads();
        *a = axl_warp_sum(lane < P / 32 ? mine[first + lane] : 0.0f);
        *b = axl_warp_sum(lane < P / 32 ? mine[32 + first + lane] : 0.0f);
    } else {
        (void)scratch;
        (void)turn;
    }
}

#endif
