// Products of a warpgroup, the 4 warps of 128 threads, on sm_90a: D [64 x 8 N] += A [64 x 16] B [16 x 8 N], N 8, 16 or 32, bf16 factors.
// B lies in shared memory, A there or in registers. They are asynchronous: D, and A in registers, belong to the tensor cores
// until they are waited for, and factors in shared memory may not be written.
//
// Warp w of the four has rows 16 w to 16 w + 15 of D, and of A in registers, as the fragments of mma.m16n8k16 have them.
//
// A factor in shared memory is given by 64 bits: where it begins, how it is laid out, and two distances. Along k, rows of 32
// elements, 64 bytes, whose pieces of 16 bytes are exchanged by bits 7 and 8 of the address; 8 rows are 512 bytes; or rows of 64
// elements, 128 bytes, exchanged by bits 7 to 9. Across k, blocks of 64 elements by k, 128 bytes a row, exchanged by bits 7
// to 9. So a tile in rows of 128 bytes can be read both ways. (PTX ISA, "matrix descriptor"; of its other layouts none is
// used here.)
#ifndef AXL_KERNELS_CUDA_WGMMA_CUH
#define AXL_KERNELS_CUDA_WGMMA_CUH

#include "kernels/cuda/cuda.cuh"

// Whether the code that is being compiled has them. A kernel that uses them is launched on 9.0 alone.
#if defined(AXL_CUDA_EMU) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define AXL_WGMMA 1
#else
#define AXL_WGMMA 0
#endif

// Shared memory of the launch from a multiple of 1,024 bytes, as the exchange of pieces goes by the address. Only where it is
// needed: beside other shared memory it may cost as much.
#ifdef AXL_CUDA_EMU
#define AXL_WGMMA_SHARED(type, name) type *name = static_cast<type *>(emu::dynamic_shared(1024))
#else
#define AXL_WGMMA_SHARED(type, name)                                                               \
    extern __shared__ __align__(1024) unsigned char axl_wgmma_shared[];                            \
    type *name = reinterpret_cast<type *>(axl_wgmma_checked(axl_wgmma_shared))

// What begins elsewhere would give other products, so the launch fails. No document promises what is above 128.
__device__ __forceinline__ unsigned char *axl_wgmma_checked(unsigned char *shared)
{
#if AXL_WGMMA
    unsigned address = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("" : "+r"(address)); // else the compiler believes the declaration
    if ((address & 1023u) != 0)
        __trap();
#endif
    return shared;
}
#endif

// The factor at `at`. along: k lies together. block_bytes: across k, from one block of 64 to the next. row_bytes: along k.
template <bool along, int row_bytes = along ? 64 : 128>
__device__ __forceinline__ uint64_t axl_wgmma_factor(const char *at, int block_bytes)
{
#ifdef AXL_CUDA_EMU
    const unsigned address = emu::factor_address(at);
#else
    const unsigned address = (unsigned)__cvta_generic_to_shared(at);
#endif
    const unsigned next = along ? 1u << 4 : (unsigned)block_bytes;

    return (uint64_t)(address >> 4 & 0x3fffu) | (uint64_t)(next >> 4) << 16 |
           (uint64_t)(row_bytes * 8 >> 4) << 32 | (uint64_t)(row_bytes == 64 ? 2 : 1) << 62;
}

// The same factor some bytes further.
__device__ __forceinline__ uint64_t axl_wgmma_further(uint64_t factor, int bytes)
{
    return factor + (uint64_t)(unsigned)(bytes >> 4);
}

#define AXL_WGMMA_FOUR(x) "+f"((x)[0]), "+f"((x)[1]), "+f"((x)[2]), "+f"((x)[3])
#define AXL_WGMMA_EIGHT(d, i)                                                                      \
    AXL_WGMMA_FOUR((d)[i]), AXL_WGMMA_FOUR((d)[i + 1]), AXL_WGMMA_FOUR((d)[i + 2]),                \
        AXL_WGMMA_FOUR((d)[i + 3]), AXL_WGMMA_FOUR((d)[i + 4]), AXL_WGMMA_FOUR((d)[i + 5]),        \
        AXL_WGMMA_FOUR((d)[i + 6]), AXL_WGMMA_FOUR((d)[i + 7])
#define AXL_WGMMA_8(d)  AXL_WGMMA_EIGHT(d, 0)
#define AXL_WGMMA_16(d) AXL_WGMMA_EIGHT(d, 0), AXL_WGMMA_EIGHT(d, 8)
#define AXL_WGMMA_32(d) AXL_WGMMA_16(d), AXL_WGMMA_EIGHT(d, 16), AXL_WGMMA_EIGHT(d, 24)
#define AXL_WGMMA_NAMES_8                                                                          \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define AXL_WGMMA_NAMES_16                                                                         \
    AXL_WGMMA_NAMES_8                                                                              \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "           \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define AXL_WGMMA_NAMES_32                                                                         \
    AXL_WGMMA_NAMES_16                                                                             \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"             \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"             \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
    ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, " \
    "%127"
// One instruction with D's registers in front. ops: the other operands' names, %first on; the last but what they say is `add`.
#define AXL_WGMMA_DO(count, width, add, ops, ...)                                                  \
    asm volatile("{.reg .pred add; setp.ne.s32 add, " add ", 0;\n"                                 \
                 "wgmma.mma_async.sync.aligned.m64n" width "k16.f32.bf16.bf16 "                    \
                 "{" AXL_WGMMA_NAMES_##count "}, " ops ";}\n"                                      \
                 : AXL_WGMMA_##count(d)                                                            \
                 : __VA_ARGS__)

// Before the first product, and after D was touched by the threads.
template <int N> __device__ __forceinline__ void axl_wgmma_begin(float (&d)[N][4])
{
    static_assert(N == 8 || N == 16 || N == 32, "widths that stand here");
#ifdef AXL_CUDA_EMU
    emu::wgmma_begin(&d[0][0], N * 4);
#elif AXL_WGMMA
    if constexpr (N == 8)
        asm volatile("wgmma.fence.sync.aligned;\n" : AXL_WGMMA_8(d)::"memory");
    else if constexpr (N == 16)
        asm volatile("wgmma.fence.sync.aligned;\n" : AXL_WGMMA_16(d)::"memory");
    else
        asm volatile("wgmma.fence.sync.aligned;\n" : AXL_WGMMA_32(d)::"memory");
#endif
}

// A in registers: before axl_wgmma_begin of its product, and after the wait for it, until when the registers are kept.
template <int K> __device__ __forceinline__ void axl_wgmma_hold(unsigned (&a)[K][4])
{
#ifdef AXL_CUDA_EMU
    for (int k = 0; k < K; k++)
        emu::wgmma_hold(a[k]);
#else
#pragma unroll
    for (int k = 0; k < K; k++)
        asm volatile("" : "+r"(a[k][0]), "+r"(a[k][1]), "+r"(a[k][2]), "+r"(a[k][3])::"memory");
#endif
}

// D += A B, or D = A B where add is 0. Both factors in shared memory.
template <bool along_a, bool along_b, int N>
__device__ __forceinline__ void axl_wgmma_bf16(float (&d)[N][4], uint64_t a, uint64_t b,
                                               int add = 1)
{
    static_assert(N != 32, "no kernel has it");
#ifdef AXL_CUDA_EMU
    emu::wgmma({&d[0][0], N * 8, nullptr, a, b, !along_a, !along_b, add != 0});
#elif AXL_WGMMA
    if constexpr (N == 8)
        AXL_WGMMA_DO(8, "64", "%34", "%32, %33, add, 1, 1, %35, %36", "l"(a), "l"(b), "r"(add),
                     "n"(along_a ? 0 : 1), "n"(along_b ? 0 : 1));
    else
        AXL_WGMMA_DO(16, "128", "%66", "%64, %65, add, 1, 1, %67, %68", "l"(a), "l"(b), "r"(add),
                     "n"(along_a ? 0 : 1), "n"(along_b ? 0 : 1));
#endif
}

// The same with A in registers.
template <bool along_b, int N>
__device__ __forceinline__ void axl_wgmma_bf16(float (&d)[N][4], const unsigned (&a)[4], uint64_t b)
{
#ifdef AXL_CUDA_EMU
    emu::wgmma({&d[0][0], N * 8, a, 0, b, false, !along_b, true});
#elif AXL_WGMMA
    if constexpr (N == 8)
        AXL_WGMMA_DO(8, "64", "%37", "{%32, %33, %34, %35}, %36, add, 1, 1, %38", "r"(a[0]),
                     "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1), "n"(along_b ? 0 : 1));
    else if constexpr (N == 16)
        AXL_WGMMA_DO(16, "128", "%69", "{%64, %65, %66, %67}, %68, add, 1, 1, %70", "r"(a[0]),
                     "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1), "n"(along_b ? 0 : 1));
    else
        AXL_WGMMA_DO(32, "256", "%133", "{%128, %129, %130, %131}, %132, add, 1, 1, %134",
                     "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1),
                     "n"(along_b ? 0 : 1));
#endif
}

// Ends a group of products.
__device__ __forceinline__ void axl_wgmma_commit()
{
#ifdef AXL_CUDA_EMU
    emu::wgmma_commit();
#elif AXL_WGMMA
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
#endif
}

// Until all groups but the last have been multiplied: their factors are free.
__device__ __forceinline__ void axl_wgmma_wait_last()
{
#ifdef AXL_CUDA_EMU
    emu::wgmma_wait(1);
#elif AXL_WGMMA
    asm volatile("wgmma.wait_group.sync.aligned 1;\n" ::: "memory");
#endif
}

// Until all groups but the last `left` have: D of an earlier one is the threads' again.
template <int left, int N> __device__ __forceinline__ void axl_wgmma_wait(float (&d)[N][4])
{
#ifdef AXL_CUDA_EMU
    (void)d;
    emu::wgmma_wait(left);
#elif AXL_WGMMA
    if constexpr (N == 8)
        asm volatile("wgmma.wait_group.sync.aligned %32;\n"
                     : AXL_WGMMA_8(d)
                     : "n"(left)
                     : "memory");
    else if constexpr (N == 16)
        asm volatile("wgmma.wait_group.sync.aligned %64;\n"
                     : AXL_WGMMA_16(d)
                     : "n"(left)
                     : "memory");
    else
        asm volatile("wgmma.wait_group.sync.aligned %128;\n"
                     : AXL_WGMMA_32(d)
                     : "n"(left)
                     : "memory");
#endif
}

// Until all have.
template <int N> __device__ __forceinline__ void axl_wgmma_end(float (&d)[N][4])
{
    axl_wgmma_wait<0>(d);
}

// What this thread has written to shared memory (its copies that have arrived too) is seen by products that begin
// after a barrier.
__device__ __forceinline__ void axl_wgmma_publish()
{
#ifdef AXL_CUDA_EMU
    emu::async_publish();
#elif AXL_WGMMA
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
#endif
}

#endif
