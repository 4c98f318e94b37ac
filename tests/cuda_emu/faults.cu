// Kernels with one fault each, which the emulation must find, and some that only look faulty.
#include "tests/cuda_emu/faults.h"

#include "kernels/cuda/warpgroup.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace
{

constexpr int N = 128; // threads

// Thread i leaves a number and reads that of a thread of another warp.
__global__ void no_barrier(float *out)
{
    AXL_SHARED_ARRAY(float, shared, N);
    const int i = (int)threadIdx.x;

    shared[i] = (float)i;
    out[i] = shared[(i + 32) % N];
}

__global__ void with_barrier(float *out)
{
    AXL_SHARED_ARRAY(float, shared, N);
    const int i = (int)threadIdx.x;

    shared[i] = (float)i;
    __syncthreads();
    out[i] = shared[(i + 32) % N];
}

// A shuffle orders no memory.
__global__ void no_warp_barrier(float *out)
{
    AXL_SHARED_ARRAY(float, shared, N);
    const int i = (int)threadIdx.x;

    shared[i] = (float)i;
    (void)__shfl_xor_sync(0xffffffffu, i, 1);
    out[i] = shared[i ^ 1];
}

__global__ void with_warp_barrier(float *out)
{
    AXL_SHARED_ARRAY(float, shared, N);
    const int i = (int)threadIdx.x;

    for (int step = 0; step < 3; step++) {
        shared[i] = (float)(i + step);
        __syncwarp();
        out[i] = shared[i ^ 1];
        __syncwarp();
    }
}

// All read what one then writes.
__global__ void overtaken_readers(float *out)
{
    AXL_SHARED_ARRAY(float, shared, 1);
    const int i = (int)threadIdx.x;

    if (i == 0)
        shared[0] = 1.0f;
    __syncthreads();
    out[i] = shared[0];
    if (i == 77)
        shared[0] = 2.0f;
}

// A barrier of a warp orders its own lanes alone.
__global__ void readers_of_another_warp(float *out)
{
    AXL_SHARED_ARRAY(float, shared, 1);
    const int i = (int)threadIdx.x;

    if (i == 0)
        shared[0] = 1.0f;
    __syncthreads();
    if (i == 64)
        out[i] = shared[0];
    __syncwarp();
    if (i == 0)
        shared[0] = 2.0f;
}

__global__ void blocks_write_the_same(float *out)
{
    if (threadIdx.x == 0)
        out[0] = (float)blockIdx.x;
}

__global__ void block_reads_what_another_writes(float *out)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    out[i] = out[(i + N) % (2 * N)];
}

__global__ void blocks_count(unsigned *out)
{
    (void)atomicAdd(out, 1u);
    (void)atomicMax(out + 1, blockIdx.x * N + threadIdx.x);
}

__global__ void atomic_beside_read(unsigned *out)
{
    (void)atomicAdd(out, 1u);
    if (threadIdx.x == 99)
        out[1] = out[0];
}

// The copy is there for who made it.
__global__ void copy_of_another(const float *in, float *out)
{
    AXL_SHARED_ARRAY(float, shared, 4 * N);
    const int i = (int)threadIdx.x;

    axl_copy16_async(shared + 4 * i, in, true);
    axl_copy_commit();
    axl_copy_wait<0>();
    out[i] = shared[(4 * i + 4) % (4 * N)];
}

// It is waited for when all have read what it overwrites, but may land before.
__global__ void early_copy(const float *in, float *out)
{
    AXL_SHARED_ARRAY(float, shared, 4 * N);
    const int i = (int)threadIdx.x;

    for (int j = 0; j < 4; j++)
        shared[4 * i + j] = 1.0f;
    __syncthreads();
    out[i] = shared[(4 * i + 4) % (4 * N)];
    axl_copy16_async(shared + 4 * i, in, true);
    axl_copy_commit();
    __syncthreads();
    axl_copy_wait<0>();
}

// Neighbours in a word are no race.
__global__ void halves(bf16 *out)
{
    out[threadIdx.x] = axl_from_float<bf16>(1.0f);
    __syncthreads();
    out[threadIdx.x ^ 1u] = axl_from_float<bf16>(2.0f);
}

__global__ void halves_that_meet(bf16 *out)
{
    out[threadIdx.x / 2] = axl_from_float<bf16>(1.0f);
}

// A wide write over what was written in halves.
__global__ void halves_under_a_word(bf16 *out)
{
    out[threadIdx.x] = axl_from_float<bf16>(1.0f);
    if (threadIdx.x % 32 == 0)
        reinterpret_cast<unsigned *>(out)[threadIdx.x / 2] = 0;
}

__global__ void beyond_shared(float *out)
{
    AXL_SHARED_ARRAY(float, shared, N);
    const int i = (int)threadIdx.x;

    shared[i + 1] = 1.0f;
    __syncthreads();
    out[i] = shared[i];
}

__global__ void beyond_dynamic(float *out)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const int i = (int)threadIdx.x;

    out[i] = shared[i + 1];
}

__global__ void beyond_global(float *out)
{
    out[threadIdx.x + 1] = 1.0f;
}

__global__ void not_all_at_barrier(float *out)
{
    if (threadIdx.x < 32)
        __syncwarp();
    if (threadIdx.x % 2 == 0)
        (void)__shfl_xor_sync(0xffffffffu, 1, 1);
    out[threadIdx.x] = 1.0f;
}

// Warp 0 hands numbers to the others, which give the place back: barriers 1 and 2. in_time: who comes to them waits. readers:
// how many warps say that they have read.
template <bool full_in_time, bool empty_in_time, int readers>
__global__ void handed_over(float *out)
{
    AXL_SHARED_ARRAY(float, shared, 32);
    const int i = (int)threadIdx.x;

    if (i < 32) {
        shared[i] = 1.0f;
        axl_barrier_arrive(1, N);
        if (empty_in_time)
            axl_barrier_wait(2, 32 + 32 * readers);
        else
            axl_barrier_arrive(2, 32 + 32 * readers);
        shared[i] = 2.0f;
        return;
    }
    if (full_in_time)
        axl_barrier_wait(1, N);
    else
        axl_barrier_arrive(1, N);
    out[i] = shared[i % 32];
    if (i < 32 + 32 * readers)
        axl_barrier_arrive(2, 32 + 32 * readers);
}
constexpr auto handed_back = handed_over<true, true, 3>;
constexpr auto read_too_soon = handed_over<false, true, 3>;
constexpr auto overwritten_too_soon = handed_over<true, false, 3>;
constexpr auto overwritten_before_one = handed_over<true, true, 2>;

// Each warp waits for the one before: the last sees what the first has left.
__global__ void handed_on(float *out)
{
    AXL_SHARED_ARRAY(float, shared, 1);
    const int i = (int)threadIdx.x, warp = i / 32;

    if (i == 0)
        shared[0] = 1.0f;
    if (warp > 0)
        axl_barrier_wait(warp, 64);
    if (warp < 3)
        axl_barrier_arrive(warp + 1, 64);
    if (warp == 3)
        out[i] = shared[0];
}

// Who comes to a barrier and goes on has waited for nobody, not even for its own warp.
__global__ void gone_on(float *out)
{
    AXL_SHARED_ARRAY(float, shared, N);
    const int i = (int)threadIdx.x;

    shared[i] = (float)i;
    axl_barrier_arrive(1, N);
    out[i] = shared[i ^ 1];
}

__global__ void waited(float *out)
{
    AXL_SHARED_ARRAY(float, shared, N);
    const int i = (int)threadIdx.x;

    shared[i] = (float)i;
    axl_barrier_wait(1, N);
    out[i] = shared[i ^ 33];
}

__global__ void one_does_not_come(float *out)
{
    if (threadIdx.x < 96)
        axl_barrier_wait(1, N);
    out[threadIdx.x] = 1.0f;
}

// ---- products of a warpgroup: 64 rows of A, and 64 of B behind them, of 128 bytes; the right way but for one thing

enum product_fault {
    GOOD,
    FROM_REGISTERS,
    BEFORE_THE_BARRIER, // a product begins when not all has been written
    WITHOUT_FENCE,      // what was written is not told to the other proxy
    FENCE_TOO_LATE,     // after the barrier
    OVERWRITTEN,        // when the product began, not when it ended
    WITHOUT_BEGIN,
    TOUCHED_FIRST, // D, between the fence and the product
    WRITTEN_MEANWHILE,
    HELD_TOO_EARLY, // A is changed between the fence and the product
    HELD_MEANWHILE,
    NOT_WAITED_FOR,
    ONE_WARP_OTHERWISE, // other factors
    ONE_LANE_OTHERWISE,
    ONE_WARP_MORE,
    NO_MULTIPLE_OF_16,
    BETWEEN_ROWS
};

template <product_fault fault> __global__ void product(float *out)
{
    AXL_WGMMA_SHARED(char, shared);
    const int i = (int)threadIdx.x, warp = i / 32;
    float d[8][4] = {};
    unsigned a[1][4] = {{1, 2, 3, 4}};

    for (int j = 0; j < 32; j++)
        ((unsigned *)shared)[j * N + i] = 0x3f803f80u;
    if (fault != WITHOUT_FENCE && fault != FENCE_TOO_LATE)
        axl_wgmma_publish();
    if (fault != BEFORE_THE_BARRIER)
        __syncthreads();
    if (fault == FENCE_TOO_LATE)
        axl_wgmma_publish();
    const int at = fault == NO_MULTIPLE_OF_16                 ? 8
                   : fault == BETWEEN_ROWS                    ? 128
                   : fault == ONE_WARP_OTHERWISE && warp == 2 ? 32
                   : fault == ONE_LANE_OTHERWISE && i == 7    ? 32
                                                              : 0;
    const uint64_t left = axl_wgmma_factor<true, 128>(shared + at, 0),
                   right = axl_wgmma_factor<true, 128>(shared + 64 * 128, 0);
    axl_wgmma_hold(a);
    if (fault != WITHOUT_BEGIN)
        axl_wgmma_begin(d);
    if (fault == TOUCHED_FIRST)
        d[3][1] = 2.0f;
    if (fault == HELD_TOO_EARLY)
        a[0][2] = 9;
    if (fault == FROM_REGISTERS || fault == HELD_TOO_EARLY || fault == HELD_MEANWHILE)
        axl_wgmma_bf16<true>(d, a[0], right);
    else
        axl_wgmma_bf16<true, true>(d, left, right);
    if (fault == ONE_WARP_MORE && warp == 3)
        axl_wgmma_bf16<true, true>(d, left, right);
    axl_wgmma_commit();
    if (fault == WRITTEN_MEANWHILE)
        d[7][3] = 1.0f;
    if (fault == HELD_MEANWHILE)
        a[0][0] = 5;
    if (fault == BEFORE_THE_BARRIER)
        __syncthreads();
    if (fault == OVERWRITTEN && i == 0)
        shared[64 * 128] = 1;
    if (fault != NOT_WAITED_FOR)
        axl_wgmma_end(d);
    out[i] = d[0][0] + (float)a[0][1];
}
constexpr auto product_is_good = product<GOOD>;
constexpr auto product_from_registers = product<FROM_REGISTERS>;
constexpr auto product_before_the_barrier = product<BEFORE_THE_BARRIER>;
constexpr auto product_without_fence = product<WITHOUT_FENCE>;
constexpr auto product_fence_too_late = product<FENCE_TOO_LATE>;
constexpr auto product_overwritten = product<OVERWRITTEN>;
constexpr auto product_without_begin = product<WITHOUT_BEGIN>;
constexpr auto product_touched_first = product<TOUCHED_FIRST>;
constexpr auto product_written_meanwhile = product<WRITTEN_MEANWHILE>;
constexpr auto product_held_too_early = product<HELD_TOO_EARLY>;
constexpr auto product_held_meanwhile = product<HELD_MEANWHILE>;
constexpr auto product_not_waited_for = product<NOT_WAITED_FOR>;
constexpr auto product_one_warp_otherwise = product<ONE_WARP_OTHERWISE>;
constexpr auto product_one_lane_otherwise = product<ONE_LANE_OTHERWISE>;
constexpr auto product_one_warp_more = product<ONE_WARP_MORE>;
constexpr auto product_no_multiple_of_16 = product<NO_MULTIPLE_OF_16>;
constexpr auto product_between_rows = product<BETWEEN_ROWS>;

// Memory of a launch that begins at a multiple of 128 alone.
__global__ void product_false_alignment(float *out)
{
    AXL_DYNAMIC_SHARED(char, shared);
    float d[8][4] = {};

    for (int j = 0; j < 32; j++)
        ((unsigned *)shared)[j * N + (int)threadIdx.x] = 0;
    axl_wgmma_publish();
    __syncthreads();
    axl_wgmma_begin(d);
    axl_wgmma_bf16<true, true>(d, axl_wgmma_factor<true, 128>(shared, 0),
                               axl_wgmma_factor<true, 128>(shared + 64 * 128, 0));
    axl_wgmma_commit();
    axl_wgmma_end(d);
    out[threadIdx.x] = d[0][0];
}

// The launch gives 248 registers a thread to 128 threads.
template <int given, int taken, bool one_warp> __global__ void registers(float *out)
{
    if (!one_warp || threadIdx.x < 32)
        axl_registers_give<given>();
    axl_registers_take<taken>();
    out[threadIdx.x] = 1.0f;
}
constexpr auto registers_taken_back = registers<40, 248, false>;
constexpr auto registers_that_nobody_gives = registers<40, 256, false>;
constexpr auto registers_of_one_warp = registers<40, 128, true>;

float room[4 * N] __attribute__((aligned(16)));

template <class... Params, class... Args>
void run(cudaStream_t s, unsigned blocks, size_t shared, void (*kernel)(Params...), Args... args)
{
    cudaLaunchConfig_t config = {};

    config.gridDim = dim3(blocks);
    config.blockDim = dim3(N);
    config.dynamicSmemBytes = shared;
    config.stream = s;
    (void)cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...);
    (void)cudaStreamSynchronize(s);
}

#define FAULT(kind, kernel, blocks, shared, ...)                                                   \
    {                                                                                              \
#kernel, kind, [](cudaStream_t s) { run(s, blocks, shared, kernel, __VA_ARGS__); }, ""     \
    }
#define PRODUCT(kind, kernel, says)                                                                \
    {                                                                                              \
#kernel, kind, [](cudaStream_t s) { run(s, 1, 16 << 10, kernel, room); }, says             \
    }

} // namespace

const emu_fault emu_faults[] = {FAULT(EMU_RACE, no_barrier, 1, 0, room),
                                FAULT(EMU_NONE, with_barrier, 1, 0, room),
                                FAULT(EMU_RACE, no_warp_barrier, 1, 0, room),
                                FAULT(EMU_NONE, with_warp_barrier, 1, 0, room),
                                FAULT(EMU_RACE, overtaken_readers, 1, 0, room),
                                FAULT(EMU_RACE, readers_of_another_warp, 1, 0, room),
                                FAULT(EMU_RACE, blocks_write_the_same, 2, 0, room),
                                FAULT(EMU_RACE, block_reads_what_another_writes, 2, 0, room),
                                FAULT(EMU_NONE, blocks_count, 3, 0, (unsigned *)room),
                                FAULT(EMU_RACE, atomic_beside_read, 1, 0, (unsigned *)room),
                                FAULT(EMU_RACE, copy_of_another, 1, 0, room + N, room),
                                FAULT(EMU_RACE, early_copy, 1, 0, room + N, room),
                                FAULT(EMU_NONE, halves, 1, 0, (bf16 *)room),
                                FAULT(EMU_RACE, halves_that_meet, 1, 0, (bf16 *)room),
                                FAULT(EMU_RACE, halves_under_a_word, 1, 0, (bf16 *)room),
                                FAULT(EMU_NONE, handed_back, 1, 0, room),
                                FAULT(EMU_RACE, read_too_soon, 1, 0, room),
                                FAULT(EMU_RACE, overwritten_too_soon, 1, 0, room),
                                FAULT(EMU_RACE, overwritten_before_one, 1, 0, room),
                                FAULT(EMU_NONE, handed_on, 1, 0, room),
                                FAULT(EMU_RACE, gone_on, 1, 0, room),
                                FAULT(EMU_NONE, waited, 1, 0, room),
                                FAULT(EMU_STUCK, one_does_not_come, 1, 0, room),
                                FAULT(EMU_OVERRUN, beyond_shared, 1, 0, room),
                                FAULT(EMU_OVERRUN, beyond_dynamic, 1, sizeof(float) * N, room),
                                FAULT(EMU_OVERRUN, beyond_global, 1, 0, room + 3 * N),
                                FAULT(EMU_STUCK, not_all_at_barrier, 1, 0, room),
                                PRODUCT(EMU_NONE, product_is_good, ""),
                                PRODUCT(EMU_NONE, product_from_registers, ""),
                                PRODUCT(EMU_RACE, product_before_the_barrier, ""),
                                PRODUCT(EMU_RACE, product_without_fence, ""),
                                PRODUCT(EMU_RACE, product_fence_too_late, ""),
                                PRODUCT(EMU_RACE, product_overwritten, ""),
                                PRODUCT(EMU_REFUSED, product_without_begin, "without its begin"),
                                PRODUCT(EMU_REFUSED, product_touched_first, "between wgmma.fence"),
                                PRODUCT(EMU_REFUSED, product_written_meanwhile, "under way"),
                                PRODUCT(EMU_REFUSED, product_held_too_early, "between wgmma.fence"),
                                PRODUCT(EMU_REFUSED, product_held_meanwhile, "under way"),
                                PRODUCT(EMU_REFUSED, product_not_waited_for, "are under way"),
                                PRODUCT(EMU_REFUSED, product_one_warp_otherwise, "warps of a"),
                                PRODUCT(EMU_REFUSED, product_one_lane_otherwise, "lanes of a warp"),
                                PRODUCT(EMU_REFUSED, product_one_warp_more, "warps of a warpgroup"),
                                PRODUCT(EMU_REFUSED, product_no_multiple_of_16, "multiple of 16"),
                                PRODUCT(EMU_REFUSED, product_between_rows, "between 8 rows"),
                                PRODUCT(EMU_REFUSED, product_false_alignment, "between 8 rows"),
                                PRODUCT(EMU_NONE, registers_taken_back, ""),
                                PRODUCT(EMU_STUCK, registers_that_nobody_gives, ""),
                                PRODUCT(EMU_REFUSED, registers_of_one_warp, "registers"),
                                {nullptr, EMU_NONE, nullptr, nullptr}};
