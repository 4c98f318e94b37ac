// Device code of the emulation: the language's extensions, the built-in variables and functions.
//
// A kernel runs block by block. Each thread of a block is a fiber; a fiber goes on until it meets a barrier
// (of its block, or of lanes of its warp) and then the next one runs. So the code between barriers runs in an
// order that the test chooses (emu_set_order), and a barrier that some thread never reaches ends the program with
// a message. With the race check (races.h) so do two accesses that only CUDA's own barriers could order, and did not.
// Blocks run one after another, backward if the order is not 0.
// Under an address sanitizer arrays in shared memory end where they end.
#ifndef AXL_CUDA_EMU_DEVICE_H
#define AXL_CUDA_EMU_DEVICE_H

#include <cmath>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
// shared memory comes from AXL_SHARED_ARRAY and AXL_DYNAMIC_SHARED (kernels/cuda/cuda.cuh), which end with the block
#define __constant__ static
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define EMU_VECTOR(type, scalar, align2, align4)                                                   \
    struct alignas(align2) type##2                                                                 \
    {                                                                                              \
        scalar x, y;                                                                               \
    };                                                                                             \
    struct alignas(align4) type##4                                                                 \
    {                                                                                              \
        scalar x, y, z, w;                                                                         \
    };                                                                                             \
    static inline type##2 make_##type##2(scalar x, scalar y)                                       \
    {                                                                                              \
        return {x, y};                                                                             \
    }                                                                                              \
    static inline type##4 make_##type##4(scalar x, scalar y, scalar z, scalar w)                   \
    {                                                                                              \
        return {x, y, z, w};                                                                       \
    }
EMU_VECTOR(float, float, 8, 16)
EMU_VECTOR(int, int, 8, 16)
EMU_VECTOR(uint, unsigned, 8, 16)
#undef EMU_VECTOR
struct alignas(16) double2 {
    double x, y;
};

// Of the thread that runs now.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace emu
{

extern int lane, warp;

// At a multiple of `alignment`, 128 or 1024, and of no more.
void *dynamic_shared(size_t alignment = 128);
void *static_shared(const void *key,
                    size_t bytes); // the same memory for the same key within a block
void block_barrier();
int block_barrier_count(int predicate); // how many predicates were true
void warp_barrier(unsigned mask);

// The operations of a warp order no memory. value: becomes that of lane `from`.
void shuffle(unsigned mask, void *value, size_t bytes, int from);
// The lanes of mask whose value is this lane's, or is not 0.
unsigned lanes_with(unsigned mask, unsigned long value, bool all_equal);

void launch(cudaStream_t s, const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
            std::function<void()> body);

template <class T> T shuffled(unsigned mask, T value, int from)
{
    shuffle(mask, &value, sizeof value, from & 31);
    return value;
}

} // namespace emu

static constexpr int warpSize = 32;

static inline void __syncthreads()
{
    emu::block_barrier();
}

static inline int __syncthreads_or(int predicate)
{
    return emu::block_barrier_count(predicate) > 0;
}

static inline int __syncthreads_count(int predicate)
{
    return emu::block_barrier_count(predicate);
}

static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    emu::warp_barrier(mask);
}

static inline void __threadfence() {}
static inline void __threadfence_block() {}

// The source lane must be in mask; width is that of CUDA.
template <class T> T __shfl_sync(unsigned mask, T v, int lane, int width = 32)
{
    return emu::shuffled(mask, v, (emu::lane & ~(width - 1)) | (lane & (width - 1)));
}

template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32)
{
    (void)width;
    return emu::shuffled(mask, v, emu::lane ^ bits);
}

template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32)
{
    int last = emu::lane | (width - 1), from = emu::lane + (int)by;
    return emu::shuffled(mask, v, from > last ? emu::lane : from);
}

template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32)
{
    int first = emu::lane & ~(width - 1), from = emu::lane - (int)by;
    return emu::shuffled(mask, v, from < first ? emu::lane : from);
}

static inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    return emu::lanes_with(mask, (unsigned)predicate, false);
}

// Which lanes of mask have this lane's value.
template <class T> unsigned __match_any_sync(unsigned mask, T value)
{
    unsigned long bits = 0;

    static_assert(sizeof value <= sizeof bits);
    memcpy(&bits, &value, sizeof value);
    return emu::lanes_with(mask, bits, true);
}

static inline int __any_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}

static inline int __all_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) == mask;
}

static inline unsigned __activemask()
{
    return 0xffffffffu;
}

#include "tests/cuda_emu/scalars.h"

// ---- launches

struct cudaLaunchAttribute {
    int id;
};
struct cudaFuncAttributes {
    int ptxVersion;
};
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
};

template <class... Params, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *c, void (*kernel)(Params...),
                               Args &&...args)
{
    // the arguments are converted and copied now, as a launch does
    emu::launch(c->stream, reinterpret_cast<const void *>(kernel), c->gridDim, c->blockDim,
                c->dynamicSmemBytes, std::bind(kernel, static_cast<Params>(args)...));
    return cudaPeekAtLastError();
}

namespace emu
{
int code_version(); // __CUDA_ARCH__ / 10 of the code that runs
}
static inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *out, const void *)
{
    *out = {emu::code_version()};
    return cudaSuccess;
}
template <class... Params>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *out, void (*)(Params...))
{
    return cudaFuncGetAttributes(out, (const void *)nullptr);
}

cudaError_t emu_set_shared_limit(const void *kernel, int bytes);
template <class F> cudaError_t cudaFuncSetAttribute(F *kernel, cudaFuncAttribute which, int value)
{
    return which == cudaFuncAttributeMaxDynamicSharedMemorySize
               ? emu_set_shared_limit(reinterpret_cast<const void *>(kernel), value)
               : cudaSuccess;
}

// ---- for the tests

// In which order the threads of a block run between barriers, in streams made from now on: 0 forward, 1 backward,
// above: drawn by this seed.
extern "C" void emu_set_order(unsigned order);
// Blocks and barriers so far.
struct emu_counts {
    long long launches, blocks, block_barriers, warp_barriers;
    long long bank_conflicts; // rows that ldmatrix reads later than others of their matrix
};
emu_counts emu_read_counts();

#endif
