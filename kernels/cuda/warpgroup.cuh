// Blocks whose warpgroups do different work, on sm_90: barriers of some of their threads, and registers that one gives to
// others.
#ifndef AXL_KERNELS_CUDA_WARPGROUP_CUH
#define AXL_KERNELS_CUDA_WARPGROUP_CUH

#include "kernels/cuda/cuda.cuh"

// Waits until n threads, whole warps, have come to barrier id, 1 to 15; what they did before is seen then.
__device__ __forceinline__ void axl_barrier_wait(int id, int n)
{
#ifdef AXL_CUDA_EMU
    emu::named_barrier(id, n, true);
#else
    asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(n) : "memory");
#endif
}

// Comes to it and goes on.
__device__ __forceinline__ void axl_barrier_arrive(int id, int n)
{
#ifdef AXL_CUDA_EMU
    emu::named_barrier(id, n, false);
#else
    asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(n) : "memory");
#endif
}

// From here on the warpgroup has n registers a thread, a multiple of 8: fewer than at the launch, or more, which it waits for
// until others have given them back.
template <int n> __device__ __forceinline__ void axl_registers_give()
{
    static_assert(n % 8 == 0 && n >= 24 && n <= 256, "what setmaxnreg takes");
#ifdef AXL_CUDA_EMU
    emu::set_registers(n, false);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(n));
#endif
}

template <int n> __device__ __forceinline__ void axl_registers_take()
{
    static_assert(n % 8 == 0 && n >= 24 && n <= 256, "what setmaxnreg takes");
#ifdef AXL_CUDA_EMU
    emu::set_registers(n, true);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(n));
#endif
}

#endif
