// The passes of the radix sort: count digits by chunk, add the counts up, move the keys.
#include "kernels/cuda/sort.cuh"

namespace
{

constexpr int BITS = 9, DIGITS = 1 << BITS, CHUNK = 1024, WARPS = 4, SCAN_THREADS = 512, PER = 16;

// The lanes of the warp whose digit is that of this lane; lanes without a key take part with -1.
__device__ __forceinline__ unsigned same_digit(int digit)
{
    return __match_any_sync(0xffffffffu, digit);
}

// counts[digit, chunk]: how many keys of the chunk have the digit. A warp a chunk.
__global__ void __launch_bounds__(32 * WARPS)
    sort_count(const int32_t *key, int n, int n_chunks, int shift, int32_t *counts)
{
    AXL_SHARED_ARRAY(int32_t, all, WARPS * DIGITS);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int chunk = (int)blockIdx.x * WARPS + warp;
    int32_t *mine = all + warp * DIGITS;

    if (chunk >= n_chunks)
        return; // a whole warp
    for (int d = lane; d < DIGITS; d += 32)
        mine[d] = 0;
    __syncwarp();
    for (int i = 0; i < CHUNK; i += 32) {
        const int at = chunk * CHUNK + i + lane;
        const int digit = at < n ? key[at] >> shift & (DIGITS - 1) : -1;
        const unsigned peers = same_digit(digit);
        if (digit >= 0 && lane == __ffs((int)peers) - 1)
            mine[digit] += __popc(peers);
        __syncwarp();
    }
    for (int d = lane; d < DIGITS; d += 32)
        counts[(int64_t)d * n_chunks + chunk] = mine[d];
}

// Turns n numbers into the sums of those before each. One block; a thread takes PER in a row at a time.
__global__ void __launch_bounds__(SCAN_THREADS) sort_scan(int32_t *counts, int n)
{
    AXL_SHARED_ARRAY(int32_t, warps, SCAN_THREADS / 32);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    int before = 0; // the sum of what is done

    for (int base = 0; base < n; base += SCAN_THREADS * PER) {
        const int first = base + (int)threadIdx.x * PER;
        int own[PER], mine = 0, here = 0, total = 0;
#pragma unroll
        for (int i = 0; i < PER; i++) {
            own[i] = first + i < n ? counts[first + i] : 0;
            mine += own[i];
        }
        int sum = mine; // of this lane and those before it
        for (int by = 1; by < 32; by *= 2) {
            const int left = __shfl_up_sync(0xffffffffu, sum, (unsigned)by);
            sum += lane >= by ? left : 0;
        }
        if (lane == 31)
            warps[warp] = sum;
        __syncthreads();
        for (int w = 0; w < SCAN_THREADS / 32; w++) {
            here += w < warp ? warps[w] : 0;
            total += warps[w];
        }
        here += before + sum - mine;
#pragma unroll
        for (int i = 0; i < PER; i++) {
            if (first + i < n)
                counts[first + i] = here;
            here += own[i];
        }
        before += total;
        __syncthreads(); // the sums of the warps are written again
    }
}

// Moves each key, and the position it came with, to its place. from NULL: key i came from position i.
__global__ void __launch_bounds__(32 * WARPS)
    sort_move(const int32_t *key, const int32_t *from, int n, int n_chunks, int shift,
              const int32_t *starts, int32_t *key_out, int32_t *from_out)
{
    AXL_SHARED_ARRAY(int32_t, all, WARPS * DIGITS);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int chunk = (int)blockIdx.x * WARPS + warp;
    int32_t *next = all + warp * DIGITS;

    if (chunk >= n_chunks)
        return; // a whole warp
    for (int d = lane; d < DIGITS; d += 32)
        next[d] = starts[(int64_t)d * n_chunks + chunk];
    __syncwarp();
    for (int i = 0; i < CHUNK; i += 32) {
        const int at = chunk * CHUNK + i + lane;
        const int k = at < n ? key[at] : 0, digit = at < n ? k >> shift & (DIGITS - 1) : -1;
        const unsigned peers = same_digit(digit);
        const int place = digit >= 0 ? next[digit] + __popc(peers & ((1u << lane) - 1u)) : 0;
        __syncwarp(); // all have read before one moves the place on
        if (digit >= 0) {
            if (lane == __ffs((int)peers) - 1)
                next[digit] += __popc(peers);
            key_out[place] = k;
            from_out[place] = from != nullptr ? from[at] : at;
        }
        __syncwarp();
    }
}

size_t rounded(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

} // namespace

size_t axl_sort_bytes(int64_t n)
{
    return 4 * rounded((size_t)n * 4) + (size_t)((n + CHUNK - 1) / CHUNK) * DIGITS * 4;
}

axl_status axl_sort_by_key(axl_stream *s, const int32_t *key, int64_t n, int64_t n_keys,
                           void *scratch, const int32_t **keys, const int32_t **order)
{
    const int n_chunks = (int)((n + CHUNK - 1) / CHUNK);
    const unsigned blocks = axl_cuda_blocks(n_chunks, WARPS);
    int32_t *pool[4], *counts;
    const int32_t *from = nullptr;
    axl_status status = AXL_OK;

    for (int i = 0; i < 4; i++)
        pool[i] = (int32_t *)((char *)scratch + (size_t)i * rounded((size_t)n * 4));
    counts = (int32_t *)((char *)scratch + 4 * rounded((size_t)n * 4));
    for (int pass = 0; pass == 0 || (n_keys - 1) >> (pass * BITS) > 0; pass++) {
        int32_t *key_out = pool[pass % 2], *from_out = pool[2 + pass % 2];
        const int shift = pass * BITS;
        status = axl_cuda_launch(s, "sort_count", sort_count, dim3(blocks), dim3(32 * WARPS), 0,
                                 key, (int)n, n_chunks, shift, counts);
        if (status == AXL_OK && n > 0)
            status = axl_cuda_launch(s, "sort_scan", sort_scan, dim3(1), dim3(SCAN_THREADS), 0,
                                     counts, n_chunks * DIGITS);
        if (status == AXL_OK)
            status = axl_cuda_launch(s, "sort_move", sort_move, dim3(blocks), dim3(32 * WARPS), 0,
                                     key, from, (int)n, n_chunks, shift, (const int32_t *)counts,
                                     key_out, from_out);
        if (status != AXL_OK)
            return status;
        key = key_out;
        from = from_out;
    }
    *keys = key;
    *order = from;
    return status;
}
