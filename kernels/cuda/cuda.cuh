// What every kernel file includes: the table's argument structs, and the few places where nvcc and the emulation
// (tests/cuda_emu) differ: shared memory, tensor cores, asynchronous copies.
//
// The same .cu files are compiled by nvcc for the GPU and by the host's C++ compiler for the emulation, so
// launches go through axl_cuda_launch instead of <<<>>>, and inline PTX stands here alone.
#ifndef AXL_KERNELS_CUDA_CUDA_CUH
#define AXL_KERNELS_CUDA_CUDA_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#define _Noreturn __attribute__((noreturn)) // the C headers' keyword
extern "C" {
#include "kernels/cuda/cuda_entries.h"
}

typedef __nv_bfloat16 bf16;

#ifdef AXL_CUDA_EMU
#include "tests/cuda_emu/mma.h"
#define AXL_SHARED_ARRAY(type, name, n)                                                            \
    static const char name##_key = 0;                                                              \
    type *name = static_cast<type *>(emu::static_shared(&name##_key, sizeof(type) * (size_t)(n)))
#define AXL_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(emu::dynamic_shared())
#else
#define AXL_SHARED_ARRAY(type, name, n) __shared__ __align__(16) type name[n] // for vectors
#define AXL_DYNAMIC_SHARED(type, name)                                                             \
    extern __shared__ __align__(128) unsigned char axl_dynamic_shared[];                           \
    type *name = reinterpret_cast<type *>(axl_dynamic_shared)
#endif

// ---- launches

// Puts a kernel on the stream. A failure is AXL_E_DEVICE with the kernel's name and sizes.
template <class... Params, class... Args>
static axl_status axl_cuda_launch(axl_stream *s, const char *name, void (*kernel)(Params...),
                                  dim3 grid, dim3 block, size_t shared_bytes, Args... args)
{
    cudaLaunchConfig_t config = {};

    if (grid.x == 0 || grid.y == 0 || grid.z == 0)
        return AXL_OK; // nothing to do
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = axl_cuda_stream(s);
    cudaError_t error = cudaSuccess;
    if (shared_bytes > 48 << 10)
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     (int)shared_bytes);
    if (error == cudaSuccess)
        error = cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...);
    const unsigned threads = block.x * block.y * block.z;
    if (error != cudaSuccess)
        return axl_cuda_launch_failed(s, (int)error, name, grid.x, grid.y, grid.z, threads,
                                      shared_bytes);
    axl_cuda_note_launch(s, name, grid.x, grid.y, grid.z, threads);
    return AXL_OK;
}

// So many blocks. What does not fit becomes the largest number, which no launch takes: it fails, and does not do a part.
static inline unsigned axl_cuda_grid(int64_t n_blocks)
{
    return n_blocks < UINT32_MAX ? (unsigned)n_blocks : UINT32_MAX;
}

static inline unsigned axl_cuda_blocks(int64_t n, int64_t per_block)
{
    return axl_cuda_grid((n + per_block - 1) / per_block);
}

// ---- sums of a warp and of a block; every thread gets the result. scratch: [33] of T in shared memory.

template <class T> __device__ __forceinline__ T axl_warp_sum(T v)
{
    for (int bits = 16; bits > 0; bits /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, bits);
    return v;
}

template <class T> __device__ __forceinline__ T axl_warp_max(T v)
{
    for (int bits = 16; bits > 0; bits /= 2) {
        T other = __shfl_xor_sync(0xffffffffu, v, bits);
        v = v < other ? other : v;
    }
    return v;
}

template <class T> __device__ __forceinline__ T axl_block_sum(T v, T *scratch)
{
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5),
              n_warps = (int)((blockDim.x + 31u) >> 5);

    v = axl_warp_sum(v);
    __syncthreads(); // the scratch may still be read from the sum before
    if (lane == 0)
        scratch[warp] = v;
    __syncthreads();
    T all = lane < n_warps ? scratch[lane] : T(0);
    return axl_warp_sum(all);
}

// ---- tensor cores (sm_80 and later): D [16 x 8] += A [16 x k] B [k x 8] by one warp
//
// Fragments as in the PTX manual: with g = lane / 4 and t = lane % 4, d[0], d[1] are row g, columns 2 t and
// 2 t + 1; d[2], d[3] the same of row g + 8.

__device__ __forceinline__ void axl_mma_bf16(float d[4], const unsigned a[4], const unsigned b[2])
{
#ifdef AXL_CUDA_EMU
    emu::mma_bf16_m16n8k16(d, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ __forceinline__ void axl_mma_f16(float d[4], const unsigned a[4], const unsigned b[2])
{
#ifdef AXL_CUDA_EMU
    emu::mma_f16_m16n8k16(d, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ __forceinline__ void axl_mma_s8(int d[4], const unsigned a[4], const unsigned b[2])
{
#ifdef AXL_CUDA_EMU
    emu::mma_s8_m16n8k32(d, a, b);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};\n"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// f8 e4m3 (sm_89 and later); on older chips the kernel must not be launched.
__device__ __forceinline__ void axl_mma_e4m3(float d[4], const unsigned a[4], const unsigned b[2])
{
#ifdef AXL_CUDA_EMU
    emu::mma_e4m3_m16n8k32(d, a, b);
#elif __CUDA_ARCH__ >= 890
    asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
}

// Four 8 x 8 matrices of 16-bit elements from shared memory; lane i gives the address of row i % 8 of matrix
// i / 8, 16-byte aligned.
__device__ __forceinline__ void axl_ldmatrix_x4(unsigned r[4], const void *row)
{
#ifdef AXL_CUDA_EMU
    emu::ldmatrix_x4(r, row, false);
#else
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
#endif
}

// The same, each matrix transposed.
__device__ __forceinline__ void axl_ldmatrix_x4_t(unsigned r[4], const void *row)
{
#ifdef AXL_CUDA_EMU
    emu::ldmatrix_x4(r, row, true);
#else
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
#endif
}

// ---- asynchronous copies of 16 bytes, global to shared; both aligned. Of the source `bytes` are read, zeros follow.

__device__ __forceinline__ void axl_copy_async(void *shared, const void *global, int bytes)
{
#ifdef AXL_CUDA_EMU
    emu::async_copy(shared, global, 16, bytes);
#else
    unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(at), "l"(global),
                 "r"(bytes)
                 : "memory");
#endif
}

// take false: zeros are written.
__device__ __forceinline__ void axl_copy16_async(void *shared, const void *global, bool take)
{
    axl_copy_async(shared, global, take ? 16 : 0);
}

__device__ __forceinline__ void axl_copy_commit()
{
#ifdef AXL_CUDA_EMU
    emu::async_commit();
#else
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Waits until at most N of this thread's committed groups are under way. Other threads' copies: a barrier after it.
template <int N> __device__ __forceinline__ void axl_copy_wait()
{
#ifdef AXL_CUDA_EMU
    emu::async_wait(N);
#else
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
#endif
}

// 2^x; what is below the normal numbers becomes 0, so 2^-inf is.
__device__ __forceinline__ float axl_exp2(float x)
{
#ifdef AXL_CUDA_EMU
    const float y = exp2f(x);
    return y < 0x1p-126f ? 0.0f : y;
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
#endif
}

// ---- bf16 in registers

__device__ __forceinline__ unsigned axl_pack_bf16(float low, float high)
{
    __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    unsigned bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

// Two numbers as fp16; what is beyond 65504 becomes 65504.
__device__ __forceinline__ unsigned axl_pack_f16(float low, float high)
{
#ifdef AXL_CUDA_EMU
    return emu::to_f16(low) | emu::to_f16(high) << 16;
#else
    unsigned bits;
    asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;\n" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
#endif
}

template <class T> __device__ __forceinline__ float axl_to_float(T v);
template <> __device__ __forceinline__ float axl_to_float<float>(float v)
{
    return v;
}
template <> __device__ __forceinline__ float axl_to_float<bf16>(bf16 v)
{
    return __bfloat162float(v);
}

template <class T> __device__ __forceinline__ T axl_from_float(float v);
template <> __device__ __forceinline__ float axl_from_float<float>(float v)
{
    return v;
}
template <> __device__ __forceinline__ bf16 axl_from_float<bf16>(float v)
{
    return __float2bfloat16_rn(v);
}

#endif
