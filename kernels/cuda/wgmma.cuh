// Products of a warpgroup, the 4 warps of 128 threads, on sm_90a: D [64 x 128] += A [64 x 16] B [16 x 128], bf16 factors that
// both lie in shared memory. They are asynchronous: D belongs to the tensor cores until it is waited for, and the factors do.
//
// A factor is given by 64 bits: where it begins, how it is laid out, and two distances. Along k, rows of 32 elements, 64
// bytes, whose pieces of 16 bytes are exchanged by bits 7 and 8 of the address; 8 rows are 512 bytes. Across k, blocks
// of 64 elements by k, 128 bytes a row, exchanged by bits 7 to 9. (PTX ISA, "matrix descriptor"; of its other layouts
// none is used here.)
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
#define AXL_WGMMA_SHARED(type, name) AXL_DYNAMIC_SHARED(type, name)
#else
#define AXL_WGMMA_SHARED(type, name)                                                               \
    extern __shared__ __align__(1024) unsigned char axl_wgmma_shared[];                            \
    type *name = reinterpret_cast<type *>(axl_wgmma_shared)
#endif

// The factor at `at`. along: k lies together. block_bytes: across k, from one block of 64 to the next.
template <bool along>
__device__ __forceinline__ uint64_t axl_wgmma_factor(const char *at, int block_bytes)
{
#ifdef AXL_CUDA_EMU
    const unsigned address = emu::shared_address(at);
#else
    const unsigned address = (unsigned)__cvta_generic_to_shared(at);
#endif
    const unsigned eight = along ? 512u : 1024u; // bytes to the next 8 rows
    const unsigned next = along ? 1u << 4 : (unsigned)block_bytes;

    return (uint64_t)(address >> 4 & 0x3fffu) | (uint64_t)(next >> 4) << 16 |
           (uint64_t)(eight >> 4) << 32 | (uint64_t)(along ? 2 : 1) << 62;
}

#define AXL_WGMMA_FOUR(x) "+f"((x)[0]), "+f"((x)[1]), "+f"((x)[2]), "+f"((x)[3])
#define AXL_WGMMA_ALL(d)                                                                           \
    AXL_WGMMA_FOUR((d)[0]), AXL_WGMMA_FOUR((d)[1]), AXL_WGMMA_FOUR((d)[2]),                        \
        AXL_WGMMA_FOUR((d)[3]), AXL_WGMMA_FOUR((d)[4]), AXL_WGMMA_FOUR((d)[5]),                    \
        AXL_WGMMA_FOUR((d)[6]), AXL_WGMMA_FOUR((d)[7]), AXL_WGMMA_FOUR((d)[8]),                    \
        AXL_WGMMA_FOUR((d)[9]), AXL_WGMMA_FOUR((d)[10]), AXL_WGMMA_FOUR((d)[11]),                  \
        AXL_WGMMA_FOUR((d)[12]), AXL_WGMMA_FOUR((d)[13]), AXL_WGMMA_FOUR((d)[14]),                 \
        AXL_WGMMA_FOUR((d)[15])

// Before the first product, and after D was touched by the threads.
__device__ __forceinline__ void axl_wgmma_begin(float (&d)[16][4])
{
#ifdef AXL_CUDA_EMU
    emu::wgmma_begin(&d[0][0]);
#elif AXL_WGMMA
    asm volatile("wgmma.fence.sync.aligned;\n" : AXL_WGMMA_ALL(d)::"memory");
#endif
}

template <bool along_a, bool along_b>
__device__ __forceinline__ void axl_wgmma_bf16(float (&d)[16][4], uint64_t a, uint64_t b)
{
#ifdef AXL_CUDA_EMU
    emu::wgmma_m64n128k16(&d[0][0], a, b, !along_a, !along_b);
#elif AXL_WGMMA
    asm volatile("{.reg .pred add; setp.eq.u32 add, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
                 "}, %64, %65, add, 1, 1, %66, %67;}\n"
                 : AXL_WGMMA_ALL(d)
                 : "l"(a), "l"(b), "n"(along_a ? 0 : 1), "n"(along_b ? 0 : 1));
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

// Until all have: D is the threads' again.
__device__ __forceinline__ void axl_wgmma_end(float (&d)[16][4])
{
#ifdef AXL_CUDA_EMU
    (void)d;
    emu::wgmma_wait(0);
#elif AXL_WGMMA
    asm volatile("wgmma.wait_group.sync.aligned 0;\n" : AXL_WGMMA_ALL(d)::"memory");
#endif
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
